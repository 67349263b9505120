//! What a process shows its operators of the nodes in it.

use tiltyard_battle::NodeMonitor;
use tiltyard_engine::Game;
use tiltyard_lobby::StatusPage;

/// Writes a node's counters and gauges, each with the node's name; whether the process is ready is another question.
pub(crate) fn write_node<G: Game>(node: &NodeMonitor<G>, page: &mut StatusPage) {
    let name = node.id().to_string();
    let owner = Some(("node", name.as_str()));
    let report = node.report();
    let counters = report.rooms.list().into_iter().chain(report.sessions);
    let counters = counters.chain(report.recordings).chain(node.registration());
    for (counter, value) in counters {
        page.counter(&format!("node_{counter}"), owner, value);
    }
    page.counter("node_ticks", owner, report.tick_ns.len());
    page.counter("node_panics", owner, report.panics);
    page.counter("node_battles_superseded", owner, report.superseded);
    for (gauge, quantile) in
        [("node_tick_us_p50", 0.5), ("node_tick_us_p99", 0.99), ("node_tick_us_max", 1.0)]
    {
        page.gauge(gauge, owner, report.tick_ns.value_at_quantile(quantile) / 1_000);
    }
    let load = node.load();
    let gauges = [
        ("node_battles", load.battles),
        ("node_battles_max", load.battles_max),
        ("node_seats_used", load.seats_used),
        ("node_seats_reserved", load.seats_reserved),
        ("node_tick_share_permille", load.tick_share_permille),
        ("node_draining", u32::from(node.not_ready().is_some())),
    ];
    for (gauge, value) in gauges {
        page.gauge(gauge, owner, value.into());
    }
}

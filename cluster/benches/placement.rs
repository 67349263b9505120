//! How many battles a second lobbies place on nodes that are listed in a directory: `cargo bench -p tiltyard-cluster
//! --features etcd --bench placement`. In memory, and where `ETCD_URL` is set in etcd.
//!
//! Nodes report their load to the directory and give their seats themselves, so that a seat alone changes nothing in
//! it; with claims the owner of each battle is written there too, many in one transaction, which is what lobbies do.
//! Each of the eight lobbies places `AT_ONCE` battles at a time (default 256).

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tiltyard_cluster::directory::{Directory, MemoryDirectory};
use tiltyard_cluster::node::Keyspace;
use tiltyard_cluster::testing::{Placed, Placing};

const BATTLES: u64 = 40_000;
/// As often as nodes do by default.
const REPORT: Duration = Duration::from_millis(500);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for claims in [false, true] {
        let memory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
        runtime.block_on(measure("memory", &memory, claims));
        #[cfg(feature = "etcd")]
        if let Ok(urls) = std::env::var("ETCD_URL") {
            use tiltyard_cluster::directory::EtcdDirectory;
            use tiltyard_cluster::directory::etcd::EtcdConfig;
            let urls = urls.split(',').map(str::to_owned).collect();
            let etcd = EtcdDirectory::new(EtcdConfig { urls, ..EtcdConfig::default() }).expect("addresses");
            runtime.block_on(measure("etcd", &(Arc::new(etcd) as Arc<dyn Directory>), claims));
        }
    }
}

async fn measure(name: &str, directory: &Arc<dyn Directory>, claims: bool) {
    // A prefix of its own, as another run's claims would stand.
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_nanos();
    let keyspace = Keyspace::parse(&format!("/bench-{nanos}")).expect("a prefix");
    let at_once = std::env::var("AT_ONCE").map_or(256, |text| text.parse().expect("AT_ONCE is a number"));
    let placing = Placing {
        nodes: 20,
        seats_max: 40_000,
        lobbies: 8,
        battles: BATTLES,
        at_once,
        report: REPORT,
        claims,
    };
    let placed = placing.run(directory, &keyspace).await;
    assert_eq!((placed.took.len() as u64, placed.without_node), (BATTLES, 0));
    let Placed { took, all, refusals, .. } = &placed;
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).map_or(Duration::ZERO, |took| *took);
    let line = format!(
        "{name}, {}: {:.0} placements/s, p50 {} us, p99 {} us, max/mean {:.3}, {refusals} refused\n",
        if claims { "with claims" } else { "seats alone" },
        took.len() as f64 / all.as_secs_f64(),
        at(0.5).as_micros(),
        at(0.99).as_micros(),
        placed.max_over_mean(),
    );
    std::io::stdout().write_all(line.as_bytes()).expect("standard output is open");
}

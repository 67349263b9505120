//! A cluster of real processes that find each other through a real etcd: gates, a lobby and battle nodes by
//! configuration alone. Where there is no etcd the test says SKIPPED with its name.

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::program::{Program, Up, wait};

/// Waits for at most a minute and a half: leases have to end meanwhile, on a machine that is busy.
fn wait_until(what_if_not: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < until, "{what_if_not}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What a cluster's commands run with: one folder, one etcd, one set of keys.
struct Cluster {
    program: Program,
    etcd: String,
    /// Of the keys in etcd, which other clusters may use meanwhile.
    prefix: String,
}

impl Cluster {
    fn start(&self, role: &str, name: &str) -> Up {
        let line = format!("--set battle.seconds=8 {role} --name {name} --data data-{name}");
        Up::start(&self.program, &self.line(&line, &self.prefix))
    }

    fn line(&self, line: &str, prefix: &str) -> String {
        format!("--set keys.file=keys.toml --set cluster.prefix={prefix} {line} --etcd {}", self.etcd)
    }

    fn ask(&self, line: &str) -> (i32, Json) {
        self.program.json(&self.line(line, &self.prefix))
    }

    /// The names of one kind of processes that are registered.
    fn listed(&self, kind: &str) -> Vec<String> {
        let (code, all) = self.ask("nodes");
        assert_eq!(code, 0, "{all}");
        let of = |one: &Json| one["id"].as_str().expect("a name").to_owned();
        all[kind].as_array().expect("a list").iter().map(of).collect()
    }

    fn battles(&self) -> u64 {
        let (_, all) = self.ask("nodes");
        all["nodes"].as_array().expect("a list").iter().filter_map(|node| node["battles"].as_u64()).sum()
    }

    fn bots(&self, gates: &str, more: &str) -> Child {
        let mut command = self.program.command(&format!("--json bots --gate {gates} --mode duel {more}"));
        command.stdout(Stdio::piped()).spawn().expect("the binary runs")
    }
}

/// Says so past the harness, which keeps what tests print.
fn skip(name: &str, why: &str) {
    writeln!(std::io::stderr(), "SKIPPED {name}: {why}").expect("standard error is open");
}

/// Waits for bots that were all to play to the end.
fn flawless(mut bots: Child, finished: u64) {
    let code = wait_longer(&mut bots);
    let report: Json = serde_json::from_reader(bots.stdout.take().expect("a pipe")).expect("JSON");
    assert_eq!((code, &report["finished"]), (Some(0), &finished.into()), "{report}");
}

fn wait_longer(child: &mut Child) -> Option<i32> {
    let until = Instant::now() + Duration::from_secs(120);
    while child.try_wait().expect("a child").is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    wait(child)
}

#[test]
fn a_cluster_of_processes_loses_a_gate_and_two_nodes_and_plays_on_over_real_sockets() {
    let name = "a_cluster_of_processes_loses_a_gate_and_two_nodes_and_plays_on_over_real_sockets";
    let etcd = match std::env::var("ETCD_URL") {
        Ok(etcd) if cfg!(feature = "etcd") => etcd,
        Ok(_) => return skip(name, "this build has no etcd"),
        Err(_) => return skip(name, "ETCD_URL names no etcd"),
    };
    let prefix = format!("/processes-{}", std::process::id());
    let cluster = Cluster { program: Program::new(), etcd, prefix };
    assert_eq!(cluster.program.json("keys new --file keys.toml").0, 0);
    let nodes = ["node-a", "node-b", "node-c"].map(|name| cluster.start("battle", name));
    let lobby = cluster.start("lobby", "lobby-a");
    let gates = ["gate-a", "gate-b"].map(|name| cluster.start("gate", name));
    assert_eq!(cluster.listed("nodes"), ["node-a", "node-b", "node-c"]);
    assert_eq!(cluster.listed("lobbies"), ["lobby-a"]);
    assert_eq!(cluster.listed("gates"), ["gate-a", "gate-b"]);
    let (code, others) = cluster.program.json(&cluster.line("nodes", &format!("{}-other", cluster.prefix)));
    assert!(code == 0 && others["nodes"].as_array().is_some_and(Vec::is_empty), "{others}");
    // A second process of a name is refused by name, and so is one that asks too much.
    let (code, refused) = cluster.ask("drain node-x");
    assert!(
        code == 1 && refused["error"].as_str().is_some_and(|it| it.contains("no node node-x")),
        "{refused}"
    );

    // A limit is changed for all of them at once.
    let battles_max = |all: Json| -> Vec<u64> {
        all["nodes"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|node| node["battles_max"].as_u64())
            .collect()
    };
    assert_eq!(cluster.ask("config set battle.battles_max 50").0, 0);
    wait_until("the limit is not taken", || battles_max(cluster.ask("nodes").1) == [50; 3]);
    assert_eq!(cluster.ask("config set battle.battles_max").0, 0);
    wait_until("the limit stays", || battles_max(cluster.ask("nodes").1) == [200; 3]);

    // The gate dies in the middle of the battles; the bots come back by the other one, with their sessions.
    let both = format!("{},{}", gates[0].gate(), gates[1].gate());
    let bots = cluster.bots(&both, "--players 6 --battles 2");
    wait_until("no battle begins", || cluster.battles() >= 3);
    let [first_gate, second_gate] = gates;
    first_gate.kill();
    // And a node is taken out of service: what runs there finishes, the next battles are elsewhere.
    let (code, drained) = cluster.ask("drain node-a");
    assert_eq!((code, &drained["left"], &drained["moved"]), (0, &0.into(), &0.into()), "{drained}");
    assert!(nodes[0].page("/readyz").starts_with("HTTP/1.1 503"));
    assert!(nodes[1].page("/readyz").starts_with("HTTP/1.1 200"));
    flawless(bots, 12);

    // A node that dies leaves the list by itself, and nobody is sent there any more.
    let [drained, killed, left] = nodes;
    killed.kill();
    wait_until("the dead stay listed", || {
        cluster.listed("nodes") == ["node-a", "node-c"] && cluster.listed("gates") == ["gate-b"]
    });
    flawless(cluster.bots(second_gate.gate(), "--players 4"), 4);
    let (_, all) = cluster.ask("nodes");
    assert_eq!((&all["nodes"][0]["draining"], &all["nodes"][1]["draining"]), (&true.into(), &false.into()));

    // Whoever ends in order leaves the list at once.
    for process in [drained, left, second_gate, lobby] {
        process.send("-TERM");
        assert_eq!(process.ended().0, Some(0));
    }
    for kind in ["nodes", "lobbies", "gates"] {
        assert!(cluster.listed(kind).is_empty(), "{kind}");
    }
    let folders = ["a", "b", "c"].map(|node| format!("data-node-{node}/replays")).join(" ");
    let (code, verdict) = cluster.program.json(&format!("replay verify {folders}"));
    let files = verdict["files"].as_array().expect("files");
    assert!(code == 0 && files.len() >= 8, "{verdict}");
    assert!(files.iter().all(|file| file["complete"] == true), "{verdict}");
}

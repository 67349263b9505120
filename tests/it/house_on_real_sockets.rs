//! The whole house with the real binary, over real sockets on loopback.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tiltyard_cluster::BattleId;
use tiltyard_cluster::control::BattleEnd;
use tiltyard_lobby::store::{BattleRow, EmbeddedStore, Store as _};

use crate::program::{Program, Up, interrupt, wait};

#[test]
fn demo_on_real_sockets_loses_nothing_and_repeats_itself() {
    let program = Program::new();
    let run =
        |out: &str| program.json(&format!("demo --players 4 --battles 2 --seconds 2 --seed 5 --out {out}"));
    let (code, object) = run("first");
    assert_eq!((code, &object["problems"]), (0, &serde_json::json!([])), "{object}");
    for key in [
        "battles",
        "players",
        "ticks",
        "tokens",
        "refused",
        "desyncs",
        "replays",
        "verified",
        "results_stored",
        "tick_us",
        "late_ticks",
        "bytes_per_player_s",
        "lane_bytes",
        "seconds",
    ] {
        assert!(!object[key].is_null(), "{key}: {object}");
    }
    let number = |key: &str| object[key].as_u64().unwrap_or_else(|| panic!("{key}: {object}"));
    assert_eq!((number("battles"), number("players"), number("tokens")), (2, 8, 8));
    assert_eq!((number("ticks"), number("desyncs")), (120, 0));
    assert_eq!((number("verified"), number("results_stored")), (2, 2));
    for reason in ["expired", "tampered", "other_battle", "other_protocol"] {
        assert_eq!(object["refusals"][reason], 1, "{reason}");
    }
    assert!(object["refusals"]["random_datagrams"].as_u64() > Some(0));
    for key in ["p50", "p99", "max"] {
        assert!(object["tick_us"][key].as_f64() > Some(0.0), "{key}");
    }
    assert_eq!(object["replays"].as_array().map(Vec::len), Some(2));

    // The battles are the same ones again; what was decided in them is, too, unless inputs came too late.
    let battles = |object: &Json| -> Vec<Json> {
        object["results"].as_array().expect("results").iter().map(|result| result["battle"].clone()).collect()
    };
    let (code, refused) = run("first");
    assert_eq!(code, 2, "{refused}");
    let (_, again) = run("second");
    assert_eq!(battles(&object), battles(&again));

    let (code, verdict) = program.json("replay verify first");
    assert_eq!((code, verdict["files"].as_array().map(Vec::len)), (0, Some(2)));
    // Each node signed with a key of its own, whose public half alone is left.
    let (code, audit) = program.json("replay audit first --keys first/signing");
    assert_eq!((code, &audit["sound"]), (0, &true.into()), "{audit}");
    let keys = object["public_keys"].as_array().expect("keys");
    assert!(keys.len() == 2 && keys[0]["key"] != keys[1]["key"], "{keys:?}");
    let left = fs::read_dir(program.path().join("first/signing")).expect("a folder").flatten();
    assert!(left.map(|file| file.path()).all(|path| path.extension().is_some_and(|it| it == "pub")));
    let (code, other) = program.json("replay audit second --keys first/signing");
    assert_eq!(code, 1, "the nodes of another run have other keys: {other}");
}

#[test]
fn each_lane_and_feed_fights_to_the_end_on_real_sockets() {
    let program = Program::new();
    for (lane, feed) in [("kcp", "frame"), ("datagram", "snapshot")] {
        let line =
            format!("demo --players 2 --battles 1 --seconds 1 --lane {lane} --feed {feed} --out {lane}");
        let (code, object) = program.json(&line);
        assert_eq!((code, &object["problems"]), (0, &serde_json::json!([])), "{line}: {object}");
        assert!(object["lane_bytes"][lane].as_u64() > Some(0), "{line}: {object}");
    }
}

/// The commands that the README shows, without `cargo run --release -- `.
fn readme_commands() -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    let prefix = "    cargo run --release -- ";
    readme.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
}

#[test]
fn the_readme_is_walked_on_real_sockets() {
    let commands = readme_commands();
    let find = |start: &str| {
        let found = commands.iter().find(|command| command.starts_with(start));
        found.unwrap_or_else(|| panic!("README.md does not show {start}")).clone()
    };
    let program = Program::new();
    let up = Up::start(&program, &find("up"));
    assert_eq!(up.addresses["nodes"].as_array().map(Vec::len), Some(2));
    assert!(up.addresses["http"].as_str().is_some_and(|http| http.starts_with("http://")));
    let here = |command: String| {
        assert!(command.contains("ws://127.0.0.1:7700"), "{command}");
        command.replace("ws://127.0.0.1:7700", up.gate())
    };

    let (code, issued) = program.json(&here(find("token issue")));
    assert_eq!(code, 0, "{issued}");
    let file = issued["out"].as_str().expect("a file").to_owned();
    let (code, verdict) = program.json(&format!("token check {file}"));
    assert_eq!((code, &verdict["verdict"]), (0, &"good".into()));
    let (code, shown) = program.json(&format!("token show {file}"));
    assert_eq!((code, &shown["sealed"]["seat"]), (0, &issued["seat"]));
    assert_eq!(shown["battle"], issued["battle"]);

    let (code, played) = program.json(&find("connect"));
    assert_eq!((code, &played["joined"], &played["refused"]), (0, &true.into(), &Json::Null), "{played}");
    assert_eq!((&played["desyncs"], &played["agrees"]), (&0.into(), &true.into()), "{played}");
    let (code, late) = program.json(&find("connect"));
    assert_eq!((code, &late["joined"]), (1, &false.into()), "{late}");
    assert!(late["refused"].as_str().is_some(), "{late}");

    let (code, bots) = program.json(&here(find("bots")));
    assert_eq!(code, 0, "{bots}");
    assert_eq!((&bots["joined"], &bots["finished"], &bots["desyncs"]), (&10.into(), &10.into(), &0.into()));

    assert_eq!(up.interrupt(), (Some(0), String::new()));
    let (code, verdict) = program.json("replay verify tiltyard-data/replays");
    let files = verdict["files"].as_array().expect("files");
    assert_eq!((code, files.len()), (0, 2), "{verdict}");
    assert!(files.iter().all(|file| file["complete"] == true), "{verdict}");
}

#[test]
fn bots_over_a_bad_link_on_real_sockets_lose_datagrams_and_no_state() {
    let program = Program::new();
    let up = Up::start(&program, "up --nodes 1");
    let bots = |wishes: &str| {
        program.json(&format!("bots --gate {} --players 4 --mode duel --feed mixed {wishes}", up.gate()))
    };
    let (code, bad) = bots("--loss 5 --delay 50 --jitter 10 --seed 7");
    assert_eq!((code, &bad["finished"], &bad["desyncs"]), (0, &4.into(), &0.into()), "{bad}");
    assert!(bad["link"]["lost"].as_u64() > Some(0), "{bad}");
    assert!(bad["link"]["datagrams"].as_u64() > bad["link"]["lost"].as_u64(), "{bad}");
    assert_eq!(bad["link"]["crowded_out"], 0, "{bad}");
    // The way there and the way back take 50 ms each.
    assert!(bad["input_to_state_ms"]["p50"].as_u64() >= Some(100), "{bad}");
    let unknown = "the gate has no mode `chess`; it has skirmish, duel, melee, war";
    let (code, object) =
        program.json(&format!("token issue --gate {} --mode chess --out c.token", up.gate()));
    assert!(code == 1 && object["error"].as_str().is_some_and(|error| error.ends_with(unknown)), "{object}");
    let (code, table, _) = program.person(&format!("bots --gate {} --players 2 --mode chess", up.gate()));
    assert!(code == 1 && table.ends_with(&format!("2 times: {unknown}\n")), "{table}");
    let (code, clean) = bots("");
    assert_eq!((code, &clean["link"]), (0, &Json::Null), "{clean}");
}

#[test]
fn bots_that_measured_nothing_do_not_say_zero() {
    let program = Program::new();
    let (code, object) = program.json("bots --gate ws://127.0.0.1:1 --players 2");
    assert_eq!((code, &object["joined"], &object["finished"]), (1, &0.into(), &0.into()), "{object}");
    assert_eq!(object["input_to_state_ms"], serde_json::json!({ "p50": null, "p99": null }));
    assert_eq!(object["bytes_per_player_s"], serde_json::json!({ "up": null, "down": null }));
    let (_, said, _) = program.person("bots --gate ws://127.0.0.1:1 --players 1");
    assert!(said.starts_with("no bot got in") && !said.contains('%'), "{said}");
}

/// A house with a battle that one player is in, and the battle's number.
fn house_at_play(program: &Program, line: &str) -> (Up, Child, BattleId) {
    let up = Up::start(program, line);
    let issue = format!("token issue --gate {} --mode duel --out t.token", up.gate());
    let (code, issued) = program.json(&issue);
    assert_eq!(code, 0, "{issued}");
    let battle = u64::from_str_radix(issued["battle"].as_str().expect("a battle"), 16).expect("a number");
    let player = program
        .command("--json connect --token t.token")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    // The recording grows once the battle runs.
    let replays = program.path().join("tiltyard-data/replays");
    let bytes = || -> u64 {
        let files = fs::read_dir(&replays).expect("a folder").flatten();
        files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
    };
    wait_until("the battle does not begin", || bytes() >= 1_000);
    (up, player, BattleId(battle))
}

fn wait_until(what_if_not: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "{what_if_not}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The battle's row in the store of a house that is down, and whether it keeps its player busy.
fn stored(program: &Program, battle: BattleId) -> (BattleRow, bool) {
    let store = EmbeddedStore::open(&program.path().join("tiltyard-data/lobby.redb")).expect("a store");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let row = store.battle(battle).await.expect("the store answers").expect("the battle has a row");
        let player = row.humans().next().expect("a player").player;
        (row, store.battle_of(player).await.expect("the store answers").is_some())
    })
}

/// The player heard of the end, or gives up when asked.
fn end(mut player: Child) {
    if player.try_wait().expect("a child").is_none() {
        interrupt(&player);
    }
    assert!(wait(&mut player).is_some());
}

#[test]
fn ctrl_c_during_a_battle_on_real_sockets_leaves_closed_recordings_and_results() {
    let program = Program::new();
    let (up, player, battle) = house_at_play(&program, "--set battle.seconds=600 up --nodes 1");
    assert_eq!(up.interrupt(), (Some(0), String::new()));
    let (code, audit) = program.json("replay audit tiltyard-data/replays");
    assert_eq!((code, &audit["sound"]), (0, &true.into()), "the node sealed what it closed: {audit}");
    let (code, verdict) = program.json("replay verify tiltyard-data/replays");
    let file = &verdict["files"][0];
    assert_eq!((code, &file["verified"], &file["complete"]), (0, &true.into(), &true.into()), "{verdict}");
    assert!(file["ticks"].as_u64() > Some(0));
    let path = file["path"].as_str().expect("a path");
    assert_eq!(program.json(&format!("replay info {path}")).1["ended"], "aborted");
    // The result is in the store: no outbox holds it any more.
    let left = fs::read_dir(program.path().join("tiltyard-data/outbox/node-1")).expect("an outbox");
    assert_eq!(left.count(), 0);
    let (row, busy) = stored(&program, battle);
    assert_eq!((row.result.map(|result| result.ended), busy), (Some(BattleEnd::Aborted), false));
    end(player);

    // Now nobody answers, and that is said while it is waited for.
    let (code, said, beside) = program.person("connect --token t.token --seconds 2");
    assert_eq!(code, 1, "{said}");
    assert!(beside.starts_with("waiting for the node at 127.0.0.1:"), "{beside}");
    assert!(said.starts_with("left before any node answered"), "{said}");
}

#[test]
fn sigterm_lets_a_battle_finish_on_real_sockets() {
    let program = Program::new();
    let (up, player, battle) = house_at_play(&program, "--set battle.seconds=15 up --nodes 1");
    up.send("-HUP");
    assert!(up.page("/readyz").starts_with("HTTP/1.1 200"));
    let metrics = up.page("/metrics");
    for line in [
        "tiltyard_node_battles{node=\"node-1\"} 1",
        "tiltyard_node_accepted_total{node=\"node-1\"} 1",
        "tiltyard_node_recordings_incomplete_total{node=\"node-1\"} 0",
        "tiltyard_node_reports_written_total{node=\"node-1\"} 0",
    ] {
        assert!(metrics.contains(&format!("\n{line}\n")), "no {line} in {metrics}");
    }
    assert!(metrics.contains("\ntiltyard_node_late_ticks_total{node=\"node-1\"} "), "{metrics}");
    up.send("-TERM");
    wait_until("it is still ready", || up.page("/readyz").starts_with("HTTP/1.1 503"));
    assert_eq!(up.ended(), (Some(0), String::new()));
    let (row, busy) = stored(&program, battle);
    assert_eq!((row.result.map(|result| result.ended), busy), (Some(BattleEnd::Finished), false));
    end(player);
    assert_eq!(program.json("replay verify tiltyard-data/replays").0, 0);
}

#[test]
fn keys_rotate_while_a_house_is_up_on_real_sockets() {
    let program = Program::new();
    let up = Up::start(&program, "--set battle.seconds=600 --set token.expiry_seconds=600 up --nodes 1");
    let issue = |out: &str| {
        let (code, issued) =
            program.json(&format!("token issue --gate {} --mode duel --out {out}", up.gate()));
        assert_eq!(code, 0, "{issued}");
        program.json(&format!("token show {out}")).1["kid"].as_u64().expect("a number")
    };
    assert_eq!(issue("old.token"), 1);
    assert_eq!(program.json("keys rotate").1["kid"], 2);
    up.send("-HUP");
    wait_until("the new key is not used", || issue("new.token") == 2);
    for token in ["old.token", "new.token"] {
        let (code, played) = program.json(&format!("connect --token {token} --seconds 1"));
        assert_eq!((code, &played["joined"]), (0, &true.into()), "{token}: {played}");
    }
    assert_eq!(up.interrupt().0, Some(0));
}

#[test]
fn a_killed_house_ends_its_battles_when_it_is_up_again_on_real_sockets() {
    let program = Program::new();
    let (up, player, battle) = house_at_play(&program, "--set battle.seconds=600 up --nodes 2");
    up.kill();
    let (row, busy) = stored(&program, battle);
    assert_eq!((row.result, busy), (None, true), "nobody could say that it is over");
    // The node that comes back may be another one.
    let up = Up::start(&program, "up --nodes 1");
    let outbox = program.path().join("tiltyard-data/outbox/node-1");
    wait_until("the battle is not settled", || fs::read_dir(&outbox).expect("an outbox").count() == 0);
    assert_eq!(up.interrupt(), (Some(0), String::new()));
    let (row, busy) = stored(&program, battle);
    let result = row.result.expect("a result");
    assert_eq!((result.ended, result.ticks > 0, busy), (BattleEnd::Aborted, true, false));
    let (code, verdict) = program.json("replay verify tiltyard-data/replays");
    assert_eq!((code, &verdict["files"][0]["verified"]), (0, &true.into()), "{verdict}");
    end(player);
}

#[test]
fn services_that_this_build_has_not_are_refused_by_name() {
    let program = Program::new();
    let built = [
        ("etcd", cfg!(feature = "etcd")),
        ("redis", cfg!(feature = "redis")),
        ("mongodb", cfg!(feature = "mongodb")),
    ];
    for (service, _) in built.into_iter().filter(|(_, built)| !built) {
        let (code, object) = program.json(&format!("up --{service} url"));
        assert_eq!(code, 2);
        let error = object["error"].as_str().expect("an error");
        assert!(error.starts_with(&format!("this build has no {service}")), "{error}");
    }
}

#[test]
fn somebody_looks_on_at_a_battle_on_real_sockets_and_changes_nothing() {
    let program = Program::new();
    let up = Up::start_with(&program, "up --nodes 1", 10);
    let (code, issued) = program.json(&format!("token issue --gate {} --mode duel --out a.token", up.gate()));
    assert_eq!(code, 0, "{issued}");
    let (code, made) = program.json("token watch a.token --out w.token");
    assert_eq!((code, &made["role"], &made["battle"]), (0, &"spectator".into(), &issued["battle"]), "{made}");
    let mut player = program.command("--json connect --token a.token");
    let player = player.stdout(Stdio::piped()).spawn().expect("the binary runs");
    let (code, seen) = program.json("connect --token w.token --feed frame");
    let played = player.wait_with_output().expect("the player ends");
    let played: Json = serde_json::from_slice(&played.stdout).expect("JSON");
    assert_eq!((code, &seen["joined"], &seen["inputs"]), (0, &true.into(), &0.into()), "{seen}");
    assert_eq!((&seen["desyncs"], &seen["agrees"]), (&0.into(), &true.into()), "{seen}");
    assert_eq!((&played["agrees"], &played["state_hash"]), (&true.into(), &seen["state_hash"]), "{played}");
    assert!(seen["ticks"].as_u64() > Some(200), "{seen}");
}

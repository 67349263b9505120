//! A house that is killed while it records, on real sockets: what is left of its recordings.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tiltyard_engine::rng::Rng;

use crate::program::{Program, Up, interrupt};

/// Battles that are under way when the house is killed.
const BATTLES: usize = 2;

/// How long a battle may take to begin on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A battle with one player in it.
struct Seat {
    battle: String,
    player: Child,
}

fn take_seat(program: &Program, up: &Up, number: usize) -> Seat {
    let line = format!("token issue --gate {} --mode duel --out {number}.token", up.gate());
    let (code, issued) = program.json(&line);
    assert_eq!(code, 0, "{issued}");
    let mut player = program.command(&format!("--json connect --token {number}.token"));
    let player = player.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
    Seat { battle: issued["battle"].as_str().expect("a battle").to_owned(), player }
}

/// Kills of a node under way: `KILLS=100 SEED=7 cargo test --test it kills -- --nocapture` for a long run.
#[test]
fn a_killed_node_leaves_recordings_that_verify_on_real_sockets() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills = number("KILLS").unwrap_or(2);
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("SEED={seed}");
    let mut rng = Rng::new(seed, 0, 0, 0);
    let mut lost = Vec::new();
    for _ in 0..kills {
        let program = Program::new();
        let up = Up::start(&program, "--set battle.seconds=600 up --nodes 1");
        let seats: Vec<_> = (0..BATTLES).map(|number| take_seat(&program, &up, number)).collect();
        let replays = program.path().join("tiltyard-data/replays");
        let path = |seat: &Seat| replays.join(format!("{}-1.replay", seat.battle));
        let running = |seat| std::fs::metadata(path(seat)).is_ok_and(|file| file.len() >= 1_000);
        let until = Instant::now() + PATIENCE;
        while !seats.iter().all(running) {
            assert!(Instant::now() < until, "the battles do not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(u64::from(rng.below(1_000))));
        up.kill();
        for seat in seats {
            let recording = path(&seat);
            interrupt(&seat.player);
            let said = seat.player.wait_with_output().expect("it ends").stdout;
            let said: Json = serde_json::from_slice(&said).expect("JSON");
            let seen = said["newest_tick"].as_u64().unwrap_or(0) as u32;
            let (code, verdict) = program.json(&format!("replay verify {}", recording.display()));
            let file = &verdict["files"][0];
            assert_eq!(
                (code, &file["verified"], &file["complete"]),
                (0, &true.into(), &false.into()),
                "{file}"
            );
            let kept = file["ticks"].as_u64().expect("a number") as u32;
            assert!(kept > 0, "a thousand bytes hold some ticks");
            // No bound: on a busy machine the recording thread may be behind. A quiet one loses three at most.
            lost.push(seen.saturating_sub(kept));
        }
    }
    lost.sort_unstable();
    eprintln!("{} recordings, ticks lost of those that were seen: {lost:?}", lost.len());
}

//! `replay` and `bench` with the real binary, on recordings made here.

use std::fs;

use serde_json::Value as Json;
use tiltyard::bench::Played;
use tiltyard_engine::Game as _;
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_replay::{
    Content, Item, OnDamage, Reader, Recording, Settings, Signer, Statement, Summary, Writer,
};

use crate::program::Program;

/// The bytes of a short recording.
fn recording() -> Vec<u8> {
    let played = Played::<Skirmish>::of(&Skirmish::scenes()[0], 11, 1, 400).expect("the scene is played");
    played.recording().expect("it is recorded")
}

fn verify(program: &Program, line: &str) -> (i32, Json) {
    let (code, object) = program.json(&format!("replay verify {line}"));
    (code, object["files"][0].clone())
}

#[test]
fn a_whole_recording_verifies_and_a_cut_one_up_to_its_cut() {
    let program = Program::new();
    let bytes = recording();
    fs::write(program.path().join("whole.replay"), &bytes).expect("written");
    let (code, file) = verify(&program, "whole.replay");
    assert_eq!(code, 0);
    assert_eq!(
        (&file["ticks"], &file["verified"], &file["complete"]),
        (&401.into(), &true.into(), &true.into())
    );
    assert_eq!((&file["cut_bytes"], &file["first_divergence"]), (&0.into(), &Json::Null));
    assert!(file["times_realtime"].as_f64() > Some(1.0));

    fs::write(program.path().join("cut.replay"), &bytes[..bytes.len() * 2 / 3]).expect("written");
    let (code, file) = verify(&program, "cut.replay");
    assert_eq!(code, 0, "a torn tail is forgiven");
    assert_eq!((&file["verified"], &file["complete"]), (&true.into(), &false.into()));
    assert!(file["cut_bytes"].as_u64() > Some(0) && file["ticks"].as_u64() < Some(401), "{file}");
    let (code, out, _) = program.person("replay verify cut.replay");
    assert_eq!(code, 0);
    assert!(out.contains("cut.replay: the recording is torn after tick "), "{out}");
    let (code, object) = program.json("replay info cut.replay");
    assert_eq!((code, &object["complete"], &object["playable"]), (0, &false.into(), &"simulate".into()));
}

#[test]
fn damage_in_the_middle_fails_and_names_its_place() {
    let program = Program::new();
    let mut bytes = recording();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::create_dir(program.path().join("folder")).expect("a folder");
    fs::write(program.path().join("folder/damaged.replay"), &bytes).expect("written");
    let (code, file) = verify(&program, "folder");
    assert_eq!((code, &file["verified"]), (1, &false.into()));
    assert!(file["error"].as_str().is_some(), "{file}");
    let (code, file) = verify(&program, "--past-damage folder");
    assert_eq!(code, 1, "what was damaged stays so");
    assert!(file["damage"][0][0].as_u64() > Some(0), "{file}");
    let (_, out, _) = program.person("replay verify --past-damage folder");
    assert!(out.contains("went on at byte") && !out.contains("no end"), "the end is there: {out}");
    assert_eq!(program.json("replay info folder/damaged.replay").0, 1);
}

#[test]
fn a_seek_says_which_state_is_there() {
    let program = Program::new();
    fs::write(program.path().join("a.replay"), recording()).expect("written");
    for tick in [0, 1, 299, 300, 301, 401] {
        let (code, object) = program.json(&format!("replay seek a.replay --tick {tick}"));
        assert_eq!((code, &object["tick"], &object["agrees"]), (0, &tick.into(), &true.into()), "{object}");
        assert_eq!(object["recorded_hash"].is_string(), tick > 0, "{object}");
        assert_eq!(object["keyframe"].as_u64(), (tick >= 300).then_some(300), "{object}");
    }
    let (code, object) = program.json("replay seek a.replay --tick 402");
    assert_eq!(code, 2);
    assert!(object["error"].as_str().is_some_and(|error| error.contains("which is 401")), "{object}");
}

#[test]
fn a_recording_lists_its_outcome_and_its_seed_as_text() {
    let program = Program::new();
    fs::write(program.path().join("a.replay"), recording()).expect("written");
    let (code, object) = program.json("replay info a.replay");
    assert_eq!((code, &object["seed"]), (0, &"000000000000000b".into()));
    assert_eq!(object["outcome"], Json::Null, "the scene goes on: {object}");
}

#[test]
fn a_part_is_cut_out_and_equals_its_whole() {
    let program = Program::new();
    fs::write(program.path().join("a.replay"), recording()).expect("written");
    let (code, object) = program.json("replay cut a.replay --from 310 --to 390 --out part.replay");
    assert_eq!(
        (code, &object["first_tick"], &object["last_tick"]),
        (0, &301.into(), &390.into()),
        "{object}"
    );
    let (code, file) = verify(&program, "part.replay");
    assert_eq!((code, &file["ticks"], &file["complete"]), (0, &90.into(), &true.into()));
    let (code, object) = program.json("replay diff a.replay part.replay");
    assert_eq!((code, &object["equal"], &object["compared"][1]), (0, &true.into(), &390.into()), "{object}");
    let (code, object) = program.json("replay cut a.replay --from 310 --out part.replay");
    assert_eq!(code, 1, "a file that is there is left alone");
    assert!(object["error"].as_str().is_some_and(|error| error.contains("part.replay")), "{object}");
    assert_eq!(program.json("replay cut a.replay --from 402 --out more.replay").0, 2);
    assert!(!program.path().join("more.replay").exists(), "nothing is left behind");
}

#[test]
fn recordings_of_two_seeds_part_and_say_where() {
    let program = Program::new();
    fs::write(program.path().join("a.replay"), recording()).expect("written");
    let other = Played::<Skirmish>::of(&Skirmish::scenes()[0], 12, 1, 400).expect("the scene is played");
    fs::write(program.path().join("b.replay"), other.recording().expect("recorded")).expect("written");
    let (code, object) = program.json("replay diff a.replay b.replay");
    assert_eq!((code, &object["equal"]), (1, &false.into()));
    assert_eq!((&object["head"][0]["what"], &object["head"][0]["decides"]), (&"seed".into(), &true.into()));
    let first = &object["first_divergence"];
    assert!(first["field"].is_string() && first["left"] != first["right"], "{object}");
    let (code, out, _) = program.person("replay diff a.replay b.replay");
    assert!(code == 1 && out.contains("seed: 000000000000000b against 000000000000000c"), "{out}");
}

#[test]
fn a_dump_leads_a_fork_to_the_same_battle_and_a_changed_one_elsewhere() {
    let program = Program::new();
    fs::write(program.path().join("a.replay"), recording()).expect("written");
    let (code, object) = program.json("replay dump a.replay --from 101 --lines --out a.jsonl");
    assert_eq!((code, &object["ticks"], &object["to"]), (0, &301.into(), &401.into()), "{object}");
    let text = fs::read_to_string(program.path().join("a.jsonl")).expect("lines");
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len(), &lines[0]["tick"]), (301, &101.into()));
    assert!(lines[0]["inputs"].as_array().is_some_and(|inputs| inputs.len() == 10), "all seats at first");

    let same = "replay fork a.replay --at 100 --inputs a.jsonl --out same.replay";
    let (code, object) = program.json(same);
    assert_eq!((code, &object["last_tick"]), (0, &401.into()), "{object}");
    assert_eq!(program.json("replay diff a.replay same.replay").1["equal"], Json::Bool(true));

    // Seat 3 stands still from tick 151 on.
    program.write("still.jsonl", "{\"tick\":151,\"inputs\":[{\"seat\":3}]}\n");
    let (code, _) = program.json("replay fork a.replay --at 100 --inputs still.jsonl --out still.replay");
    assert_eq!(code, 0);
    let (code, object) = program.json("replay diff a.replay still.replay");
    let first = &object["first_divergence"];
    assert_eq!((code, &first["tick"], &first["cause"]), (1, &151.into(), &"record".into()), "{object}");
    assert!(first["field"].as_str().is_some_and(|field| field.starts_with("seat 3 ")), "{object}");
    assert_eq!(verify(&program, "still.replay").0, 0);

    let (code, object) =
        program.json("replay fork a.replay --at 401 --to 500 --inputs bots --out longer.replay");
    assert_eq!((code, &object["last_tick"]), (0, &500.into()), "{object}");
    for (name, line, expected) in [
        ("seat", "{\"tick\":151,\"inputs\":[{\"seat\":10}]}", "no seat from 0 to 9"),
        ("field", "{\"tick\":151,\"inputs\":[{\"seat\":1,\"nonsense\":1}]}", "no field `nonsense`"),
        ("number", "{\"tick\":-1}", "no number of a tick"),
        ("order", "{\"tick\":5}\n{\"tick\":5}", "line 2: tick 5 after tick 5"),
        ("command", "{\"tick\":5,\"commands\":[{\"dance\":1}]}", "no command"),
    ] {
        program.write(name, line);
        let (code, object) =
            program.json(&format!("replay fork a.replay --at 9 --inputs {name} --out x.replay"));
        assert_eq!(code, 2, "{object}");
        assert!(object["error"].as_str().is_some_and(|error| error.contains(expected)), "{object}");
    }
    let (code, out, _) = program.person("replay dump a.replay --from 5 --to 5");
    assert!(code == 0 && out.starts_with("tick 5  ") && out.contains("  seat 9 bot: "), "{out}");
}

/// The recording with another hash in tick 150.
fn lying() -> Vec<u8> {
    written_anew(|tick, record, hash| (record.to_vec(), hash ^ u64::from(tick == 150)))
}

/// The recording with other records and hashes, under right checksums.
fn written_anew(change: impl Fn(u32, &[u8], u64) -> (Vec<u8>, u64)) -> Vec<u8> {
    let bytes = recording();
    let mut reader = Reader::open(&bytes[..], OnDamage::Stop).expect("a header");
    let settings = Settings::new(1, reader.header().rate_hz);
    let mut writer = Writer::start(Vec::new(), reader.header(), settings).expect("a header");
    let mut hashes = Vec::new();
    while let Some(Item::Block(block)) = reader.next_item().expect("whole") {
        match block.content {
            Content::StateHashes(block) => hashes = block.iter().map(|(_, hash)| hash).collect(),
            Content::TickRecords(records) => {
                for ((tick, record), hash) in records.iter().zip(&hashes) {
                    let (record, hash) = change(tick, record, *hash);
                    writer.append(tick, &record, hash).expect("in order");
                }
            }
            Content::Keyframe(state) => {
                writer.keyframe(block.header.first_tick, state).expect("in order");
            }
            Content::End(end) => drop(writer.finish(end.ended, end.outcome, end.final_hash).expect("an end")),
            _ => {}
        }
    }
    writer.into_sink()
}

#[test]
fn a_divergence_is_reported_and_explained_and_its_report_is_a_test() {
    let program = Program::new();
    fs::create_dir_all(program.path().join("corpus")).expect("a folder");
    fs::create_dir(program.path().join("reports")).expect("a folder");
    fs::write(program.path().join("corpus/lie.replay"), lying()).expect("written");
    let (code, file) = verify(&program, "corpus");
    assert_eq!((code, &file["first_divergence"]["tick"]), (1, &150.into()), "{file}");
    assert_eq!(file["report"], "corpus/lie.tick-150.divergence");
    let (code, object) = program.json("replay verify corpus --reports reports");
    assert_eq!((code, object["files"].as_array().map(Vec::len)), (1, Some(1)), "reports are no recordings");
    assert_eq!(object["files"][0]["report"], "reports/lie.tick-150.divergence");

    let (code, object) = program.json("replay explain reports/lie.tick-150.divergence");
    assert_eq!((code, &object["found"]["tick"], &object["now"]["tick"]), (1, &150.into(), &150.into()));
    assert_ne!(object["found"]["recorded_hash"], object["found"]["computed_hash"]);
    let (_, out, _) = program.person("replay explain reports/lie.tick-150.divergence");
    assert!(out.contains("the states agree again at tick 151"), "{out}");
    fs::rename(
        program.path().join("reports/lie.tick-150.divergence"),
        program.path().join("corpus/a.replay"),
    )
    .expect("renamed");
    let (code, file) = verify(&program, "corpus");
    assert_eq!(
        (code, &file["path"], &file["first_divergence"]["tick"]),
        (1, &"corpus/a.replay".into(), &150.into())
    );

    fs::write(program.path().join("good.replay"), recording()).expect("written");
    let (code, object) = program.json("replay explain good.replay");
    assert_eq!((code, &object["found"], &object["verified"]), (0, &Json::Null, &true.into()), "{object}");
    assert_eq!(program.json("replay verify good.replay").1["files"][0]["report"], Json::Null);
}

#[test]
fn a_record_that_is_refused_is_reported_and_explained() {
    let program = Program::new();
    let made = written_anew(|tick, record, hash| {
        (if tick == 350 { b"no record".to_vec() } else { record.to_vec() }, hash)
    });
    fs::write(program.path().join("made.replay"), made).expect("written");
    let (code, file) = verify(&program, "made.replay");
    assert_eq!((code, &file["ticks"], &file["report"]), (1, &349.into(), &"made.tick-350.divergence".into()));
    assert!(file["error"].as_str().is_some_and(|error| error.contains("tick 350")), "{file}");
    let (code, object) = program.json("replay explain made.tick-350.divergence");
    assert_eq!((code, &object["ticks"][0], &object["ticks"][1]), (1, &301.into(), &350.into()), "{object}");
    let found = &object["found"];
    assert_eq!((&found["tick"], &found["computed_hash"]), (&350.into(), &Json::Null), "{object}");
    assert_eq!(found["text"], file["error"]);
    assert!(found["recorded_hash"].is_string() && object["error"].is_string(), "{object}");
    // A report of a report says nothing new.
    fs::rename(program.path().join("made.tick-350.divergence"), program.path().join("test.replay"))
        .expect("renamed");
    let (code, file) = verify(&program, "test.replay");
    assert_eq!((code, &file["report"]), (1, &Json::Null), "{file}");
}

#[test]
fn an_audit_holds_a_recording_against_its_seal() {
    let program = Program::new();
    let (signer, bytes) = (Signer::from_seed(&[7; 32]), recording());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let key = hex(&signer.public_key());
    let ending =
        Recording::open(std::io::Cursor::new(&bytes)).expect("whole").ending().expect("an end").clone();
    let told = Statement {
        battle: 1,
        epoch: 1,
        last_tick: ending.tick,
        final_hash: ending.final_hash,
        recording_hash: Summary::read(&bytes[..]).expect("whole").recording_hash,
        ended: ending.ended,
        outcome: ending.outcome,
    };
    let check = |recording: &[u8], statement: &Statement, key: &str, expected: Option<&str>| {
        fs::write(program.path().join("a.replay"), recording).expect("written");
        fs::write(program.path().join("a.seal"), signer.seal(statement).expect("short")).expect("written");
        let (code, object) = program.json(&format!("replay audit --key {key} a.replay"));
        assert_eq!(
            (code, &object["sound"]),
            (expected.is_some().into(), &expected.is_none().into()),
            "{object}"
        );
        if let Some(expected) = expected {
            let error = object["files"][0]["error"].as_str();
            assert!(error.is_some_and(|error| error.contains(expected)), "{expected}: {object}");
        }
    };
    check(&bytes, &told, &key, None);
    check(&bytes, &told, &hex(&Signer::from_seed(&[8; 32]).public_key()), Some("no key of a known node"));
    check(&bytes, &Statement { battle: 2, ..told.clone() }, &key, Some("its battle"));
    check(&bytes, &Statement { final_hash: 2, ..told.clone() }, &key, Some("its last hash"));
    check(&bytes, &Statement { outcome: vec![1], ..told }, &key, Some("its outcome"));
    let lie = lying();
    check(&lie, &told, &key, Some("its recording hash"));
    let lie_hash = Summary::read(&lie[..]).expect("whole").recording_hash;
    check(
        &lie,
        &Statement { recording_hash: lie_hash, ..told.clone() },
        &key,
        Some("tick 150, recorded hash"),
    );
    check(&bytes[..bytes.len() - 9], &told, &key, Some("its end"));
    check(&bytes, &told, &key, None);
    fs::create_dir(program.path().join("known")).expect("a folder");
    program.write("known/node-7.pub", &format!("# of the third machine\n\nnode-7 {key}\n"));
    let other = hex(&Signer::from_seed(&[8; 32]).public_key());
    program.write("other.pub", &format!("node-8 {other}\n"));
    for known in ["known", "known/node-7.pub"] {
        let (code, object) = program.json(&format!("replay audit --keys {known} a.replay"));
        assert_eq!((code, &object["files"][0]["signed_by"]), (0, &"node-7".into()), "{object}");
    }
    assert_eq!(program.json("replay audit --keys other.pub a.replay").0, 1);
    program.write("other.pub", "node-8 0123");
    let (code, object) = program.json("replay audit --keys other.pub a.replay");
    assert_eq!(code, 2);
    assert!(object["error"].as_str().is_some_and(|error| error.contains("other.pub:1: no line")), "{object}");
    fs::remove_file(program.path().join("a.seal")).expect("it is there");
    let (code, object) = program.json(&format!("replay audit --key {key} a.replay"));
    assert!(code == 1 && object["files"][0]["error"].as_str().is_some_and(|error| error.contains("a.seal")));
    assert_eq!(object["files"][0]["verdict"], "no seal", "{object}");
    let (code, out, _) = program.person(&format!("replay audit --key {key} a.replay"));
    assert!(code == 1 && out.contains("no seal") && !out.contains("NOBODY KNOWN"), "{out}");
    assert_eq!(program.json("replay audit --key 12 a.replay").0, 2);
}

#[test]
fn pipes_and_devices_are_no_recordings() {
    let program = Program::new();
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(program.path().join("pipe.replay"))
        .status();
    assert!(made.expect("mkfifo runs").success());
    for file in ["pipe.replay", "/dev/zero"] {
        for line in [format!("verify {file}"), format!("info {file}"), format!("seek --tick 1 {file}")] {
            let (code, object) = program.json(&format!("replay {line}"));
            let error = object["error"].as_str().or(object["files"][0]["error"].as_str());
            assert_eq!(code, 1);
            assert!(error.is_some_and(|error| error.contains("no regular file")), "{line}: {object}");
        }
    }
    fs::write(program.path().join("a.replay"), recording()).expect("written");
    for (line, code) in [
        ("replay play --text pipe.replay", 1),
        ("replay follow pipe.replay", 1),
        ("replay fork a.replay --at 10 --inputs pipe.replay --out x.replay", 1),
        ("token show pipe.replay", 1),
        ("config print --config pipe.replay", 2),
        ("keys rotate --set keys.file=pipe.replay", 1),
    ] {
        let (exit, object) = program.json(line);
        assert!(exit == code && object.to_string().contains("no regular file"), "{line}: {exit} {object}");
    }
}

#[test]
fn what_is_no_recording_is_named_and_fails() {
    let program = Program::new();
    program.write("note.replay", "this is a note");
    let (code, file) = verify(&program, "note.replay");
    assert_eq!((code, &file["verified"]), (1, &false.into()));
    assert!(file["error"].as_str().is_some_and(|error| error.contains("not a recording")), "{file}");
    fs::create_dir(program.path().join("empty")).expect("a folder");
    assert_eq!(program.json("replay verify empty").0, 2);
    let (code, object) = program.json("replay verify absent.replay");
    assert_eq!(code, 1);
    assert!(object["error"].as_str().is_some_and(|error| error.contains("absent.replay")), "{object}");
}

#[test]
fn bench_measures_a_scene_and_knows_no_other() {
    let program = Program::new();
    let (code, object) = program.json("bench --scene 10x30 --seconds 1");
    assert_eq!((code, &object["scene"]), (0, &"10x30".into()));
    for key in [
        "ratio",
        "save_us",
        "hash_us",
        "restore_us",
        "copy_us",
        "encode_us",
        "snapshot_bytes",
        "times_realtime",
    ] {
        assert!(object[key].as_f64() > Some(0.0), "{key}: {object}");
    }
    for key in ["tick_us", "limit_us"] {
        assert!(object[key]["p50"].as_f64() > Some(0.0), "{key}: {object}");
        assert!(object[key]["p50"].as_f64() <= object[key]["p99"].as_f64(), "{key}: {object}");
    }
    let (code, object) = program.json("bench --scene absent");
    assert_eq!(code, 2);
    assert!(
        object["error"].as_str().is_some_and(|error| error.contains("10x30, 100x300, 1000x3000")),
        "{object}"
    );
}

#[test]
fn bench_draws_all_scenes_and_nothing_less() {
    let program = Program::new();
    let (code, object) = program.json("bench --scene 10x30 --svg one.svg");
    assert_eq!(code, 2);
    assert!(object["error"].as_str().is_some_and(|error| error.contains("--scene all")), "{object}");
}

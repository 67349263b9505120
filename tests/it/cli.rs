//! The real binary: what it prints where, and how it ends.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::program::{Program, interrupt, wait};

#[test]
fn help_and_version_are_fine_and_nonsense_is_usage() {
    let program = Program::new();
    for line in ["--help", "--version", "config --help", "config print --help", "keys rotate --help"] {
        let (code, out, err) = program.person(line);
        assert_eq!((code, err.as_str()), (0, ""), "{line}");
        assert!(!out.is_empty(), "{line}");
        assert!(line == "--version" || out.contains("Examples:\n  tiltyard "), "{line}: {out}");
    }
    for line in ["", "fly", "config", "config print --fast", "keys new extra", "--set seed config check"] {
        let (code, out, err) = program.person(line);
        assert_eq!((code, out.as_str()), (2, ""), "{line}");
        assert!(!err.is_empty(), "{line}");
        assert!(!err.contains("backtrace"), "{line}: {err}");
    }
}

#[test]
fn a_wrong_command_line_is_answered_in_json_too() {
    let program = Program::new();
    assert_eq!(program.json("fly"), (2, serde_json::json!({ "error": "unrecognized subcommand 'fly'" })));
    assert_eq!(program.json("config"), (2, serde_json::json!({ "error": "a subcommand is missing" })));
    let (code, object) = program.json("");
    assert_eq!(code, 2);
    assert!(object["error"].as_str().expect("an error").contains("requires a subcommand"), "{object}");
    let (code, object) = program.json("--set seed config check");
    assert_eq!(
        (code, object["error"].as_str()),
        (2, Some("--set seed: write KEY=VALUE, such as battle.rate_hz=60"))
    );
}

#[test]
fn a_printed_configuration_is_a_valid_one() {
    let program = Program::new();
    let (code, printed, err) = program.person("--set battle.rate_hz=60 config print");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(printed.contains("rate_hz = 60 # from: flag --set battle.rate_hz"), "{printed}");
    program.write("tiltyard.toml", &printed);
    let (code, object) = program.json("config check");
    assert_eq!((code, object), (0, serde_json::json!({ "valid": true, "problems": [] })));
    let (_, object) = program.json("config print");
    assert_eq!(object["settings"]["battle.rate_hz"]["value"], 60);
    let source = object["settings"]["battle.rate_hz"]["source"].as_str().expect("a source");
    assert!(source.starts_with("tiltyard.toml:"), "{source}");
}

#[test]
fn a_broken_configuration_stops_every_subcommand_with_its_place() {
    let program = Program::new();
    program.write("tiltyard.toml", "seed = 1\n\n[gate]\n  lissten = 3\n");
    let expected = "tiltyard.toml:4:3: unknown key `gate.lissten`; did you mean `gate.listen`?";
    let (code, object) = program.json("config check");
    assert_eq!(code, 2);
    assert_eq!(object["valid"], false);
    let problem = &object["problems"][0];
    assert_eq!(
        (&problem["file"], &problem["line"], &problem["column"]),
        (&"tiltyard.toml".into(), &4.into(), &3.into())
    );
    for line in ["config print", "keys new"] {
        let (code, out, err) = program.person(line);
        assert_eq!((code, out.as_str()), (2, ""), "{line}");
        assert!(err.contains(expected), "{line}: {err}");
    }
    assert!(!program.path().join("tiltyard-data").exists());
}

#[test]
fn file_variable_and_flag_override_each_other_in_the_binary() {
    let program = Program::new();
    program.write("own.toml", "[battle]\nrate_hz = 40\n");
    let rate = |command: &mut Command| {
        let out = command.output().expect("the binary runs").stdout;
        let object: Json = serde_json::from_slice(&out).expect("JSON");
        object["settings"]["battle.rate_hz"].clone()
    };
    let line = "--json --config own.toml config print";
    assert_eq!(rate(&mut program.command(line))["source"], "own.toml:2:1");
    let variable = rate(program.command(line).env("TILTYARD_BATTLE_RATE_HZ", "50"));
    assert_eq!(
        (&variable["value"], &variable["source"]),
        (&50.into(), &"environment TILTYARD_BATTLE_RATE_HZ".into())
    );
    let flag = rate(
        program.command(&format!("{line} --set battle.rate_hz=60")).env("TILTYARD_BATTLE_RATE_HZ", "50"),
    );
    assert_eq!((&flag["value"], &flag["source"]), (&60.into(), &"flag --set battle.rate_hz".into()));
}

#[test]
fn keys_are_made_rotated_and_never_shown() {
    let program = Program::new();
    let (code, object) = program.json("keys rotate");
    assert_eq!(code, 1);
    assert!(object["error"].as_str().expect("an error").contains("tiltyard keys new"), "{object}");
    let (code, made) = program.json("keys new");
    assert_eq!((code, &made["kid"], &made["previous_kid"]), (0, &1.into(), &Json::Null));
    let path = program.path().join("tiltyard-data/keys.toml");
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let first = fs::read_to_string(&path).expect("keys");

    let (code, _, err) = program.person("keys new");
    assert_eq!(code, 1);
    assert!(
        err.contains("there are keys already; replace the master key with: tiltyard keys rotate"),
        "{err}"
    );
    assert_eq!(fs::read_to_string(&path).expect("keys"), first);

    let rotated = program.run("--json keys rotate");
    let object: Json = serde_json::from_slice(&rotated.stdout).expect("JSON");
    assert_eq!((&object["kid"], &object["previous_kid"]), (&2.into(), &1.into()));
    let second = fs::read_to_string(&path).expect("keys");
    let shown = String::from_utf8([rotated.stdout, rotated.stderr].concat()).expect("UTF-8");
    let secrets: Vec<_> = second.split('"').filter(|text| text.len() == 43).collect();
    assert_eq!(secrets.len(), 3);
    assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{shown}");
}

#[test]
fn keys_that_everybody_may_read_are_refused_in_one_sentence() {
    let program = Program::new();
    assert_eq!(program.json("keys new --file k.toml").0, 0);
    fs::set_permissions(program.path().join("k.toml"), fs::Permissions::from_mode(0o644))
        .expect("mode is set");
    let (code, out, err) = program.person("keys rotate --file k.toml");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("flag --file: keys.file: k.toml holds secrets"), "{err}");
    assert!(err.contains("chmod 600 k.toml"), "{err}");
}

#[test]
fn a_damaged_keys_file_is_refused_without_its_content() {
    let program = Program::new();
    assert_eq!(program.json("keys new").0, 0);
    let path = program.path().join("tiltyard-data/keys.toml");
    let text = fs::read_to_string(&path).expect("keys");
    let secret = text.split('"').find(|text| text.len() == 43).expect("a secret").to_owned();
    fs::write(&path, text.replacen('"', "", 1)).expect("written");
    let (code, _, err) = program.person("keys rotate");
    assert_eq!(code, 1);
    assert!(err.contains("line 4 is no TOML"), "{err}");
    assert!(!err.contains(&secret));
}

#[test]
fn a_role_alone_says_what_it_needs() {
    let program = Program::new();
    for line in ["gate", "lobby", "battle", "nodes", "drain node-1"] {
        let (code, object) = program.json(line);
        let error = object["error"].as_str().expect("an error");
        assert_eq!(code, 2, "{line}: {error}");
        assert!(
            error.contains("needs a directory that other processes reach: name etcd with --etcd"),
            "{error}"
        );
    }
    let (code, _, error) = program.person("battle --name Node_1");
    assert!(code == 2 && error.contains("cluster.name"), "{error}");
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let program = Program::new();
    let mut child = program
        .command("config print")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let run = child.wait_with_output().expect("it ends");
    assert_eq!(run.status.code(), Some(0));
    assert_eq!(run.stderr, b"");
}

/// Whether a process has handlers for SIGINT and SIGTERM.
fn listens_for_signals(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
    let caught = u64::from_str_radix(caught.trim(), 16).expect("hexadecimal");
    [2, 15].into_iter().all(|signal| caught & 1 << (signal - 1) != 0)
}

#[test]
fn what_computes_for_long_ends_in_order_when_interrupted() {
    let program = Program::new();
    let mut child = program
        .command("--json bench --scene many --seconds 3600")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program");
    let until = Instant::now() + Duration::from_secs(30);
    while !listens_for_signals(child.id()) && Instant::now() < until {
        std::thread::yield_now();
    }
    // Without handlers this ends it too, and without a word.
    interrupt(&child);
    let mut said = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!((wait(&mut child), said.trim()), (Some(1), r#"{"interrupted":true}"#));
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let program = Program::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let output = program.command("config print").stdout(full).output().expect("the program");
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.starts_with("error: writing to standard output: "), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn bots_at_a_house_that_is_not_there_say_where_and_what_to_do() {
    let program = Program::new();
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let (code, out, _) = program.person(&format!("bots --players 2 --gate ws://{closed}"));
    assert_eq!(code, 1);
    assert!(out.starts_with(&format!("no bot got in at ws://{closed}\n")), "{out}");
    assert!(out.contains("refused") && out.trim_end().ends_with("prints its gate"), "{out}");
    assert!(!out.contains("50 %"), "{out}");
}

//! `replay play` and `replay follow` with the real binary: in a terminal, as text, on a recording that is being written.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Cursor, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use tiltyard::bench::Played;
use tiltyard_engine::Game as _;
use tiltyard_engine::screen::{Canvas, Ink};
use tiltyard_engine::skirmish::Skirmish;
use tiltyard_replay::{Ended, Header, Recording, Settings, Writer, encode_picture};

use crate::program::{Program, interrupt, wait};
use crate::terminal::{ENTER_SCREEN, LEAVE_SCREEN, SHOW_CURSOR, Terminal};

/// The seed of the golden battles.
const SEED: u64 = 2026;
const FRAMES: &str = "tests/data/frames.txt";

/// The beginning of the first golden battle.
fn recording() -> Vec<u8> {
    let played = Played::<Skirmish>::of(&Skirmish::modes()[0], SEED, 0, 600).expect("the mode is played");
    played.recording().expect("it is recorded")
}

fn with_recording() -> Program {
    let program = Program::new();
    fs::write(program.path().join("a.replay"), recording()).expect("written");
    program
}

#[test]
fn frames_of_the_golden_battle_are_the_pinned_ones() {
    let program = with_recording();
    let line = "replay play a.replay --size 100x26 --every 200";
    let (code, mut frames, error) = program.person(line);
    assert_eq!(code, 0, "{error}");
    frames.push_str(&program.person("replay play a.replay --ticks 138..138 --follow 7 --size 80x30").1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pinned = fs::read_to_string(root.join(FRAMES)).unwrap_or_default();
    assert!(frames == pinned, "{FRAMES} differs from what is shown:\n{frames}");
    // The page shows the second of them.
    let page = fs::read_to_string(root.join("docs/REPLAY.md")).expect("the page");
    let frame: Vec<_> = pinned.lines().skip_while(|line| !line.starts_with("2:53 left")).take(25).collect();
    let shown: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let shown: Vec<_> = shown.iter().skip_while(|line| !line.starts_with("2:53 left")).take(2).collect();
    assert!(frame.len() == 25 && shown.len() == 2, "{shown:?}");
    for line in frame.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()) {
        assert!(page.contains(&format!("\n    {line}")), "docs/REPLAY.md does not show: {line}");
    }
    // What is shown is the golden battle's own state.
    let (code, object) = program.json(line);
    assert_eq!((code, &object["frames"], &object["tick"]), (0, &4.into(), &600.into()));
    assert_eq!((&object["complete"], &object["diverged_at"]), (&true.into(), &serde_json::Value::Null));
    let golden = fs::read_to_string(root.join("tests/data/golden.txt")).expect("the golden hashes");
    let hash = object["state_hash"].as_str().expect("a hash");
    assert!(golden.lines().any(|line| line == format!("skirmish 600 {hash}")), "{hash}");
}

#[test]
fn questions_that_no_recording_answers_are_refused() {
    let program = with_recording();
    for line in [
        "--from 601",
        "--ticks 601..700",
        "--ticks 9..3",
        "--follow 10",
        "--speed 3",
        "--every 0",
        "--from 1 --ticks 1..2",
        "--size 100",
    ] {
        assert_eq!(program.json(&format!("replay play a.replay {line}")).0, 2, "{line}");
    }
    let (code, object) = program.json("replay play absent.replay");
    assert_eq!(code, 1);
    assert!(object["error"].as_str().is_some_and(|error| error.contains("absent.replay")), "{object}");
}

/// Ninety ticks of a game that is none of ours, with a picture a second or without.
fn foreign(pictures: bool) -> Vec<u8> {
    let recording = Recording::open(Cursor::new(recording())).expect("a recording");
    let header = Header { protocol_hash: [7; 16], ..recording.header().clone() };
    let mut writer = Writer::start(Vec::new(), &header, Settings::new(1, 30)).expect("memory takes it");
    for tick in 1..=90 {
        writer.append(tick, b"what this build cannot read", 0).expect("memory takes it");
        if pictures && tick % 30 == 0 {
            let mut canvas = Canvas::new(80, 18);
            canvas.text(4, 2, &format!("this was tick {tick}"), Ink::Plain);
            writer.snapshot(&encode_picture(&canvas)).expect("memory takes it");
        }
    }
    writer.finish(Ended::Aborted, &[], 0).expect("memory takes it");
    writer.into_sink()
}

#[test]
fn of_another_version_pictures_are_shown_where_there_are_any() {
    let program = Program::new();
    for (name, pictures) in [("pictures.replay", true), ("none.replay", false)] {
        fs::write(program.path().join(name), foreign(pictures)).expect("written");
    }
    for (name, playable) in [("pictures.replay", "snapshots"), ("none.replay", "list")] {
        let (code, object) = program.json(&format!("replay info {name}"));
        assert_eq!((code, &object["playable"]), (0, &playable.into()), "{object}");
        assert_eq!(program.json(&format!("replay verify {name}")).0, 1, "nobody here can vouch for it");
    }
    let (code, frames, error) = program.person("replay play pictures.replay --every 20");
    assert_eq!(code, 0, "{error}");
    let seen: Vec<_> = frames.lines().filter_map(|line| line.strip_prefix("    this was tick ")).collect();
    assert_eq!(seen, ["30", "30", "60", "90"], "{frames}");
    assert!(frames.contains("this one cannot compute the battle"), "{frames}");
    let (code, object) = program.json("replay follow pictures.replay");
    assert_eq!((code, &object["tick"], &object["state_hash"]), (0, &90.into(), &serde_json::Value::Null));
    assert_eq!(program.json("replay play pictures.replay --follow 0").0, 2, "no seat's view was drawn");
    let (code, object) = program.json("replay play none.replay");
    assert!(object["error"].as_str().is_some_and(|error| error.contains("cannot compute")), "{object}");
    assert_eq!(code, 1);
}

#[test]
fn damage_is_named_and_what_lies_before_it_is_shown() {
    let program = Program::new();
    let mut bytes = recording();
    let opened = Recording::open(Cursor::new(&bytes)).expect("a recording");
    let keyframe = opened.keyframes()[0].offset as usize;
    bytes[keyframe - 10] ^= 1;
    fs::write(program.path().join("a.replay"), bytes).expect("written");
    let (code, object) = program.json("replay play a.replay --every 30");
    assert_eq!((code, &object["frames"]), (1, &10.into()), "{object}");
    assert!(object["error"].as_str().is_some_and(|error| error.contains("damaged at offset")), "{object}");
}

#[test]
fn a_viewer_at_the_keys_goes_both_ways_and_gets_the_terminal_back() {
    let program = with_recording();
    let mut terminal = Terminal::open();
    let before = terminal.modes();
    let play = || program.command("replay play a.replay --speed 0.25");
    let mut child = terminal.start(&mut play());
    assert!(terminal.wait_for("¼×  tick ").contains(ENTER_SCREEN));
    assert!(terminal.is_raw());
    for (keys, shown) in [
        ("300g", "tick 300/600"),
        ("\u{1b}[C", "tick 301/600"),
        ("\u{1b}[D", "tick 300/600"),
        (",", "tick 299/600"),
        ("3f", "you are \u{1b}"),
        ("o", "\u{2016} ¼×  tick 299/600"),
        ("e", "tick 600/600"),
        ("p", "#"),
        ("b", "tick 0/600"),
        ("+ ", "\u{25b6} ½×  tick "),
    ] {
        terminal.press(keys);
        terminal.wait_for(shown);
    }
    terminal.press("q");
    let end = terminal.wait_for(LEAVE_SCREEN);
    assert_eq!(wait(&mut child), Some(0));
    assert!(end.contains(SHOW_CURSOR) && terminal.is_as(&before), "{end:?}");

    // By a signal.
    let mut child = terminal.start(&mut play());
    terminal.wait_for("¼×  tick ");
    assert!(terminal.is_raw());
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    terminal.wait_for(LEAVE_SCREEN);
    assert_eq!(wait(&mut child), Some(0));
    assert!(terminal.is_as(&before));
}

#[test]
fn a_viewer_who_follows_may_go_back_and_leaves_by_himself_at_the_end() {
    let program = Program::new();
    let (file, bytes) = (program.path().join("a.replay"), recording());
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("written");
    let mut terminal = Terminal::open();
    let before = terminal.modes();
    let mut child = terminal.start(&mut program.command("replay follow a.replay --speed 16"));
    terminal.wait_for("\u{25cf} 16× tick ");
    terminal.press("90g");
    terminal.wait_for("\u{2016} 16× tick 90/");
    fs::write(&file, &bytes).expect("written");
    terminal.wait_for("tick 90/600");
    terminal.press(" ");
    assert!(terminal.wait_for(LEAVE_SCREEN).contains("tick 600/600"));
    assert_eq!(wait(&mut child), Some(0));
    assert!(terminal.is_as(&before));
}

/// A follower of `a.replay` that prints frames.
struct Follower {
    child: Child,
    frames: BufReader<ChildStdout>,
}

impl Follower {
    fn start(program: &Program, line: &str) -> Self {
        let mut command = program.command(&format!("replay follow a.replay --every 1 --from 0 {line}"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary runs");
        let frames = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, frames }
    }

    /// Waits until a line has this in it.
    fn wait_for(&mut self, what: &str) {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert_ne!(self.frames.read_line(&mut line).expect("text"), 0, "no {what:?}");
        }
    }

    /// What it says until its end, and its exit code.
    fn end(mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.frames.read_to_string(&mut rest).expect("text");
        (rest, wait(&mut self.child))
    }
}

#[test]
fn a_recording_is_followed_piece_by_piece_to_its_end() {
    let program = Program::new();
    let bytes = recording();
    let mut file =
        OpenOptions::new().create(true).append(true).open(program.path().join("a.replay")).expect("a file");
    let opened = Recording::open(Cursor::new(&bytes)).expect("a recording");
    let keyframe = opened.keyframes()[0].offset as usize;
    let mut follower = Follower::start(&program, "");
    // Within the head, within a block, within a keyframe, and the rest: always in the middle of something.
    let (mut written, pieces) =
        (0, [(20, None), (keyframe / 2, Some("tick 120/")), (keyframe + 9, Some("tick 300/"))]);
    for (until, shown) in pieces {
        file.write_all(&bytes[written..until]).expect("written");
        written = until;
        shown.into_iter().for_each(|shown| follower.wait_for(shown));
    }
    file.write_all(&bytes[written..]).expect("written");
    let (rest, code) = follower.end();
    assert_eq!(code, Some(0));
    let ticks: Vec<_> = rest.lines().filter(|line| line.contains(" tick ")).collect();
    assert_eq!(ticks.len(), 300, "every tick is shown once");
    assert!(ticks.last().is_some_and(|line| line.contains("tick 600/600")), "{ticks:?}");
}

#[test]
fn following_ends_when_it_is_asked_to_or_when_nothing_comes() {
    let program = Program::new();
    let bytes = recording();
    fs::write(program.path().join("a.replay"), &bytes[..bytes.len() / 2]).expect("written");
    let mut follower = Follower::start(&program, "");
    follower.wait_for("tick 200/");
    interrupt(&follower.child);
    assert_eq!(follower.end().1, Some(0));
    let (code, object) = program.json("replay follow a.replay --idle 0");
    assert_eq!((code, &object["complete"], &object["frames"]), (0, &false.into(), &1.into()));
    assert_eq!(object["tick"], object["last_tick"]);
    // One that does not begin.
    fs::write(program.path().join("a.replay"), &bytes[..9]).expect("written");
    let (code, object) = program.json("replay follow a.replay --idle 0");
    assert_eq!(code, 1);
    assert!(object["error"].as_str().is_some_and(|error| error.contains("has not begun")), "{object}");
}

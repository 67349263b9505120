//! The program for a game that is not ours, for which nothing in the house was edited: `examples/duel`, and the page
//! that explains it.

use std::fs;
use std::path::Path;

use crate::program::{Program, Up};

// Its own tests run here too.
#[expect(dead_code, reason = "main is the example's")]
#[path = "../../examples/duel/main.rs"]
mod duel;

const PAGE: &str = "docs/your-own-game.md";

/// The duel's program, as processes.
fn program() -> Program {
    Program::of_test("own_game::duel::tests::the_whole_program_is_there")
}

#[test]
fn an_own_game_brings_its_own_modes() {
    let program = program();
    for (text, expected) in [
        ("queue.modes = [\"duel\"]", 0),
        ("queue.modes = []", 0),
        ("queue.modes = [\"skirmish\"]", 2),
        ("", 0),
    ] {
        program.write("tiltyard.toml", text);
        assert_eq!(program.json("config check").0, expected, "{text}");
    }
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).expect("the page is there")
}

/// The code of the page that is said to be of a file of the example, block by block.
fn blocks(page: &str, file: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```rust") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            assert!(line.ends_with(".rs"), "a block that names no file: {}", block[0]);
            if line == format!("```rust {file}") {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

/// The lines that hold something.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.trim().is_empty()).collect()
}

#[test]
fn the_page_shows_the_game_line_by_line_and_its_tests_as_they_are() {
    let page = page();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/duel");
    let file = |name: &str| fs::read_to_string(folder.join(name)).expect("the example is there");
    let game = file("main.rs");
    let head = game.lines().take_while(|line| line.starts_with("//!")).count();
    let shown = blocks(&page, "main.rs").join("\n");
    assert_eq!(lines(&shown), lines(&game)[head..]);
    assert!(game.lines().count() < 150, "the smallest game is no longer small");
    let tests = file("tests.rs");
    let shown = blocks(&page, "tests.rs");
    assert_eq!(shown.len(), 4);
    for block in shown {
        assert!(tests.contains(&block), "not in tests.rs:\n{block}");
    }
}

#[test]
fn the_game_needs_no_more_than_the_page_says() {
    let game = include_str!("../../examples/duel/main.rs");
    for line in game.lines().filter(|line| line.starts_with("use ")) {
        assert!(line.starts_with("use tiltyard_engine::"), "{line}");
    }
    assert!(game.contains("fn main() -> anyhow::Result<()> {\n    tiltyard::run::<Duel>()\n}"));
    let page = page();
    let (_, manifest) = page.split_once("```toml\n").expect("the page shows a manifest");
    let (manifest, _) = manifest.split_once("```").expect("it ends");
    let manifest: toml_edit::DocumentMut = manifest.parse().expect("a manifest");
    let names = |table: &str| -> Vec<String> {
        let table = manifest[table].as_table().expect("a table");
        table.iter().map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(names("dependencies"), ["anyhow", "tiltyard", "tiltyard-engine"]);
    assert_eq!(names("dev-dependencies"), ["tempfile", "tiltyard-client", "tokio"]);
}

#[test]
fn the_page_is_walked_on_real_sockets() {
    let page = page();
    let prefix = "    cargo run --release --example duel -- ";
    let mut commands: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(prefix)).collect();
    let mut take = |start: &str| {
        let index = commands.iter().position(|command| command.starts_with(start));
        commands.remove(index.unwrap_or_else(|| panic!("{PAGE} does not show {start}")))
    };
    let program = program();
    let (code, demo) = program.json(take("demo"));
    assert_eq!((code, &demo["problems"]), (0, &serde_json::json!([])), "{demo}");
    assert_eq!((&demo["players"], &demo["verified"]), (&4.into(), &2.into()), "{demo}");
    let (code, bench) = program.json(take("bench"));
    assert_eq!((code, &bench["scene"]), (0, &"duel".into()), "{bench}");
    let (code, soak) = program.json(take("soak"));
    assert_eq!((code, &soak["desyncs"]), (0, &0.into()), "{soak}");
    assert!(soak["ticks"].as_u64() >= Some(20_000), "{soak}");

    let up = Up::start(&program, take("up"));
    let here = |command: &str| {
        assert!(command.contains("ws://127.0.0.1:7700"), "{command}");
        command.replace("ws://127.0.0.1:7700", up.gate())
    };
    let (code, issued) = program.json(&here(take("token issue")));
    assert_eq!(code, 0, "{issued}");
    let (code, played) = program.json(take("connect"));
    assert_eq!((code, &played["joined"], &played["desyncs"]), (0, &true.into(), &0.into()), "{played}");
    let (code, bots) = program.json(&here(take("bots")));
    assert_eq!((code, &bots["finished"], &bots["desyncs"]), (0, &2.into(), &0.into()), "{bots}");
    assert_eq!(up.interrupt(), (Some(0), String::new()));

    let (code, verdict) = program.json(take("replay verify"));
    let files = verdict["files"].as_array().expect("files");
    assert!(files.len() >= 2 && files.iter().all(|file| file["complete"] == true), "{verdict}");
    assert_eq!(code, 0, "{verdict}");
    // The stock program, which is of another game, does not take them for its own.
    let path = Path::new(program.path()).join(files[0]["path"].as_str().expect("a path"));
    let (code, other) = Program::new().json(&format!("replay verify {}", path.display()));
    let file = &other["files"][0];
    assert_eq!((code, &file["verified"], &file["playable"]), (1, &false.into(), &"list".into()), "{other}");
    let error = file["error"].as_str().expect("a reason");
    assert!(
        error.starts_with("recorded by tiltyard 0.1.0, game duel, mode duel, under protocol "),
        "{error}"
    );
    let (code, listed) = Program::new().json(&format!("replay info {}", path.display()));
    assert_eq!((code, &listed["game"], &listed["playable"]), (0, &"duel".into(), &"list".into()), "{listed}");
    assert!(commands.is_empty(), "{PAGE} shows what nobody runs: {commands:?}");
    // What is left beside the walk runs in this very binary.
    let tests = page.lines().filter(|line| line.starts_with("    cargo test ")).collect::<Vec<_>>();
    assert_eq!(tests, ["    cargo test --example duel"]);
}

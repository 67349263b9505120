//! Who may enter whose room: the manifests against the drawing in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike};

const ROOMS: [&str; 8] = ["api", "battle", "client", "cluster", "engine", "lobby", "netcode", "replay"];
const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest(folder: &str) -> Document<String> {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Document::parse(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every dependency of a manifest, of all kinds and all targets.
fn dependencies(manifest: &Document<String>) -> Vec<(String, Item)> {
    let root = manifest.as_table();
    let targets = root.get("target").and_then(Item::as_table_like);
    let tables = targets.into_iter().flat_map(TableLike::iter).filter_map(|(_, item)| item.as_table_like());
    let places: Vec<&dyn TableLike> = tables.chain([root as &dyn TableLike]).collect();
    let kinds =
        places.iter().flat_map(|place| KINDS.iter().filter_map(|kind| place.get(kind)?.as_table_like()));
    kinds.flat_map(TableLike::iter).map(|(name, item)| (name.to_owned(), item.clone())).collect()
}

fn built_arrows() -> Arrows {
    let arrows_of = |room: &str| {
        let names = dependencies(&manifest(room)).into_iter().map(|(name, _)| name);
        names.filter_map(|name| name.strip_prefix("tiltyard-").map(str::to_owned)).collect()
    };
    ROOMS.into_iter().map(|room| (room.to_owned(), arrows_of(room))).collect()
}

/// Reads lines such as `lobby -> api, cluster` and `api -> nobody` from the drawing.
fn drawn_arrows(text: &str) -> Arrows {
    let arrow = |line: &str| {
        let (room, to) = line.split_once("->")?;
        let room = room.trim();
        ROOMS.contains(&room).then(|| {
            let to = to.split("  ").find(|part| !part.trim().is_empty()).unwrap_or_default();
            let to = to.split(',').map(str::trim).filter(|name| *name != "nobody");
            (room.to_owned(), to.map(str::to_owned).collect())
        })
    };
    text.lines().filter_map(arrow).collect()
}

fn drawing() -> Arrows {
    drawn_arrows(&fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there"))
}

#[test]
fn the_drawing_shows_every_room() {
    assert_eq!(drawing().into_keys().collect::<Vec<_>>(), ROOMS);
    let read = drawn_arrows("lobby   -> api, cluster   (features: redis)\napi -> nobody\nelse -> api\n");
    let expected = [("api", vec![]), ("lobby", vec!["api", "cluster"])];
    let expected = expected.map(|(room, to)| (room.to_owned(), to.into_iter().map(str::to_owned).collect()));
    assert_eq!(read, Arrows::from(expected));
}

#[test]
fn no_room_enters_another_one_than_drawn() {
    let drawing = drawing();
    for (room, built) in built_arrows() {
        let extra: Vec<_> = built.difference(&drawing[&room]).collect();
        assert!(extra.is_empty(), "{room} depends on {extra:?}, which ARCHITECTURE.md does not draw");
    }
}

#[test]
fn every_drawn_arrow_is_walked() {
    let built = built_arrows();
    for (room, drawn) in drawing() {
        let unused: Vec<_> = drawn.difference(&built[&room]).collect();
        assert!(unused.is_empty(), "ARCHITECTURE.md draws {room} -> {unused:?}, which no manifest has");
    }
}

#[test]
fn engine_netcode_and_api_know_nobody() {
    let arrows = built_arrows();
    for room in ["engine", "netcode", "api"] {
        assert_eq!(arrows[room], BTreeSet::new(), "{room}");
    }
}

#[test]
fn the_drawing_has_no_circle() {
    let mut left = drawing();
    while !left.is_empty() {
        let names: BTreeSet<String> = left.keys().cloned().collect();
        let before = left.len();
        left.retain(|_, to| to.iter().any(|name| names.contains(name)));
        assert!(left.len() < before, "a circle among {names:?}");
    }
}

#[test]
fn versions_stand_in_the_workspace_manifest_alone() {
    for folder in ROOMS.into_iter().chain([""]) {
        for (name, item) in dependencies(&manifest(folder)) {
            let table =
                item.as_table_like().unwrap_or_else(|| panic!("{folder}: {name} has a version of its own"));
            let inherited = table.get("workspace").and_then(Item::as_bool) == Some(true);
            assert!(inherited, "{folder}: {name} does not come from the workspace");
        }
    }
}

#[test]
fn every_room_keeps_the_house_rules() {
    for folder in ROOMS.into_iter().chain([""]) {
        let manifest = manifest(folder);
        let flag = |table: &str, name: &str| manifest.as_table().get(table)?.get(name)?.as_bool();
        assert_eq!(flag("lints", "workspace"), Some(true), "{folder}: lints");
        assert_eq!(flag("lib", "bench"), Some(false), "{folder}: bench");
    }
    let members = manifest("");
    let members = members.as_table()["workspace"]["members"].as_array().expect("a list").iter();
    let members: BTreeSet<_> = members.filter_map(|member| member.as_str()).collect();
    assert_eq!(members, BTreeSet::from(ROOMS));
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines of code, not of comments, that name one of the words; the module `except` is left out.
fn lines_with(room: &str, except: Option<&str>, words: &[&str]) -> Vec<String> {
    let folder = root().join(room).join("src");
    let left_out = |file: &Path| except.is_some_and(|module| file.starts_with(folder.join(module)));
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !left_out(file)) {
        let text = fs::read_to_string(file).expect("a source file");
        for (index, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{}:{}: {}", file.display(), index + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn netcode_has_clock_sockets_and_tasks_in_its_shell_alone() {
    let words = [
        "tokio::",
        "UdpSocket",
        "TcpStream",
        "Instant::now",
        "SystemTime::now",
        "thread::spawn",
        "thread::sleep",
    ];
    let found = lines_with("netcode", Some("shell"), &words);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn engine_has_no_clock_socket_thread_or_file() {
    let words = ["std::net", "std::fs", "std::thread", "std::time", "tokio", "tracing::"];
    let found = lines_with("engine", None, &words);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn engine_and_netcode_forbid_unsafe_code() {
    for room in ["engine", "netcode"] {
        let face = fs::read_to_string(root().join(room).join("src/lib.rs")).expect("a crate has a face");
        assert!(face.contains("#![forbid(unsafe_code)]"), "{room}");
    }
}

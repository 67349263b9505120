//! The table of bad inputs in docs/netcode.md against the tests that there are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How many kinds of bad input the table has.
const KINDS: u32 = 40;

/// Adds the tests of a folder whose names begin with the number of a bad input, by that number.
fn collect(folder: &Path, tests: &mut BTreeMap<u32, Vec<String>>) {
    for entry in fs::read_dir(folder).expect("a folder of ours") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let mut lines = text.lines().map(str::trim);
            while let Some(line) = lines.next() {
                let name = match line {
                    "#[test]" => lines.next().and_then(|line| line.strip_prefix("fn b")),
                    _ => None,
                };
                let name = name.and_then(|name| name.split_once('('));
                let number = name.and_then(|(name, _)| name.split_once('_')?.0.parse().ok());
                if let (Some((name, _)), Some(number)) = (name, number) {
                    tests.entry(number).or_default().push(format!("b{name}"));
                }
            }
        }
    }
}

#[test]
fn every_bad_input_of_the_table_has_its_tests_and_the_table_names_them_all() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeMap::new();
    for folder in ["netcode/src", "battle/src", "battle/tests"] {
        collect(&root.join(folder), &mut tests);
    }
    let page = fs::read_to_string(root.join("docs/netcode.md")).expect("the page is there");
    let mut named = BTreeMap::new();
    for row in page.lines().filter_map(|line| line.strip_prefix("| B")) {
        let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
        let [number, what, names] = cells[..] else { panic!("{row}") };
        assert!(!what.is_empty());
        let names: Vec<_> = names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
        assert_eq!(named.insert(number.parse::<u32>().expect("a number"), names), None, "B{number} twice");
    }
    assert!(named.keys().copied().eq(1..=KINDS), "{:?}", named.keys());
    for (number, names) in &named {
        let mut there = tests.remove(number).unwrap_or_default();
        there.sort();
        assert_eq!(&there, names, "B{number}");
    }
    assert!(tests.is_empty(), "in no table: {tests:?}");
}

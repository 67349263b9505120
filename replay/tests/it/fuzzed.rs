//! What the fuzzer kept: every file of its corpus still reads without a panic and without a contradiction.

use std::path::Path;

#[path = "../../fuzz/src/check.rs"]
mod check;

#[test]
fn the_corpus_of_the_fuzzer_is_read_without_a_contradiction() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut files = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is there") {
        let path = entry.expect("a file").path();
        let bytes = std::fs::read(&path).expect("it can be read");
        if std::panic::catch_unwind(|| check::check(&bytes)).is_err() {
            panic!("{}", path.display());
        }
        files += 1;
    }
    assert!(files >= 4, "{files}");
}

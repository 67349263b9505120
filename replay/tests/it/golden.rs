//! The format stands still: a file of each version as it was first written.

use tiltyard_replay::{Header, OnDamage, Reader};

use crate::sample::{header, read, recording};

const V1: &[u8] = include_bytes!("../data/v1.tyr");
const V2: &[u8] = include_bytes!("../data/v2.tyr");

#[test]
fn file_of_version_1_is_read_as_ever_and_names_no_game() {
    let found = read(V1, OnDamage::Stop).expect("a header");
    assert!(found.complete);
    let now = read(&recording(), OnDamage::Stop).expect("a header");
    assert_eq!((found.ticks, found.hashes), (now.ticks, now.hashes));
    let nameless = Header { game: String::new(), mode: String::new(), ..header() };
    assert_eq!(Reader::open(V1, OnDamage::Stop).expect("a header").header(), &nameless);
}

#[test]
fn file_of_version_2_is_read_and_written_as_ever() {
    let found = read(V2, OnDamage::Stop).expect("a header");
    assert!(found.complete);
    assert_eq!(found, read(&recording(), OnDamage::Stop).expect("a header"));
    assert!(V2 == recording(), "the writer's bytes changed: raise the version, or say why they may");
}

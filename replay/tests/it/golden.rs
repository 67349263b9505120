//! The format stands still: a file of version 1 as it was first written.

use tiltyard_replay::OnDamage;

use crate::sample::{read, recording};

const V1: &[u8] = include_bytes!("../data/v1.tyr");

#[test]
fn file_of_version_1_is_read_and_written_as_ever() {
    let found = read(V1, OnDamage::Stop).expect("a header");
    assert!(found.complete);
    assert_eq!(found, read(&recording(), OnDamage::Stop).expect("a header"));
    assert!(V1 == recording(), "the writer's bytes changed: raise the version, or say why they may");
}

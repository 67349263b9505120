//! Files that broke: torn tails, flipped bytes, lost middles.

use std::io::Cursor;

use tiltyard_replay::{HeaderError, Kind, OnDamage, ReadError, Recording, Summary};

use crate::sample::{TICKS, blocks, hash, header, read, record, recording};

#[test]
fn what_was_written_is_read() {
    let found = read(&recording(), OnDamage::Stop).expect("a header");
    assert_eq!(found.ticks, (1..=TICKS).map(|tick| (tick, record(tick))).collect::<Vec<_>>());
    assert_eq!(found.hashes, (1..=TICKS).map(|tick| (tick, hash(tick))).collect::<Vec<_>>());
    assert_eq!(found.keyframes, [30, 60, 90]);
    assert_eq!(found.events, (TICKS / 4) as usize);
    assert!(found.complete);
    assert_eq!((found.cut_bytes, found.error), (0, None));
}

#[test]
fn recording_torn_at_any_byte_plays_to_its_last_whole_block() {
    let bytes = recording();
    let blocks = blocks(&bytes);
    let head = blocks[0].0;
    for cut in 0..bytes.len() {
        let torn = &bytes[..cut];
        if cut < head {
            let error = ReadError::Header(HeaderError::Torn);
            assert_eq!(read(torn, OnDamage::Stop), Err(error), "cut at {cut}");
            continue;
        }
        let found = read(torn, OnDamage::Stop).expect("a header");
        let ends = blocks.iter().map(|(at, header)| (at + header.block_bytes() as usize, header));
        let whole: Vec<_> = ends.filter(|(end, _)| *end <= cut).collect();
        let whole_bytes = whole.last().map_or(head, |(end, _)| *end);
        let ticks: u32 = whole.iter().filter(|(_, header)| header.kind == 1).map(|(_, b)| b.tick_count).sum();
        assert_eq!(found.cut_bytes, (cut - whole_bytes) as u64, "cut at {cut}");
        assert_eq!(found.ticks.len(), ticks as usize, "cut at {cut}");
        assert_eq!((found.complete, found.error), (false, None), "cut at {cut}");
        // The other ways in agree.
        let opened = Recording::open(Cursor::new(torn)).expect("a header");
        assert_eq!(opened.keyframes().len(), found.keyframes.len(), "cut at {cut}");
        assert!(!opened.is_complete());
    }
}

#[test]
fn every_flipped_byte_is_found_and_named() {
    let bytes = recording();
    let head = blocks(&bytes)[0].0;
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            match read(&damaged, OnDamage::Stop) {
                Err(ReadError::Header(_)) => assert!(at < head, "byte {at}"),
                Err(error) => panic!("byte {at}: {error}"),
                Ok(found) => {
                    assert!(at >= head, "byte {at}: the header is covered");
                    assert!(!found.complete, "byte {at} ^ {flip}");
                    let named = match found.error {
                        Some(ReadError::Damaged { offset, next }) => {
                            offset <= at as u64 && (at as u64) < next
                        }
                        None => found.cut_bytes >= (bytes.len() - at) as u64,
                        Some(_) => false,
                    };
                    assert!(named, "byte {at} ^ {flip}: {:?}, {} cut", found.error, found.cut_bytes);
                }
            }
        }
    }
}

#[test]
fn damage_in_the_middle_is_named_and_skipped_to_the_next_keyframe_when_asked() {
    let mut damaged = recording();
    let blocks = blocks(&damaged);
    let of_kind = |kind: Kind, tick: u32| {
        let found = blocks.iter().find(|(_, header)| header.kind == kind as u8 && header.first_tick >= tick);
        found.expect("the sample has one").0
    };
    let victim = of_kind(Kind::TickRecords, 11);
    damaged[victim + 40] ^= 4;
    let stopped = read(&damaged, OnDamage::Stop).expect("a header");
    let next = blocks.iter().map(|(at, _)| *at).find(|at| *at > victim).expect("a block behind it");
    let error = ReadError::Damaged { offset: victim as u64, next: next as u64 };
    assert_eq!(stopped.error, Some(error));
    assert_eq!(stopped.ticks.len(), 10);

    let skipped = read(&damaged, OnDamage::NextKeyframe).expect("a header");
    assert_eq!(skipped.gaps, [(victim as u64, of_kind(Kind::Keyframe, 30) as u64)]);
    let ticks: Vec<_> = skipped.ticks.iter().map(|(tick, _)| *tick).collect();
    assert_eq!(ticks, (1..=10).chain(31..=TICKS).collect::<Vec<_>>());
    assert_eq!((skipped.error, skipped.cut_bytes), (None, 0));

    let summary = Summary::read(&damaged[..]).expect("a header");
    assert_eq!(summary.gaps.len(), 1);
    assert!(!summary.complete);
}

#[test]
fn lost_middle_is_named() {
    let bytes = recording();
    let blocks = blocks(&bytes);
    // A whole block is missing: everything that is left holds, but not together.
    let (at, gone) =
        blocks.iter().find(|(_, header)| header.kind == 1 && header.first_tick == 21).expect("it");
    let lost = [&bytes[..*at], &bytes[at + gone.block_bytes() as usize..]].concat();
    let found = read(&lost, OnDamage::Stop).expect("a header");
    assert!(
        matches!(found.error, Some(ReadError::Order { offset, .. }) if offset >= *at as u64),
        "{:?}",
        found.error
    );
}

#[test]
fn zeros_after_a_loss_of_power_are_a_torn_tail() {
    let mut bytes = recording();
    let at = blocks(&bytes).iter().map(|(at, _)| *at).nth(12).expect("a block");
    let length = bytes.len();
    bytes[at + 10..].fill(0);
    let found = read(&bytes, OnDamage::Stop).expect("a header");
    assert_eq!((found.error, found.cut_bytes), (None, (length - at) as u64));
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut bytes = recording();
    let offset = bytes.len() as u64;
    bytes.push(0);
    let found = read(&bytes, OnDamage::Stop).expect("a header");
    assert_eq!(found.error, Some(ReadError::AfterEnd { offset }));
}

#[test]
fn summary_tells_what_the_file_holds() {
    let bytes = recording();
    let summary = Summary::read(&bytes[..]).expect("a header");
    assert_eq!(summary.header, header());
    assert_eq!((summary.ticks, summary.hashes), (90, 90));
    assert_eq!(summary.tick_range, Some((1, 90)));
    assert_eq!(summary.keyframes, [30, 60, 90]);
    assert_eq!(summary.epochs, Some((3, 3)));
    assert_eq!(summary.outcome, b"red wins");
    assert_eq!(summary.final_hash, Some(hash(90)));
    assert!(summary.complete);
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(summary.recording_hash, *blake3::hash(&bytes).as_bytes());
    assert_eq!(summary.block_bytes.iter().sum::<u64>(), (bytes.len() - blocks(&bytes)[0].0) as u64);
}

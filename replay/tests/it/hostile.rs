//! Files that were made so: right checksums, wrong content.

use std::io::{Cursor, Read};

use tiltyard_replay::{
    BlockHeader, BlockHeaderError, Kind, Label, OnDamage, ReadError, Reader, Recording, SEARCH_BYTES_MAX,
    Settings, Summary, UnpackError, Writer, put_block, put_raw_block,
};

use crate::sample::{Dice, append, blocks, header, read, recording, runs};

/// The sample with one block replaced, or taken out, or put before.
fn with_block(place: usize, replace: bool, label: Label, payload: &[u8]) -> Vec<u8> {
    let bytes = recording();
    let blocks = blocks(&bytes);
    let (at, old) = blocks[place];
    let after = if replace { at + old.block_bytes() as usize } else { at };
    let mut made = bytes[..at].to_vec();
    put_raw_block(&mut made, label, payload);
    made.extend_from_slice(&bytes[after..]);
    made
}

fn label(kind: Kind, first_tick: u32, tick_count: u32) -> Label {
    Label { kind, epoch: 3, first_tick, tick_count }
}

/// A block's bytes with a header changed under a right checksum.
fn forged(change: impl FnOnce(&mut BlockHeader), stored: &[u8]) -> Vec<u8> {
    let mut bytes = header().to_bytes().expect("within bounds");
    let mut header = BlockHeader {
        kind: Kind::TickRecords as u8,
        codec: 1,
        version: 1,
        epoch: 3,
        first_tick: 1,
        tick_count: 1,
        raw_bytes: stored.len() as u32,
        stored_bytes: stored.len() as u32,
        payload_crc: crc32fast::hash(stored),
    };
    change(&mut header);
    bytes.extend_from_slice(&header.to_bytes());
    bytes.extend_from_slice(stored);
    bytes
}

#[test]
fn zip_bombs_are_refused_before_they_unpack() {
    // 16 MiB of zeros pack to 64 KiB: 256-fold, above the ratio.
    let bomb = lz4_flex::block::compress(&vec![0; 16 << 20]);
    let bytes = forged(|header| header.raw_bytes = 16 << 20, &bomb);
    let found = read(&bytes, OnDamage::Stop).expect("a header");
    let error = found.error.expect("refused");
    assert!(
        matches!(error, ReadError::Block { error: BlockHeaderError::Limit { what: "raw length", .. }, .. }),
        "{error}"
    );
    // A smaller claim passes the header, and then the bytes do not unpack to it.
    let bytes = forged(|header| header.raw_bytes = 64 * bomb.len() as u32, &bomb);
    let found = read(&bytes, OnDamage::Stop).expect("a header");
    assert!(matches!(found.error, Some(ReadError::Unpack { error: UnpackError::Length, .. })));
}

#[test]
fn claimed_lengths_allocate_nothing() {
    // The longest allowed claim over an empty file is a torn tail, not 16 MiB of memory.
    let bytes = forged(|header| header.stored_bytes = 16 << 20, &[1, 2, 3]);
    let found = read(&bytes, OnDamage::Stop).expect("a header");
    assert_eq!((found.error, found.cut_bytes), (None, 36 + 3));
    let bytes = forged(|header| header.stored_bytes = u32::MAX, &[1, 2, 3]);
    let found = read(&bytes, OnDamage::Stop).expect("a header");
    assert!(matches!(found.error, Some(ReadError::Block { .. })));
}

#[test]
fn a_length_beyond_the_end_is_a_torn_tail_only_where_no_block_follows() {
    let whole = recording();
    let blocks = blocks(&whole);
    for (place, (at, header)) in blocks.iter().enumerate() {
        let left = whole.len() - at;
        for claimed in [left - 35, left, 16 << 20] {
            let mut made = whole.clone();
            let forged = BlockHeader { stored_bytes: claimed as u32, raw_bytes: claimed as u32, ..*header };
            made[*at..*at + 36].copy_from_slice(&forged.to_bytes());
            let found = read(&made, OnDamage::Stop).expect("a header");
            let damaged = blocks
                .get(place + 1)
                .map(|(next, _)| ReadError::Damaged { offset: *at as u64, next: *next as u64 });
            let cut_bytes = if damaged.is_none() { left as u64 } else { 0 };
            assert_eq!(
                (found.error, found.cut_bytes),
                (damaged, cut_bytes),
                "block {place} claims {claimed}"
            );
            assert!(!found.complete);
        }
    }
    // What lies behind can be read when asked.
    let (at, header) = blocks[3];
    let mut made = whole;
    made[at..at + 36].copy_from_slice(&BlockHeader { stored_bytes: 16 << 20, ..header }.to_bytes());
    let found = read(&made, OnDamage::NextKeyframe).expect("a header");
    assert_eq!(
        (found.error, found.gaps.len(), found.ticks.last().map(|(tick, _)| *tick)),
        (None, 1, Some(90))
    );
}

#[test]
fn later_versions_and_codecs_are_refused_by_name_and_later_kinds_skipped() {
    let refused =
        |change: fn(&mut BlockHeader)| read(&forged(change, &[0]), OnDamage::Stop).expect("a header").error;
    assert!(matches!(refused(|header| header.version = 2), Some(ReadError::Version { found: 2, .. })));
    let codec = refused(|header| header.codec = 9);
    assert!(matches!(codec, Some(ReadError::Unpack { error: UnpackError::Codec { codec: 9 }, .. })));
    let found = read(&forged(|header| header.kind = 200, &[0]), OnDamage::Stop).expect("a header");
    assert_eq!((found.unknown, found.error, found.cut_bytes), (1, None, 0));
}

#[test]
fn counts_and_order_are_held_to() {
    let bytes = recording();
    let count = blocks(&bytes).len();
    let (index, end) = (count - 2, count - 1);
    let check = |made: Vec<u8>, expected: &str| {
        let error = read(&made, OnDamage::Stop).expect("a header").error.expect("refused").to_string();
        assert!(error.contains(expected), "{error:?} instead of {expected:?}");
        // Opening by the index trusts nothing either.
        let _ = Recording::open(Cursor::new(&made)).expect("a header");
    };
    check(with_block(1, true, label(Kind::TickRecords, 1, 10), &[0; 9]), "malformed");
    check(with_block(1, true, label(Kind::TickRecords, 1, 10), &[0; 11]), "malformed");
    check(with_block(1, true, label(Kind::TickRecords, 2, 9), &[0; 9]), "first tick of the records");
    check(with_block(0, true, label(Kind::StateHashes, 1, 11), &[0; 88]), "tick after the records");
    check(with_block(0, true, label(Kind::StateHashes, 1, 10), &[0; 81]), "malformed");
    check(with_block(2, false, label(Kind::Keyframe, 11, 0), &[0]), "tick of the keyframe");
    check(with_block(2, false, label(Kind::Keyframe, 10, 1), &[0]), "malformed");
    check(with_block(2, false, Label { epoch: 2, ..label(Kind::Keyframe, 10, 0) }, &[0]), "epoch");
    check(
        with_block(2, false, Label { epoch: 4, ..label(Kind::TickRecords, 11, 1) }, &[0]),
        "without a keyframe",
    );
    check(with_block(index, true, label(Kind::Index, 90, 0), &[]), "other keyframes");
    check(with_block(index, true, label(Kind::Index, 90, 0), &[0xff; 16]), "malformed");
    check(with_block(index, true, label(Kind::Index, 90, 0), &[0; 15]), "malformed");
    check(with_block(end, true, label(Kind::End, 90, 0), &[0; 64]), "malformed");
}

#[test]
fn index_that_points_elsewhere_is_refused_where_it_leads() {
    let bytes = recording();
    let blocks = blocks(&bytes);
    let (index_at, _) = blocks[blocks.len() - 2];
    let (elsewhere, _) = blocks[0];
    // Rewrite index and end as a forger would: entries that rise, all checksums right.
    let mut row = (elsewhere as u64).to_le_bytes().to_vec();
    row.extend_from_slice(&30_u32.to_le_bytes());
    row.extend_from_slice(&[Kind::Keyframe as u8, 0, 0, 0]);
    let mut made = bytes[..index_at].to_vec();
    put_block(&mut made, label(Kind::Index, 90, 0), &row, &mut Vec::new());
    let end_offset = made.len() as u64;
    let mut end = Vec::new();
    end.extend_from_slice(&crate::sample::hash(90).to_le_bytes());
    end.extend_from_slice(&[0; 8]);
    end.extend_from_slice(blake3::hash(&made).as_bytes());
    end.extend_from_slice(&(index_at as u64).to_le_bytes());
    end.extend_from_slice(&end_offset.to_le_bytes());
    put_raw_block(&mut made, label(Kind::End, 90, 0), &end);
    let mut opened = Recording::open(Cursor::new(&made)).expect("a header");
    let entry = opened.keyframe_before(90).expect("the forged one");
    let mut reader = opened.read_from(entry).expect("in memory");
    assert!(matches!(reader.next_item(), Err(ReadError::Order { .. })), "hashes stand there, no keyframe");
    let read = read(&made, OnDamage::Stop).expect("a header");
    assert!(matches!(read.error, Some(ReadError::Contradiction { .. })));
}

#[test]
fn higher_epoch_takes_over_in_the_middle() {
    let mut first = Writer::start(Vec::new(), &header(), Settings::new(3, 10)).expect("a good sink");
    append(&mut first, 1..=50);
    first.flush().expect("a good sink");
    let later = tiltyard_replay::Header { part: 1, ..header() };
    let head = later.to_bytes().expect("within bounds").len();
    let mut second = Writer::start(Vec::new(), &later, Settings::new(4, 10)).expect("a good sink");
    second.keyframe(40, &[1]).expect("any tick begins a part");
    append(&mut second, 41..=60);
    second.flush().expect("a good sink");
    let both = [first.into_sink(), second.into_sink().split_off(head)].concat();
    let found = read(&both, OnDamage::Stop).expect("a header");
    assert_eq!((found.error, found.cut_bytes), (None, 0));
    let ticks: Vec<_> = found.ticks.iter().map(|(tick, _)| *tick).collect();
    assert_eq!(ticks, (1..=50).chain(41..=60).collect::<Vec<_>>());
    let opened = Recording::open(Cursor::new(&both)).expect("a header");
    assert_eq!(
        opened.keyframe_before(50).map(|entry| entry.tick),
        Some(40),
        "what the takeover played counts"
    );
}

#[test]
fn random_and_mutated_bytes_never_panic() {
    let mut dice = Dice::new("random_and_mutated_bytes_never_panic");
    let good = recording();
    let blocks = blocks(&good);
    for round in 0..runs(3000) {
        let mut bytes = good.clone();
        match round % 4 {
            0 => bytes = (0..dice.below(2000)).map(|_| dice.next() as u8).collect(),
            1 => {
                for _ in 0..=dice.below(8) {
                    let at = dice.below(bytes.len());
                    bytes[at] = dice.next() as u8;
                }
            }
            2 => {
                // A block's payload and numbers changed under right checksums.
                let (at, mut header) = blocks[dice.below(blocks.len())];
                let from = at + 36;
                let until = at + header.block_bytes() as usize;
                if until > from {
                    let hit = from + dice.below(until - from);
                    bytes[hit] = dice.next() as u8;
                }
                match dice.below(6) {
                    0 => header.first_tick = dice.next() as u32,
                    1 => header.tick_count = dice.next() as u32 % 5000,
                    2 => header.raw_bytes = dice.next() as u32 % 20_000,
                    3 => header.kind = dice.next() as u8 % 9,
                    4 => header.codec ^= 1,
                    _ => {}
                }
                header.payload_crc = crc32fast::hash(&bytes[from..until]);
                bytes[at..from].copy_from_slice(&header.to_bytes());
            }
            _ => {
                let (from, until) = (dice.below(bytes.len()), dice.below(bytes.len()));
                bytes.drain(from.min(until)..from.max(until));
            }
        }
        for on_damage in [OnDamage::Stop, OnDamage::NextKeyframe] {
            let _ = read(&bytes, on_damage);
        }
        let _ = Summary::read(&bytes[..]);
        if let Ok(mut opened) = Recording::open(Cursor::new(&bytes)) {
            for entry in opened.keyframes().to_vec() {
                let mut reader = opened.read_from(entry).expect("in memory");
                while let Ok(Some(_)) = reader.next_item() {}
            }
        }
    }
}

/// Counts what is read of endless zeros behind a valid head.
struct Zeros {
    head: Cursor<Vec<u8>>,
    left: u64,
    read: u64,
}

impl Read for Zeros {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.head.read(out)?;
        if read > 0 {
            return Ok(read);
        }
        let count = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        out[..count].fill(0);
        self.left -= count as u64;
        self.read += count as u64;
        Ok(count)
    }
}

#[test]
fn gigabytes_of_zeros_are_refused_after_bounded_work() {
    let zeros =
        |left| Zeros { head: Cursor::new(header().to_bytes().expect("within bounds")), left, read: 0 };
    for on_damage in [OnDamage::Stop, OnDamage::NextKeyframe] {
        let mut source = zeros(4 << 30);
        let mut reader = Reader::open(&mut source, on_damage).expect("a head");
        let error = reader.next_item().expect_err("no block");
        assert!(matches!(error, ReadError::SearchLimit { .. }), "{error}");
        drop(reader);
        assert!(source.read < SEARCH_BYTES_MAX + (1 << 20), "{} bytes", source.read);
    }
    let mut reader = Reader::open(zeros(1 << 20), OnDamage::Stop).expect("a head");
    assert!(matches!(reader.next_item(), Ok(None)), "a torn tail");
    assert_eq!(reader.cut_bytes(), 1 << 20);
}

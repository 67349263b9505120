//! What must hold for every input: whatever the bytes are, reading them ends, without a panic, and two ways of reading
//! the same file do not contradict each other.
//!
//! The fuzzer runs this on what it makes up, and an ordinary test on what it kept of that.

use std::io::Cursor;

use tiltyard_replay::{
    BLOCK_HEADER_BYTES, Content, FIXED_BYTES, Item, OnDamage, Reader, Recording, Statement, Stills, Summary,
    cut,
};

/// Reads the bytes in all ways. The first of them says whether checksums are made right first: what is behind them
/// would never be reached otherwise.
pub(crate) fn check(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 == 1 {
        mend(&mut bytes);
    }
    let _ = Statement::open(&bytes);
    let strict = walk(&bytes, OnDamage::Stop);
    let lenient = walk(&bytes, OnDamage::NextKeyframe);
    assert!(strict.is_none_or(|ticks| lenient.is_some_and(|more| more >= ticks)));
    if let Ok(summary) = Summary::read(&bytes[..]) {
        assert!(summary.bytes <= bytes.len() as u64);
        assert!(!summary.complete || summary.gaps.is_empty() && summary.cut_bytes == 0);
        assert_eq!(Some(summary.ticks), lenient);
    }
    if let Ok(mut stills) = Stills::open(Cursor::new(&bytes)) {
        let ticks: Vec<_> = stills.ticks().collect();
        assert!(ticks.is_sorted());
        for tick in ticks {
            if let Ok(found) = stills.picture(tick) {
                assert_eq!(found.map(|(of, _)| of), Some(tick));
            }
        }
    }
    let Ok(mut recording) = Recording::open(Cursor::new(&bytes)) else { return };
    let last = recording.last_tick();
    for keyframe in recording.keyframes().to_vec() {
        let mut reader = recording.read_from(keyframe).expect("memory can be read");
        while let Ok(Some(_)) = reader.next_item() {}
    }
    let _ = recording.hash_of(last);
    if let Ok((part, copied)) = cut(Cursor::new(&bytes), last / 2, last, Vec::new()) {
        let summary = Summary::read(&copied[..]).expect("a cut has a head");
        assert!(summary.complete && summary.error.is_none(), "{summary:?}");
        assert_eq!(summary.recording_hash, part.sealed.recording_hash);
    }
}

/// Reads to the end and gives the number of ticks; nothing if there is no head.
fn walk(bytes: &[u8], on_damage: OnDamage) -> Option<u64> {
    let mut reader = Reader::open(bytes, on_damage).ok()?;
    let (mut ticks, mut offset) = (0, 0);
    while let Ok(Some(item)) = reader.next_item() {
        let Item::Block(block) = item else { continue };
        assert!(block.offset >= offset && block.offset < bytes.len() as u64);
        offset = block.offset;
        match block.content {
            Content::TickRecords(records) => {
                assert_eq!(records.iter().count() as u64, u64::from(records.count()));
                ticks += u64::from(records.count());
            }
            Content::StateHashes(hashes) => {
                assert_eq!(hashes.iter().count() as u64, u64::from(block.header.tick_count));
                assert!(hashes.marks().all(|(_, parts)| parts.len() <= tiltyard_replay::PARTS_MAX));
            }
            Content::Events(events) => drop(events.iter().count()),
            _ => {}
        }
    }
    Some(ticks)
}

/// Makes the checksums of the head and of a chain of blocks right, and every place of a block that of one.
fn mend(bytes: &mut [u8]) {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return };
    let length = u32::from_le_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]) as usize;
    let Some(covered) = length.checked_sub(4).filter(|_| length <= bytes.len()) else { return };
    let crc = crc32fast::hash(&bytes[..covered]);
    bytes[covered..length].copy_from_slice(&crc.to_le_bytes());
    let mut at = length;
    while let Some(header) = bytes.get(at..at + BLOCK_HEADER_BYTES) {
        let stored = u32::from_le_bytes([header[24], header[25], header[26], header[27]]) as usize;
        let payload = at + BLOCK_HEADER_BYTES;
        let Some(end) = payload.checked_add(stored).filter(|end| *end <= bytes.len()) else { return };
        let crc = crc32fast::hash(&bytes[payload..end]);
        bytes[at + 28..at + 32].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[at..at + 32]);
        bytes[at + 32..payload].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
}

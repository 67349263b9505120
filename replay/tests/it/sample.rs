//! A small recording of opaque bytes, and what a reader makes of one.

use tiltyard_replay::{
    BLOCK_HEADER_BYTES, BlockHeader, Content, Ended, Header, Item, OnDamage, ReadError, Reader, Settings,
    Writer,
};

pub(crate) const TICKS: u32 = 90;

pub(crate) fn header() -> Header {
    Header {
        rate_hz: 10,
        protocol_hash: [7; 16],
        game: "joust".to_owned(),
        mode: "tilt".to_owned(),
        battle: 5,
        seed: 11,
        start_unix_ms: 1_700_000_000_000,
        part: 0,
        build: "test".to_owned(),
        seat_names: vec!["Ada".to_owned(), "Grace".to_owned()],
        spec: b"spec".to_vec(),
    }
}

pub(crate) fn record(tick: u32) -> Vec<u8> {
    (0..tick % 7).map(|byte| (tick * 31 + byte) as u8).collect()
}

pub(crate) fn hash(tick: u32) -> u64 {
    u64::from(tick).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub(crate) fn keyframe(tick: u32) -> Vec<u8> {
    (0..300_u32).map(|byte| (byte / 7 + tick) as u8).collect()
}

/// Appends ticks, with keyframes every 30, events, hash parts and snapshots here and there.
pub(crate) fn append<W: std::io::Write>(writer: &mut Writer<W>, ticks: std::ops::RangeInclusive<u32>) {
    for tick in ticks {
        writer.append(tick, &record(tick), hash(tick)).expect("a good sink");
        if tick % 4 == 0 {
            writer.event(&[tick as u8; 3]).expect("a good sink");
        }
        if tick % 10 == 0 {
            writer.hash_parts(&[hash(tick), 1, 2]).expect("a good sink");
        }
        if tick % 30 == 0 {
            writer.keyframe(tick, &keyframe(tick)).expect("a good sink");
        }
        if tick % 45 == 0 {
            writer.snapshot(b"what a view saw").expect("a good sink");
        }
    }
}

pub(crate) fn recording() -> Vec<u8> {
    let mut writer = Writer::start(Vec::new(), &header(), Settings::new(3, 10)).expect("a good sink");
    append(&mut writer, 1..=TICKS);
    writer.finish(Ended::Finished, b"red wins", hash(TICKS)).expect("a good sink");
    writer.into_sink()
}

/// What a reader makes of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) ticks: Vec<(u32, Vec<u8>)>,
    pub(crate) hashes: Vec<(u32, u64)>,
    pub(crate) keyframes: Vec<u32>,
    pub(crate) events: usize,
    pub(crate) unknown: usize,
    pub(crate) gaps: Vec<(u64, u64)>,
    pub(crate) complete: bool,
    pub(crate) cut_bytes: u64,
    pub(crate) error: Option<ReadError>,
}

pub(crate) fn read(bytes: &[u8], on_damage: OnDamage) -> Result<Found, ReadError> {
    let mut found = Found {
        ticks: Vec::new(),
        hashes: Vec::new(),
        keyframes: Vec::new(),
        events: 0,
        unknown: 0,
        gaps: Vec::new(),
        complete: false,
        cut_bytes: 0,
        error: None,
    };
    let mut reader = Reader::open(bytes, on_damage)?;
    loop {
        match reader.next_item() {
            Ok(None) => break,
            Ok(Some(Item::Gap { offset, next })) => found.gaps.push((offset, next)),
            Ok(Some(Item::Block(block))) => match block.content {
                Content::TickRecords(records) => {
                    found.ticks.extend(records.iter().map(|(tick, bytes)| (tick, bytes.to_vec())));
                }
                Content::StateHashes(hashes) => found.hashes.extend(hashes.iter()),
                Content::Keyframe(_) => found.keyframes.push(block.header.first_tick),
                Content::Events(events) => found.events += events.iter().count(),
                Content::Unknown => found.unknown += 1,
                Content::Snapshot(_) | Content::Report(_) | Content::Index(_) | Content::End(_) => {}
            },
            Err(error) => {
                assert_eq!(reader.next_item().err(), Some(error), "the first error is final");
                found.error = Some(error);
                break;
            }
        }
    }
    found.complete = reader.is_complete();
    found.cut_bytes = reader.cut_bytes();
    Ok(found)
}

/// Offset and header of every block, by walking lengths alone.
pub(crate) fn blocks(bytes: &[u8]) -> Vec<(usize, BlockHeader)> {
    let mut at = header().to_bytes().expect("within bounds").len();
    let mut blocks = Vec::new();
    while at < bytes.len() {
        let head = bytes[at..].first_chunk::<BLOCK_HEADER_BYTES>().expect("whole blocks");
        let header = BlockHeader::parse(head).expect("whole blocks");
        blocks.push((at, header));
        at += header.block_bytes() as usize;
    }
    blocks
}

/// How many rounds a random test makes: `usual` ones, or as many as RUNS=… says.
pub(crate) fn runs(usual: usize) -> usize {
    std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(usual)
}

/// Numbers for random tests: SEED=… repeats a run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(test: &str) -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        eprintln!("{test}: SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

//! Recordings of a real game, simulated again: what agrees, and where exactly what does not.

use tiltyard_engine::{
    ActorId, Game, Registry, Schedule, Seat, Stage, Terms, Tick, TickRecord, World, decode_keyframe,
    encode_keyframe, rng::Rng, testing::plant_divergence,
};
use tiltyard_replay::{
    Content, Finding, FirstDivergence, Item, Kind, Label, OnDamage, PlayError, Progress, Reader,
    SimulateError, Verdict, Writer, put_raw_block, verify,
};

use crate::game::{GIFT, Joust, KEYFRAME_TICKS, Lie, NUDGE, NUDGED, Say, TWIST, head, recorded, spec};
use crate::sample::{Dice, runs};

fn judge(bytes: &[u8]) -> Verdict {
    verify::<Joust>(bytes, OnDamage::Stop, |_| {}).expect("it starts")
}

fn difference(lie: Lie) -> FirstDivergence {
    let verdict = judge(&recorded(330, lie));
    assert!(!verdict.verified);
    assert!(verdict.complete, "a lie is no damage");
    assert_eq!(verdict.stopped, None);
    verdict.first_divergence.expect("a difference")
}

#[test]
fn true_recording_is_verified_whole() {
    let bytes = recorded(330, Lie { parts_every: 30, ..Lie::default() });
    let mut progress = Vec::new();
    let verdict = verify::<Joust>(&bytes[..], OnDamage::Stop, |now| progress.push(now)).expect("it starts");
    assert_eq!((verdict.first_divergence, verdict.stopped), (None, None));
    assert_eq!((verdict.ticks, verdict.ticks_compared, verdict.keyframes_compared), (330, 330, 3));
    assert!(verdict.verified && verdict.complete);
    assert_eq!(verdict.recording_hash, *blake3::hash(&bytes).as_bytes());
    assert_eq!(progress.last(), Some(&Progress { tick: 330, bytes: bytes.len() as u64 }));
    assert!(progress.is_sorted_by_key(|now| now.bytes));
}

#[test]
fn torn_recording_is_verified_up_to_the_cut() {
    let bytes = recorded(330, Lie::default());
    for cut in (bytes.len() / 3..bytes.len()).step_by(211) {
        let verdict = verify::<Joust>(&bytes[..cut], OnDamage::Stop, |_| {}).expect("it starts");
        assert!(verdict.verified, "cut at {cut}: {verdict:?}");
        assert!(!verdict.complete);
        assert_eq!(verdict.ticks % 10, 0, "frames end with their second or at a keyframe");
        assert!(verdict.cut_bytes < 4096);
    }
}

#[test]
fn changed_input_is_found_at_its_tick_and_addressed_at_the_keyframe() {
    let first = difference(Lie { input: Some((123, 5)), ..Lie::default() });
    assert_eq!(first.tick, 123);
    let address = first.address().expect("a keyframe follows");
    assert_eq!((address.tick.0, address.kind, address.component), (200, "Puppet", "Place"));
    assert_eq!(address.actor, ActorId(6), "the seat's puppet");
    assert_eq!(address.field, "at[0]");
}

#[test]
fn parts_of_the_hash_name_the_component_in_its_tick() {
    let first = difference(Lie { input: Some((123, 5)), parts_every: 1, ..Lie::default() });
    assert_eq!((first.tick, first.parts_tick), (123, Some(123)));
    assert_eq!(first.component().as_deref(), Some("Puppet.Place"));
}

#[test]
fn changed_state_is_found_with_actor_field_and_both_values() {
    let first = difference(Lie { hidden: Some((200, NUDGE)), ..Lie::default() });
    assert_eq!(first.tick, 200);
    let address = first.address().expect("the keyframe of the very tick").clone();
    assert_eq!((address.tick.0, address.component, address.actor), (200, "Place", NUDGED));
    assert_eq!(address.field, "at[1]");
    let value = |text: &str| text.parse::<f32>().expect("a number");
    assert_eq!(value(&address.left), value(&address.right) + 1.0);
    assert_eq!((first.actor(), first.field()), (Some(NUDGED), Some("at[1]")));
}

#[test]
fn changed_singleton_is_found() {
    let first = difference(Lie { hidden: Some((150, GIFT)), ..Lie::default() });
    assert_eq!(first.tick, 150);
    let address = first.address().expect("a keyframe follows");
    assert_eq!((address.component, address.field.as_str()), ("Score", "points[1]"));
    assert_eq!(address.actor, ActorId::NONE);
}

#[test]
fn changed_hash_alone_is_told_from_a_changed_state() {
    let first = difference(Lie { hash: Some((123, 1)), ..Lie::default() });
    assert_eq!((first.tick, &first.finding), (123, &Finding::HashAlone { agrees_at: 124 }));
    assert_eq!(first.recorded_hash, Some(first.simulated_hash ^ 1));
    let last = difference(Lie { hash: Some((330, 1)), ..Lie::default() });
    assert_eq!((last.tick, &last.finding), (330, &Finding::HashOnly));
}

#[test]
fn changed_keyframe_is_found_with_its_field() {
    let first = difference(Lie { keyframe: Some((200, NUDGE)), ..Lie::default() });
    assert_eq!(first.tick, 200);
    assert!(matches!(first.finding, Finding::Keyframe(_)), "{first}");
    assert_eq!((first.actor(), first.field()), (Some(NUDGED), Some("at[1]")));
}

#[test]
fn planted_bits_in_keyframes_are_all_named_exactly() {
    let mut dice = Dice::new("planted_bits_in_keyframes_are_all_named_exactly");
    let good = recorded(KEYFRAME_TICKS + 30, Lie::default());
    let registry = Registry::of::<Joust>().expect("a right game");
    let mut rng = Rng::new(dice.next(), 0, 0, 0);
    let (mut named, mut refused) = (0, 0);
    for _ in 0..1_000 {
        // The same file up to its keyframe, and that keyframe with one bit flipped.
        let mut reader = Reader::open(&good[..], OnDamage::Stop).expect("a header");
        let (mut made, planted) = loop {
            let Some(Item::Block(block)) = reader.next_item().expect("whole") else {
                panic!("a keyframe is there")
            };
            if let Content::Keyframe(bytes) = block.content {
                let (mut save, record) = decode_keyframe::<Say>(bytes, &registry, 8).expect("its own");
                let planted = plant_divergence(&mut save, &registry, &mut rng);
                let mut made = good[..block.offset as usize].to_vec();
                let label =
                    Label { kind: Kind::Keyframe, epoch: 1, first_tick: KEYFRAME_TICKS, tick_count: 0 };
                put_raw_block(&mut made, label, &encode_keyframe(&save, &record));
                break (made, planted);
            }
        };
        made.extend_from_slice(&[0; 5]);
        let verdict = judge(&made);
        assert!(!verdict.verified && verdict.cut_bytes == 5);
        match (verdict.first_divergence, verdict.stopped) {
            (
                Some(FirstDivergence { tick: KEYFRAME_TICKS, finding: Finding::Keyframe(address), .. }),
                None,
            ) => {
                assert_eq!(
                    (address.kind, address.component, address.actor, &address.field),
                    (planted.kind, planted.component, planted.actor, &planted.field)
                );
                assert_ne!(address.left, address.right);
                named += 1;
            }
            // A bit that makes a float infinite makes the keyframe no state at all.
            (None, Some(PlayError::Simulate(SimulateError::Keyframe { tick: KEYFRAME_TICKS, .. }))) => {
                refused += 1;
            }
            found => panic!("{planted:?}: {found:?}"),
        }
    }
    assert!(named >= 930, "{named} named, {refused} refused");
}

#[test]
fn changed_end_is_found() {
    let first = difference(Lie { end: true, ..Lie::default() });
    assert_eq!((first.tick, &first.finding), (330, &Finding::End));
}

#[test]
fn outcome_that_the_battle_did_not_have_is_found() {
    let first = difference(Lie { outcome: true, ..Lie::default() });
    assert_eq!((first.tick, &first.finding), (330, &Finding::Outcome));
}

#[test]
fn panic_of_the_game_is_a_refusal_with_its_tick() {
    // A later part that begins with a state no tick would make: the file is sound, the game is not prepared.
    let twisted = recorded(200, Lie { hidden: Some((200, TWIST)), ..Lie::default() });
    let later = later_part(&twisted, 200);
    let mut record = Vec::new();
    TickRecord::<Say>::neutral(Tick(201), 8).encode(&TickRecord::neutral(Tick(200), 8), &mut record);
    let mut payload = vec![record.len() as u8];
    payload.extend_from_slice(&record);
    let label = Label { kind: Kind::TickRecords, epoch: 1, first_tick: 201, tick_count: 1 };
    let mut made = later;
    put_raw_block(&mut made, label, &payload);
    let verdict = judge(&made);
    assert_eq!(verdict.stopped, Some(PlayError::Simulate(SimulateError::Panicked { tick: 201 })));
    assert!(!verdict.verified);
}

#[test]
fn later_part_is_verified_from_its_keyframe() {
    let later = later_part(&recorded(330, Lie::default()), 200);
    let verdict = judge(&later);
    assert_eq!((verdict.ticks, verdict.last_tick), (130, 330));
    assert!(verdict.verified, "{verdict:?}");
    assert!(!verdict.complete);
}

/// The recording from a keyframe on, as a file of its own, without an end.
pub(crate) fn later_part(bytes: &[u8], from: u32) -> Vec<u8> {
    let mut reader = Reader::open(bytes, OnDamage::Stop).expect("a header");
    let header = tiltyard_replay::Header { part: 1, ..reader.header().clone() };
    let mut kept = header.to_bytes().expect("within bounds");
    while let Some(Item::Block(block)) = reader.next_item().expect("whole") {
        let tick = block.header.first_tick;
        let end = matches!(block.content, Content::Index(_) | Content::End(_));
        let keyframe = matches!(block.content, Content::Keyframe(_));
        if !end && (tick > from || keyframe && tick == from) {
            let at = block.offset as usize;
            kept.extend_from_slice(&bytes[at..at + block.header.block_bytes() as usize]);
        }
    }
    kept
}

#[test]
fn takeover_from_another_state_is_found() {
    let check = |lie: Lie, expected: Option<(u32, Finding)>| {
        let both = taken_over(lie);
        let verdict = judge(&both);
        assert_eq!(verdict.stopped, None);
        let found = verdict.first_divergence.map(|first| (first.tick, first.finding));
        assert_eq!(found, expected);
    };
    check(Lie::default(), None);
    check(Lie { keyframe: Some((200, NUDGE)), ..Lie::default() }, Some((200, Finding::Takeover)));
}

/// Epoch 1 until tick 230; epoch 2 goes on from the keyframe of tick 200, in which `lie` may be told.
pub(crate) fn taken_over(lie: Lie) -> Vec<u8> {
    let good = recorded(230, Lie::default());
    let mut both = good[..good.len() - tail_bytes(&good)].to_vec();
    let head = head(&spec()).to_bytes().expect("within bounds").len();
    both.extend(raised(&later_part(&recorded(330, lie), 200)[head..]));
    both
}

/// Bytes of index and end.
fn tail_bytes(bytes: &[u8]) -> usize {
    let mut reader = Reader::open(bytes, OnDamage::Stop).expect("a header");
    while let Some(Item::Block(block)) = reader.next_item().expect("whole") {
        if let Content::Index(_) = block.content {
            return bytes.len() - block.offset as usize;
        }
    }
    0
}

/// The same blocks under epoch 2.
fn raised(mut blocks: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((head, rest)) = blocks.split_first_chunk() {
        let mut header = tiltyard_replay::BlockHeader::parse(head).expect("whole blocks");
        header.epoch = 2;
        out.extend_from_slice(&header.to_bytes());
        let (payload, after) = rest.split_at(header.stored_bytes as usize);
        out.extend_from_slice(payload);
        blocks = after;
    }
    out
}

#[test]
fn damage_is_skipped_and_the_rest_verified_when_asked() {
    let mut bytes = recorded(330, Lie::default());
    let victim = bytes.len() / 2;
    bytes[victim] ^= 0x10;
    let stopped = judge(&bytes);
    assert!(matches!(stopped.stopped, Some(PlayError::Read(_))));
    assert!(!stopped.verified && stopped.ticks < 330);
    let skipped = verify::<Joust>(&bytes[..], OnDamage::NextKeyframe, |_| {}).expect("it starts");
    assert_eq!((skipped.gaps.len(), &skipped.stopped, &skipped.first_divergence), (1, &None, &None));
    assert!(!skipped.verified && !skipped.complete, "what is missing was not verified");
    assert!(skipped.ticks > stopped.ticks && skipped.last_tick == 330);
}

/// Joust with another name.
#[derive(Debug)]
struct Chess;

impl Game for Chess {
    const NAME: &'static str = "chess";
    type Input = <Joust as Game>::Input;
    type Event = <Joust as Game>::Event;
    type Setup = <Joust as Game>::Setup;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        Joust::components(registry);
    }
    fn systems(_: &mut Schedule<Self>) {}
    fn modes() -> Vec<tiltyard_engine::Mode<Self::Setup>> {
        Joust::modes()
    }
    fn spawn(_: &mut Stage<'_, Self>) {}
    fn missing(last: &Self::Input, age: u16) -> Self::Input {
        Joust::missing(last, age)
    }
    fn check(input: &Self::Input) -> bool {
        Joust::check(input)
    }
    fn bot(world: &World, seat: Seat, rng: &mut Rng) -> Self::Input {
        Joust::bot(world, seat, rng)
    }
    fn outcome(world: &World, terms: &Terms) -> Option<tiltyard_engine::Outcome> {
        Joust::outcome(world, terms)
    }
}

#[test]
fn recording_of_another_game_is_refused_by_name() {
    let bytes = recorded(30, Lie::default());
    let refused = verify::<Chess>(&bytes[..], OnDamage::Stop, |_| {});
    assert!(matches!(refused, Err(PlayError::Simulate(SimulateError::Foreign { game: "chess", .. }))));
}

#[test]
fn header_that_contradicts_its_spec_is_refused() {
    let check = |change: fn(&mut tiltyard_replay::Header), expected: &str| {
        let mut header = head(&spec());
        change(&mut header);
        let writer = Writer::start(Vec::new(), &header, tiltyard_replay::Settings::new(1, 30));
        let bytes = writer.expect("a good sink").into_sink();
        let refused = verify::<Joust>(&bytes[..], OnDamage::Stop, |_| {}).expect_err("refused").to_string();
        assert!(refused.contains(expected), "{refused}");
    };
    check(|header| header.seed += 1, "seed");
    check(|header| header.rate_hz = 60, "tick rate");
    check(|header| header.seat_names = vec!["Ada".to_owned()], "seats");
    check(|header| header.spec.truncate(5), "too early");
}

#[test]
fn mutated_recordings_of_a_game_never_panic_the_verifier() {
    let mut dice = Dice::new("mutated_recordings_of_a_game_never_panic_the_verifier");
    let good = recorded(230, Lie { parts_every: 20, ..Lie::default() });
    let mut refused = 0_usize;
    for _ in 0..runs(300) {
        let made = mutated(&good, &mut dice);
        for on_damage in [OnDamage::Stop, OnDamage::NextKeyframe] {
            match verify::<Joust>(&made[..], on_damage, |_| {}) {
                Ok(verdict) => refused += usize::from(!verdict.verified),
                Err(_) => refused += 1,
            }
        }
        if let Ok(mut player) = tiltyard_replay::Player::<Joust, _>::open(std::io::Cursor::new(&made)) {
            for tick in [150, 20, 230, 1, 101] {
                let _ = player.seek(tick);
            }
        }
    }
    assert!(refused > runs(300), "{refused}");
}

/// The recording with flips in some payloads, under right checksums.
pub(crate) fn mutated(good: &[u8], dice: &mut Dice) -> Vec<u8> {
    let head = head(&spec()).to_bytes().expect("within bounds").len();
    let mut made = good[..head].to_vec();
    let mut rest = &good[head..];
    while let Some((block, after)) = rest.split_first_chunk() {
        // Blocks are stored raw so that a flip stays a flip.
        let mut header = tiltyard_replay::BlockHeader::parse(block).expect("whole blocks");
        let (stored, after) = after.split_at(header.stored_bytes as usize);
        let mut unpacked = Vec::new();
        let mut payload = tiltyard_replay::unpack(&header, stored, &mut unpacked).expect("whole").to_vec();
        if dice.below(12) == 0 && !payload.is_empty() {
            let at = dice.below(payload.len());
            payload[at] = dice.next() as u8;
        }
        header.codec = 0;
        header.raw_bytes = payload.len() as u32;
        header.stored_bytes = payload.len() as u32;
        header.payload_crc = crc32fast::hash(&payload);
        made.extend_from_slice(&header.to_bytes());
        made.extend_from_slice(&payload);
        rest = after;
    }
    made
}

//! The reader by itself, with a game that panics on demand.

use tiltyard_engine::rng::Rng;
use tiltyard_engine::{
    BattleSpec, Mode, Registry, Save, Schedule, Seat, Stage, Step, Terms, TickRecord, World, encode_keyframe,
    record,
};

use super::*;

record! {
    struct Count { ticks: u32 }
    struct Press { down: u32 }
    struct Told { nothing: u32 }
    struct Rules { panics_at: u32 }
}

/// No tick was seen.
const NOTHING: [u32; 0] = [];

/// A game that panics at a tick.
struct Fragile;

impl Game for Fragile {
    const NAME: &'static str = "fragile";
    type Input = Press;
    type Event = Told;
    type Setup = Rules;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.singleton::<Count>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("count", |step: &mut Step<'_, Self>| {
            assert!(step.tick.0 != step.setup.panics_at, "the game's own mistake");
            step.world.singleton_mut::<Count>().ticks += 1;
        });
    }

    fn modes() -> Vec<Mode<Rules>> {
        vec![Mode { name: "one", teams: 1, seats_per_team: 2, seconds: 10, setup: Rules { panics_at: 0 } }]
    }

    fn spawn(_: &mut Stage<'_, Self>) {}

    fn missing(last: &Press, _: u16) -> Press {
        *last
    }

    fn check(_: &Press) -> bool {
        true
    }

    fn bot(_: &World, _: Seat, _: &mut Rng) -> Press {
        Press::default()
    }

    fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
        (world.tick().0 >= terms.ticks_max).then(Outcome::default)
    }
}

/// A node that plays the sound game, while its clients' game panics at a tick.
struct Node {
    battle: Battle<Fragile>,
    newest: TickRecord<Press>,
    spec: Vec<u8>,
    bytes: Vec<u8>,
}

impl Node {
    fn new(panics_at: u32) -> Self {
        let mut spec = BattleSpec::<Fragile>::bots(&Fragile::modes()[0], 1);
        let battle = Battle::new(spec.clone()).expect("the spec is sound");
        spec.setup.panics_at = panics_at;
        let newest = TickRecord::neutral(Tick::ZERO, 2);
        Self { battle, newest, spec: spec.encode(), bytes: Vec::new() }
    }

    fn start(&mut self, epoch: u32) -> &[u8] {
        let tick = self.battle.tick().0;
        Start { epoch: Epoch(epoch), tick, rate_hz: 30, spec: &self.spec }.encode(&mut self.bytes);
        &self.bytes
    }

    fn keyframe(&mut self, epoch: u32) -> &[u8] {
        let mut save = Save::default();
        self.battle.save(&mut save);
        let (tick, state_hash) = (self.battle.tick().0, self.battle.state_hash().0);
        let state = encode_keyframe(&save, &self.newest);
        Keyframe { epoch: Epoch(epoch), tick, state_hash, inputs: &[], state: &state }
            .encode(&mut self.bytes);
        &self.bytes
    }

    fn frame(&mut self, epoch: u32) -> &[u8] {
        let (mut next, mut record) = (self.newest.clone(), Vec::new());
        next.tick = next.tick.next();
        next.encode(&self.newest, &mut record);
        let hash = self.battle.step(&next).0;
        let (tick, run) = (next.tick.0, [record.as_slice()]);
        self.newest = next;
        Frame::encode(&mut self.bytes, Epoch(epoch), tick, hash, InputReport::default(), run.into_iter());
        &self.bytes
    }
}

/// Reads a message; gives the ticks that were seen.
fn hear(reader: &mut FeedReader<Fragile>, bytes: &[u8]) -> Vec<u32> {
    let mut seen = Vec::new();
    if let Some((message, _)) = reader.judge(bytes) {
        reader.read(&message, |battle| seen.push(battle.tick().0));
    }
    seen
}

#[test]
fn a_panic_of_the_game_ends_the_mirror_and_nothing_else() {
    let (mut node, mut reader) = (Node::new(3), FeedReader::<Fragile>::new(Feed::Frame));
    assert_eq!(hear(&mut reader, node.start(1)), [0]);
    assert_eq!(hear(&mut reader, node.keyframe(1)), [0]);
    assert_eq!(hear(&mut reader, node.frame(1)), [1]);
    assert_eq!(hear(&mut reader, node.frame(1)), [2]);
    assert_eq!(reader.acknowledged(), Some(Tick(2)));
    assert_eq!(hear(&mut reader, node.frame(1)), NOTHING);
    assert_eq!(reader.counters.faults, 1);
    assert!(reader.mirror().is_none() && reader.shown().is_none() && reader.acknowledged().is_none());
    assert_eq!(hear(&mut reader, node.frame(1)), NOTHING);
    // A START, as after a reconnect, begins anew; its tick is not that of the start.
    assert_eq!(hear(&mut reader, node.start(1)), NOTHING);
    assert_eq!(hear(&mut reader, node.keyframe(1)), [4]);
    assert_eq!(hear(&mut reader, node.frame(1)), [5]);
}

#[test]
fn a_lower_epoch_is_not_heard_and_a_higher_one_needs_a_keyframe() {
    let (mut node, mut reader) = (Node::new(0), FeedReader::<Fragile>::new(Feed::Frame));
    hear(&mut reader, node.start(4));
    hear(&mut reader, node.keyframe(4));
    assert_eq!(hear(&mut reader, node.frame(4)), [1]);
    assert_eq!(hear(&mut reader, node.frame(3)), NOTHING);
    assert_eq!(reader.counters.outdated, 1);
    assert_eq!(reader.follow(Epoch(5)), Some(Follows::Anew));
    assert!(reader.is_out_of_step() && reader.shown().is_none());
    assert_eq!(hear(&mut reader, node.frame(5)), NOTHING);
    assert_eq!(hear(&mut reader, node.keyframe(5)), [3]);
    assert_eq!(reader.acknowledged(), Some(Tick(3)));
}

#[test]
fn a_gap_in_the_frames_is_asked_for_and_doubles_are_not_seen_again() {
    let (mut node, mut reader) = (Node::new(0), FeedReader::<Fragile>::new(Feed::Frame));
    hear(&mut reader, node.start(1));
    hear(&mut reader, node.keyframe(1));
    let first = node.frame(1).to_vec();
    assert_eq!(hear(&mut reader, &first), [1]);
    assert_eq!(hear(&mut reader, &first), NOTHING);
    assert_eq!(reader.wishes.frames_from, None);
    node.frame(1);
    assert_eq!(hear(&mut reader, node.frame(1)), NOTHING);
    assert_eq!(reader.wishes.frames_from, Some(2));
}

#[test]
fn a_start_that_cannot_be_read_is_told_and_a_mirror_that_runs_stays() {
    let mut reader = FeedReader::<Fragile>::new(Feed::Snapshot);
    let mut bytes = Vec::new();
    Start { epoch: Epoch(1), tick: 0, rate_hz: 30, spec: b"chess" }.encode(&mut bytes);
    assert_eq!(hear(&mut reader, &bytes), NOTHING);
    assert!(reader.unreadable().is_some());

    let (mut node, mut reader) = (Node::new(0), FeedReader::<Fragile>::new(Feed::Snapshot));
    assert_eq!(hear(&mut reader, node.start(1)), [0]);
    assert_eq!(hear(&mut reader, &bytes), NOTHING);
    assert!(reader.unreadable().is_none() && reader.mirror().is_some());
    assert_eq!(reader.counters.misread, 1);
}

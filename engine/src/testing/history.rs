//! The history fuzz: the same states, reached in other ways, must be the same in every row and lead to the same.
//!
//! One battle is played straight. A second one, whose world has been through everything, is brought to its states of
//! random ticks again and again and goes on from there with the same records:
//!
//! | before, the second battle | then it comes to the state by | and goes on |
//! |---|---|---|
//! | is left where its last way ended | a save | 1 to 12 ticks |
//! | wanders off: other players do other things for a while | the bytes of a keyframe | |
//! | has the places of all its rows dealt out anew | the bytes of a snapshot | |
//! | is a new one | | |
//!
//! All records reach the second battle as bytes, too. Every state that it comes to and every tick that it makes must
//! have the hash of the straight battle.

use crate::rng::Rng;
use crate::testing::players::{Players, spoil};
use crate::{
    Battle, BattleSpec, Divergence, Game, Mode, Roster, RosterSeat, Save, SeatRole, StartError, StateHash,
    TEAMS_MAX, Team, Terms, Tick, TickRate, TickRecord, decode_keyframe, encode_keyframe, snapshot,
};

/// Ticks that are played straight before the second battle goes through them.
const BLOCK: usize = 32;
/// How often it does.
const WAYS: u32 = 24;
/// The most ticks that it goes on for.
const ON_MAX: u32 = 12;
/// The most ticks for which it wanders off.
const WANDER_MAX: u32 = 8;
/// Rows times ticks of a battle: it is shorter the larger it is.
const ROW_TICKS: usize = 1 << 20;

/// A fuzzed battle: one played straight, and one that comes to the same states in other ways. See
/// [`history_fuzz`](crate::testing::history_fuzz) for the test of one line.
pub struct History<G: Game> {
    seed: u64,
    mode: &'static str,
    rng: Rng,
    ticks_max: u32,
    players: Players<G>,
    straight: Battle<G>,
    used: Battle<G>,
    /// The straight battle's states in this block: before its first tick, then after each.
    states: Vec<Save>,
    /// The records between them, as they came out of their bytes.
    records: Vec<TickRecord<G::Input>>,
    ticks: usize,
    /// Buffers.
    record: TickRecord<G::Input>,
    bytes: Vec<u8>,
    read: Save,
    tally: Tally,
}

/// What a fuzz has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ticks that were made in a battle with another history and compared.
    pub ticks: u64,
    /// Ticks that were played straight, besides.
    pub straight_ticks: u64,
    /// How often a battle went back to a state of its own.
    pub rollbacks: u64,
    /// How often a state came from the bytes of a keyframe or a snapshot, or into a battle that had just begun.
    pub restores: u64,
    /// How often rows had come to stand where they stand in another way: they were dealt out anew, or the battle had
    /// wandered off.
    pub permutations: u64,
    /// Commands of the kind [`Command::Act`](crate::Command::Act) in the records.
    pub acts: u64,
    /// Inputs in them that [`Game::check`] refuses.
    pub unchecked: u64,
    /// Records with an input that is not a number, which their bytes did not survive.
    pub refused: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.ticks += other.ticks;
        self.straight_ticks += other.straight_ticks;
        self.rollbacks += other.rollbacks;
        self.restores += other.restores;
        self.permutations += other.permutations;
        self.acts += other.acts;
        self.unchecked += other.unchecked;
        self.refused += other.refused;
    }
}

/// The first state that was another one after another history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desync {
    /// The seed of the fuzzed battle: it alone leads here again.
    pub seed: u64,
    /// The mode or scene that was played.
    pub mode: &'static str,
    /// How many seats it had.
    pub seats: usize,
    /// The tick whose state differs.
    pub tick: Tick,
    /// How the second battle got there.
    pub way: Way,
    /// The straight battle's hash.
    pub expected: StateHash,
    /// The second battle's hash.
    pub found: StateHash,
    /// The first difference (left: the second battle, right: the straight one). Nothing if their rows are the same:
    /// then what differs is the hash that a save or a keyframe carried.
    pub divergence: Option<Divergence>,
}

/// How a state was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// What the battle did before.
    pub before: Before,
    /// What brought it to the state of a tick.
    pub by: By,
    /// Which tick that was.
    pub from: Tick,
}

/// What a battle did before it came to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It stood where its last way had ended.
    Stayed,
    /// It went on from there, with other players.
    Wandered,
    /// All its rows were taken away and stood up in a random order.
    Dealt,
    /// It was newly started.
    Began,
}

/// What brings a battle to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A save.
    Save,
    /// The bytes of a keyframe.
    Keyframe,
    /// The bytes of a snapshot.
    Snapshot,
}

impl std::fmt::Display for Desync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, mode, seats, tick, way, expected, found, divergence } = self;
        write!(f, "SEED={seed}, {mode} with {seats} seats: after ")?;
        match way.before {
            Before::Stayed => {}
            Before::Wandered => write!(f, "it had wandered off and ")?,
            Before::Dealt => write!(f, "its rows were dealt out anew and ")?,
            Before::Began => write!(f, "it had just begun and ")?,
        }
        let by = match way.by {
            By::Save => "a save",
            By::Keyframe => "a keyframe",
            By::Snapshot => "a snapshot",
        };
        write!(f, "{by} of tick {} was restored, the state of tick {tick} is another: ", way.from)?;
        match divergence {
            Some(divergence) => write!(f, "{divergence} (left: after that, right: straight)")?,
            None => write!(f, "every row is the same, the hash is not")?,
        }
        write!(f, "; hash {found} against {expected}")
    }
}

impl<G: Game> History<G> {
    /// A battle of a random mode, setup, roster, rate and length: the seed decides on all of it. Costs two starts of
    /// the battle, and room for the states of a block of ticks.
    ///
    /// # Errors
    /// If it does not start.
    ///
    /// # Panics
    /// If the game has no mode.
    pub fn random(seed: u64) -> Result<Self, StartError> {
        let mut rng = Rng::new(seed, 0, 0, 0);
        let (mode, spec) = random_spec::<G>(seed, &mut rng);
        Self::with(seed, mode, spec, rng)
    }

    /// A battle of this spec; the seed decides what is done to it. Costs what [`History::random`] does.
    ///
    /// # Errors
    /// If it does not start.
    pub fn of(spec: BattleSpec<G>, seed: u64) -> Result<Self, StartError> {
        Self::with(seed, "the given spec", spec, Rng::new(seed, 0, 0, 0))
    }

    fn with(seed: u64, mode: &'static str, spec: BattleSpec<G>, rng: Rng) -> Result<Self, StartError> {
        let seats = spec.roster.len();
        let straight = Battle::new(spec.clone())?;
        let room = (ROW_TICKS / straight.world().actors().max(1)).max(BLOCK);
        Ok(Self {
            seed,
            mode,
            rng,
            ticks_max: spec.terms.ticks_max.min(u32::try_from(room).unwrap_or(u32::MAX)),
            players: Players::new(seats),
            straight,
            used: Battle::new(spec)?,
            states: vec![Save::default(); BLOCK + 1],
            records: vec![TickRecord::neutral(Tick::ZERO, seats); BLOCK + 1],
            ticks: 0,
            record: TickRecord::neutral(Tick::ZERO, seats),
            bytes: Vec::new(),
            read: Save::default(),
            tally: Tally::default(),
        })
    }

    /// Plays some ticks and goes through them in other ways. True until the battle is over. Costs about two hundred
    /// ticks.
    ///
    /// # Errors
    /// On the first state that is another one.
    ///
    /// # Panics
    /// If the game does, or a record or keyframe does not survive its bytes.
    pub fn go_on(&mut self) -> Result<bool, Box<Desync>> {
        self.play_block();
        if self.ticks > 0 {
            for _ in 0..WAYS {
                self.go_another_way()?;
            }
        }
        Ok(self.ticks == BLOCK && self.straight.tick().0 < self.ticks_max)
    }

    /// What was done so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally { acts: self.players.acts, unchecked: self.players.unchecked, ..self.tally }
    }

    /// Ticks a second of the battle.
    #[must_use]
    pub fn rate(&self) -> TickRate {
        self.straight.spec().terms.rate
    }

    fn play_block(&mut self) {
        // The last record of the block before is what the first one is encoded against.
        self.records.swap(0, self.ticks);
        self.straight.save(&mut self.states[0]);
        self.ticks = 0;
        while self.ticks < BLOCK && self.straight.outcome().is_none() {
            self.players.decide(&self.straight, &mut self.rng, &mut self.record);
            self.straight.step(&self.record);
            let (before, after) = self.records.split_at_mut(self.ticks + 1);
            self.bytes.clear();
            self.record.encode(&before[self.ticks], &mut self.bytes);
            after[0].clone_from(&before[self.ticks]);
            after[0].advance(&self.bytes).expect("a record of our own survives its bytes");
            if self.rng.one_in(32) {
                self.spoil_a_record();
            }
            self.ticks += 1;
            self.straight.save(&mut self.states[self.ticks]);
            self.tally.straight_ticks += 1;
        }
    }

    /// The record that was just made with one input that is not a number: its bytes are none.
    fn spoil_a_record(&mut self) {
        let seat = self.rng.below(self.record.inputs.len() as u32) as usize;
        if !spoil(&mut self.record.inputs[seat].input) {
            return;
        }
        let before = &self.records[self.ticks];
        self.bytes.clear();
        self.record.encode(before, &mut self.bytes);
        let read = before.clone().advance(&self.bytes);
        assert!(read.is_err(), "SEED={}: a record with an input that is no number is read", self.seed);
        self.tally.refused += 1;
    }

    fn go_another_way(&mut self) -> Result<(), Box<Desync>> {
        let from = self.rng.below(self.ticks as u32 + 1) as usize;
        let until = self.ticks.min(from + 1 + self.rng.below(ON_MAX) as usize);
        let before = self.make_a_history();
        let by = self.arrive(from);
        match (before, by) {
            (Before::Began, _) | (_, By::Keyframe | By::Snapshot) => self.tally.restores += 1,
            _ => self.tally.rollbacks += 1,
        }
        let way = Way { before, by, from: self.states[from].tick() };
        // A restore takes over the hash that came with the state; what counts is that of the rows.
        let found = self.used.hash_again();
        self.compare(way, from, found)?;
        for index in from..until {
            let found = self.used.step(&self.records[index + 1]);
            self.tally.ticks += 1;
            self.compare(way, index + 1, found)?;
        }
        Ok(())
    }

    /// Gives the second battle a past.
    fn make_a_history(&mut self) -> Before {
        match self.rng.below(64) {
            0 => {
                let spec = self.straight.spec().clone();
                self.used = Battle::new(spec).expect("the same battle started before");
                Before::Began
            }
            1..16 => {
                for _ in 0..=self.rng.below(WANDER_MAX) {
                    if self.used.outcome().is_some() {
                        break;
                    }
                    // What was done in some other tick, by other seats.
                    let other = self.rng.below(self.ticks as u32) as usize + 1;
                    self.record.clone_from(&self.records[other]);
                    self.record.tick = self.used.tick().next();
                    self.record.commands.clear();
                    let turn = self.rng.below(self.record.inputs.len() as u32) as usize;
                    self.record.inputs.rotate_left(turn);
                    self.used.step(&self.record);
                }
                self.tally.permutations += 1;
                Before::Wandered
            }
            16..32 => {
                self.used.deal_rows(&mut self.rng);
                self.tally.permutations += 1;
                Before::Dealt
            }
            _ => Before::Stayed,
        }
    }

    /// Brings the second battle to a state of the straight one.
    fn arrive(&mut self, index: usize) -> By {
        let registry = self.straight.world().registry();
        let rate = self.straight.spec().terms.rate;
        let state = &self.states[index];
        match self.rng.below(8) {
            // The record that led to the first state is not kept with its tick.
            0 if index > 0 => {
                let record = &self.records[index];
                let bytes = encode_keyframe(state, record);
                let (read, _) = decode_keyframe::<G::Input>(&bytes, registry, record.inputs.len())
                    .expect("a keyframe of our own survives its bytes");
                self.used.restore(&read);
                By::Keyframe
            }
            1 => {
                let baseline =
                    (self.rng.one_in(2)).then(|| &self.states[self.rng.below(index as u32 + 1) as usize]);
                self.bytes.clear();
                snapshot::encode(registry, rate, state, baseline, &mut self.bytes);
                snapshot::decode(registry, rate, state.tick(), baseline, &self.bytes, &mut self.read)
                    .expect("a snapshot of our own survives its bytes");
                self.used.restore(&self.read);
                By::Snapshot
            }
            _ => {
                self.used.restore(state);
                By::Save
            }
        }
    }

    fn compare(&mut self, way: Way, index: usize, found: StateHash) -> Result<(), Box<Desync>> {
        let state = &self.states[index];
        let expected = state.hashes().state();
        if found == expected {
            return Ok(());
        }
        self.used.save(&mut self.read);
        let divergence = self.read.first_divergence(state, self.used.world().registry());
        let (seed, mode, tick) = (self.seed, self.mode, state.tick());
        let seats = self.straight.spec().roster.len();
        Err(Box::new(Desync { seed, mode, seats, tick, way, expected, found, divergence }))
    }
}

/// Mostly a small battle of one of the game's modes or of a setup beyond them; now and then a full one, or one of its
/// scenes.
fn random_spec<G: Game>(seed: u64, rng: &mut Rng) -> (&'static str, BattleSpec<G>) {
    let is_scene = rng.one_in(128);
    let modes = if is_scene { G::scenes() } else { G::modes() };
    assert!(!modes.is_empty(), "{} has no mode: return at least one from Game::modes", G::NAME);
    let Mode { name, teams, seats_per_team, setup, .. } =
        modes[rng.below(modes.len() as u32) as usize].clone();
    let setup = if is_scene { setup } else { G::random_setup(setup, rng) };
    let most = if rng.one_in(16) { seats_per_team } else { seats_per_team.min(6) };
    let anywhere = rng.one_in(8);
    let mut roster = Roster::default();
    for team in 0..teams {
        for _ in 0..=rng.below(u32::from(most.max(1))) {
            let team = if anywhere { rng.below(TEAMS_MAX as u32) as u8 } else { team };
            roster.seats.push(RosterSeat { player: 0, team: Team(team), role: SeatRole::Bot, loadout: 0 });
        }
    }
    let rate = [10, 20, 30, 60][rng.below(4) as usize];
    let rate = TickRate::new(rate).expect("the rate is possible");
    let ticks_max = 1 + rng.below(1024);
    (name, BattleSpec { terms: Terms { seed, rate, ticks_max }, setup, roster })
}

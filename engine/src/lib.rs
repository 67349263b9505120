//! A battle as a pure function: seed, rules and players' inputs go in, a state a tick and its hash come out, the same
//! ones on every machine.
//!
//! A game implements [`Game`]: which records are state, which systems run in a tick, what players may say, what a
//! scripted player does and how a battle ends. The engine keeps the state in columns, steps it, hashes it every tick,
//! saves and restores it, and finds the first field in which two states differ. It has no clock, no socket, no thread,
//! no file and no unsafe code.
//!
//! # A whole game
//!
//! Two runners; whoever is further ahead after ten seconds wins.
//!
//! ```
//! use tiltyard_engine::glam::vec2;
//! use tiltyard_engine::kit::motion::{Position, Velocity, integrate};
//! use tiltyard_engine::rng::Rng;
//! use tiltyard_engine::{
//!     Battle, BattleSpec, Game, Mode, Outcome, Registry, Schedule, Seat, Stage, Step, Terms, Tick, TickRecord, World,
//!     kind, record, testing,
//! };
//!
//! record! {
//!     /// What a player says each tick: how fast to run, 0 to 90 decimetres a second.
//!     struct Stride { speed: u32 }
//!     /// The rules: how far apart the lanes are, in metres.
//!     struct Track { lane: f32 }
//! }
//! kind! {
//!     struct Runner { position: Position, velocity: Velocity }
//! }
//!
//! struct Race;
//!
//! impl Game for Race {
//!     const NAME: &'static str = "race";
//!     type Input = Stride;
//!     type Event = Stride;
//!     type Setup = Track;
//!     type Scratch = ();
//!
//!     fn components(registry: &mut Registry) {
//!         registry.kind::<Runner>();
//!     }
//!
//!     fn systems(schedule: &mut Schedule<Self>) {
//!         schedule.add("run", run);
//!     }
//!
//!     fn modes() -> Vec<Mode<Track>> {
//!         vec![Mode { name: "sprint", teams: 2, seats_per_team: 1, seconds: 10, setup: Track { lane: 1.5 } }]
//!     }
//!
//!     fn spawn(stage: &mut Stage<'_, Self>) {
//!         for (seat, _) in stage.roster.iter() {
//!             let at = vec2(0.0, f32::from(seat.0) * stage.setup.lane);
//!             stage.spawn(Runner { position: Position { at }, ..Runner::default() });
//!         }
//!     }
//!
//!     fn missing(_: &Stride, _: u16) -> Stride {
//!         Stride::default()
//!     }
//!
//!     fn check(input: &Stride) -> bool {
//!         input.speed <= 90
//!     }
//!
//!     fn bot(_: &World, _: Seat, rng: &mut Rng) -> Stride {
//!         Stride { speed: 60 + rng.below(31) }
//!     }
//!
//!     fn outcome(world: &World, terms: &Terms) -> Option<Outcome> {
//!         let metres: Vec<u32> =
//!             world.rows::<Runner>().read::<Position>().iter().map(|position| position.at.x as u32).collect();
//!         (world.tick().0 >= terms.ticks_max).then(|| Outcome::by_score(&metres))
//!     }
//! }
//!
//! /// The only system: the runner of a seat stands in the row of its number.
//! fn run(step: &mut Step<'_, Race>) {
//!     let runners = step.world.rows::<Runner>();
//!     let (mut positions, mut velocities) = (runners.write::<Position>(), runners.write::<Velocity>());
//!     for (velocity, seat) in velocities.iter_mut().zip(step.inputs) {
//!         velocity.per_second = vec2(seat.input.speed as f32 / 10.0, 0.0);
//!     }
//!     integrate(&mut positions, &velocities, step.terms.rate.seconds_per_tick());
//! }
//!
//! // A battle of scripted players.
//! let spec = BattleSpec::<Race>::bots(&Race::modes()[0], 7);
//! let mut battle = Battle::new(spec.clone())?;
//! let mut record = TickRecord::neutral(battle.tick(), spec.roster.len());
//! while battle.outcome().is_none() {
//!     battle.bot_record(&mut record);
//!     battle.step(&record);
//! }
//! assert_eq!(battle.tick(), Tick(300));
//!
//! // The same records lead to the same states, also after every rollback.
//! testing::sync_test(&spec, 100);
//! # Ok::<(), tiltyard_engine::StartError>(())
//! ```
//!
//! # The parts, in reading order
//!
//! | part | what it is |
//! |---|---|
//! | [`Game`], [`Mode`], [`Outcome`] | what a game brings |
//! | [`record!`], [`kind!`], [`Registry`] | what state is made of, and where it is listed |
//! | [`Schedule`], [`Step`], [`Stage`] | what happens in a tick and before the first one, and what it may touch |
//! | [`World`], [`WorldMut`], [`Rows`], [`RowsMut`] | the state: a slice for each record of a kind, in the order of ids |
//! | [`Changes`], [`Events`] | spawns and despawns, granted at fixed points; what a tick tells besides state |
//! | [`rng`], [`math`], [`space`] | random numbers, mathematics and plane geometry that are the same everywhere |
//! | [`kit`] | motion, flyers, hits, life, cooldowns, timers, scripted players: take what fits |
//! | [`BattleSpec`], [`TickRecord`], [`Battle`] | what a battle starts from, what each tick gets, and the battle itself |
//! | [`Save`], [`snapshot`], [`encode_keyframe`] | a state in memory, as a difference on the wire, as bytes on their own |
//! | [`Sight`], [`Audience`], [`Lookout`] | what a seat may see of a battle that is not shown whole |
//! | [`StateHash`], [`Hashes`], [`Divergence`] | whether two states are the same, and the first place where they are not |
//! | [`screen`] | a canvas of characters and held keys, for a game that is drawn and steered in a terminal |
//! | [`testing`] | what a game tests itself with, a line each |
//! | [`skirmish`] | a large game that uses all of it, and nothing that another game could not |
//!
//! # Units
//!
//! Lengths are metres, speeds metres a second, angles radians from the x axis towards the y axis, times ticks.
//! [`TickRate`] turns seconds into ticks; a battle knows no other time than its [`Tick`]. Bytes are little-endian.
//!
//! # Bounds
//!
//! | bound | what happens there |
//! |---|---|
//! | [`SEATS_MAX`], [`TEAMS_MAX`], [`TICKS_MAX`], [`TickRate::MAX`] | a battle beyond does not start |
//! | [`ACTORS_MAX`] | a spawn beyond does not happen; before tick 1 the battle does not start |
//! | [`KINDS_MAX`] | the registration is refused |
//! | [`EVENTS_MAX`] | events beyond are counted and dropped |
//! | [`COMMANDS_MAX`], [`KEYFRAME_BYTES_MAX`] | bytes beyond are refused |
//!
//! # Costs
//!
//! What says nothing of its cost takes constant time, or time in its arguments' size, and allocates nothing.
//!
//! A tick costs what the systems cost, and a hash over every column that somebody asked to write. A save is a copy of
//! all columns, a restore the same, and a spawn or despawn for every row that is too many or too few. Warm ticks and
//! saves allocate nothing. `tiltyard bench` tells what they take on a machine.
#![forbid(unsafe_code)]

extern crate self as tiltyard_engine;

#[doc(hidden)]
pub use bytemuck;
/// Vectors and matrices, as records and the engine's functions have them, built so that they compute the same on every
/// machine.
pub use glam;

mod actor;
mod battle;
mod bytes;
mod changes;
mod desync;
mod event;
mod game;
mod hash;
mod input;
mod keyframe;
mod kind;
pub mod kit;
pub mod math;
mod mixer;
mod record;
mod registry;
pub mod rng;
mod save;
mod schedule;
pub mod screen;
mod seat;
mod sight;
pub mod skirmish;
pub mod snapshot;
pub mod space;
mod spec;
pub mod testing;
mod tick;
mod world;

pub use actor::{ACTORS_MAX, ActorId};
pub use battle::{Battle, StartError};
pub use changes::Changes;
pub use desync::Divergence;
pub use event::{EVENTS_MAX, Events};
pub use game::{Game, Mode, Oracle, Outcome, Pose};
pub use hash::{Hashes, ProtocolHash, StateHash, hash_column};
pub use input::{COMMANDS_MAX, Command, Reason, SeatInput, TickRecord, TickRecordError};
pub use keyframe::{KEYFRAME_BYTES_MAX, KeyframeError, decode_keyframe, encode_keyframe};
pub use kind::Kind;
#[doc(hidden)]
pub use kind::Mark;
pub use mixer::{Compared, Mixer, is_marked};
pub use record::{Field, FieldKind, FieldType, Record, RecordError, snap};
pub use registry::{Audience, ColumnEntry, KINDS_MAX, KindEntry, Registry, RegistryColumns, RegistryError};
pub use save::{Save, SaveError};
pub use schedule::{Schedule, Stage, StageError, Step};
pub use seat::{Roster, RosterSeat, SEATS_MAX, Seat, SeatRole, TEAMS_MAX, Team};
pub use sight::{Lookout, NotOwn, Seen, Sight, view_hash};
pub use spec::{BattleSpec, SpecError, TICKS_MAX, Terms};
pub use tick::{Tick, TickRate};
pub use world::{Column, ColumnMut, Rows, RowsMut, SingletonMut, SingletonRef, World, WorldMut};

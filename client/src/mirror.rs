//! The mirrored world: a client's copy of the battle, kept by either feed.
//!
//! With the frame feed the client runs the battle itself: confirmed inputs in, and the node's state hash must come
//! out. With the snapshot feed the node's states come in, as far as the client's view goes, each against one the client
//! has, and their view hash must come out. Either way a difference is a desync: it is counted, the newest one is kept with its address as far as
//! it is known, and the client asks for a keyframe.

use std::collections::VecDeque;

use thiserror::Error;
use tiltyard_engine::{
    ActorId, Audience, Battle, BattleSpec, Game, KeyframeError, Mixer, NotOwn, Outcome, Save, SeatInput,
    Seen, SpecError, StartError, StateHash, Tick, TickRecord, TickRecordError, World, decode_keyframe,
    snapshot, view_hash,
};

/// How many states are kept as baselines of snapshots to come.
pub const BASELINES_MAX: usize = 32;

/// A client's copy of one battle.
pub struct Mirror<G: Game> {
    battle: Battle<G>,
    /// The newest record: what the next one is a difference to.
    record: TickRecord<G::Input>,
    /// The frame feed may go on from `record`; false until the first keyframe and after a desync.
    in_step: bool,
    /// The view that the baselines are of.
    view: u16,
    baselines: VecDeque<Baseline>,
    spare: Vec<Baseline>,
    /// A baseline with what is private in it, while the battle takes it over.
    whole: Save,
    /// The hash of the newest snapshot, if the state is one.
    view_hash: Option<StateHash>,
    /// The actors that it left as they were.
    stale: Vec<ActorId>,
    is_whole: bool,
    mixer: Mixer,
    parts: [Save; 2],
    desyncs: u64,
}

/// A snapshot as it came.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The tick that is shown.
    pub tick: Tick,
    /// The tick that it is against; nothing for a whole view.
    pub baseline: Option<Tick>,
    /// Which view it is of.
    pub view: u16,
    /// Marks of the baseline's rows that stay as they were, because not everything could be told; empty if it was.
    pub stale: &'a [u8],
    /// What all of the view are told.
    pub shared: &'a [u8],
    /// What the seat alone is told.
    pub private: &'a [u8],
    /// The hash of both.
    pub hash: StateHash,
}

/// A state that snapshots to come may be against.
#[derive(Debug, Default)]
struct Baseline {
    shared: Save,
    /// Empty if nothing was private.
    private: Save,
}

/// Why a message from the node changed nothing.
#[derive(Debug, Error)]
pub enum MirrorError {
    /// The battle's spec is none of this game.
    #[error("start: {0}")]
    Spec(#[from] SpecError),
    /// The game refuses the spec.
    #[error("start: {0}")]
    Start(#[from] StartError),
    /// The keyframe is none of this battle.
    #[error("keyframe: {0}")]
    Keyframe(#[from] KeyframeError),
    /// The keyframe is of another tick than its message says.
    #[error("keyframe of tick {found} in a message of tick {told}")]
    KeyframeTick {
        /// What the message says.
        told: u32,
        /// What the keyframe says.
        found: u32,
    },
    /// A frame's record is none of this battle.
    #[error("frame: {0}")]
    Frame(#[from] TickRecordError),
    /// The snapshot is none of this battle.
    #[error("snapshot: {0}")]
    Snapshot(#[from] snapshot::SnapshotError),
    /// The snapshot's private section is not of the view.
    #[error("snapshot: {0}")]
    Private(#[from] NotOwn),
    /// The snapshot's baseline is not kept any more, or never was.
    #[error("snapshot of tick {tick} against tick {baseline}, which is not here")]
    Baseline {
        /// The snapshot's tick.
        tick: u32,
        /// The baseline that it names.
        baseline: u32,
    },
    /// The client's state differs from the node's.
    #[error("desync at tick {tick}: here {here}, at the node {node}")]
    Desync {
        /// The first tick known to differ.
        tick: u32,
        /// The hash of the state here.
        here: StateHash,
        /// The hash that the node tells.
        node: StateHash,
    },
}

impl<G: Game> Mirror<G> {
    /// A mirror of the battle that starts from these spec bytes, before its first tick: without any actor, if the battle
    /// hides something, as none is known then.
    ///
    /// # Errors
    /// If the bytes are no spec of this game.
    pub fn start(spec: &[u8]) -> Result<Self, MirrorError> {
        let mut battle = Battle::new(BattleSpec::decode(spec)?)?;
        let record = TickRecord::neutral(Tick::ZERO, battle.spec().roster.len());
        if battle.spec().hides() {
            clear(&mut battle);
        }
        Ok(Self {
            battle,
            record,
            in_step: false,
            view: snapshot::VIEW_FULL,
            baselines: VecDeque::new(),
            spare: Vec::new(),
            whole: Save::default(),
            view_hash: None,
            stale: Vec::new(),
            is_whole: true,
            mixer: Mixer::default(),
            parts: <[Save; 2]>::default(),
            desyncs: 0,
        })
    }

    /// Forgets what the node said: the battle goes on as another copy, perhaps from an earlier tick. Frames need a
    /// keyframe again, snapshots a whole one.
    pub fn forget(&mut self) {
        self.in_step = false;
        self.spare.extend(self.baselines.drain(..));
    }

    /// Takes over the whole state of `tick`, from which the frame feed goes on; `hash` is the node's state hash. An
    /// older one than the mirror's own, while it is in step, is ignored. Returns whether the mirror took it.
    ///
    /// # Errors
    /// If the bytes are no keyframe of this battle and tick, or its hash differs from the node's.
    pub fn keyframe(&mut self, tick: Tick, bytes: &[u8], hash: StateHash) -> Result<bool, MirrorError> {
        let seats = self.battle.spec().roster.len();
        let (save, record) = decode_keyframe(bytes, self.battle.world().registry(), seats)?;
        if save.tick() != tick {
            return Err(MirrorError::KeyframeTick { told: tick.0, found: save.tick().0 });
        }
        let here = save.hashes().state();
        if here != hash {
            return Err(self.differs(tick, here, hash));
        }
        if self.in_step && tick <= self.battle.tick() {
            return Ok(false);
        }
        self.battle.restore(&save);
        self.view_hash = None;
        self.record = record;
        self.in_step = true;
        Ok(true)
    }

    /// Takes the record of a tick; `hash` is the node's state hash after it, if the message tells it. A record that
    /// does not follow on the newest one is ignored: doubles are old news, and what lies behind a gap comes again.
    /// Returns whether the mirror moved on.
    ///
    /// # Errors
    /// If the record is damaged, or the state differs from the node's: a keyframe is needed then.
    pub fn frame(&mut self, tick: Tick, record: &[u8], hash: Option<StateHash>) -> Result<bool, MirrorError> {
        if !self.in_step || tick != self.record.tick.next() {
            return Ok(false);
        }
        if let Err(error) = self.record.advance(record) {
            self.in_step = false;
            return Err(error.into());
        }
        let here = self.battle.step(&self.record);
        self.view_hash = None;
        match hash {
            Some(node) if node != here => {
                self.in_step = false;
                Err(self.differs(tick, here, node))
            }
            _ => Ok(true),
        }
    }

    /// Takes a snapshot. Returns whether it is newer than what the mirror has; an older one is ignored.
    ///
    /// # Errors
    /// If the snapshot is damaged, its baseline is not here, or its hash differs from the node's.
    pub fn snapshot(&mut self, shown: &Shown<'_>) -> Result<bool, MirrorError> {
        if self.newest_snapshot().is_some_and(|newest| shown.tick <= newest) {
            return Ok(false);
        }
        let base = match shown.baseline {
            None => None,
            Some(wanted) => {
                let missing = MirrorError::Baseline { tick: shown.tick.0, baseline: wanted.0 };
                let mut kept = self.baselines.iter().filter(|_| shown.view == self.view);
                Some(kept.find(|kept| kept.shared.tick() == wanted).ok_or(missing)?)
            }
        };
        let mut new = self.spare.pop().unwrap_or_default();
        let (registry, rate) = (self.battle.world().registry(), self.battle.spec().terms.rate);
        let shared = base.map(|base| &base.shared);
        match shared {
            Some(shared) if !shown.stale.is_empty() => {
                let [known, told] = &mut self.parts;
                self.mixer.without(registry, shared, shown.stale, known)?;
                snapshot::decode(registry, rate, shown.tick, Some(known), shown.shared, told)?;
                self.mixer.with(registry, told, shared, shown.stale, &mut new.shared)?;
            }
            shared => snapshot::decode(registry, rate, shown.tick, shared, shown.shared, &mut new.shared)?,
        }
        new.private.clear();
        let mut here = new.shared.hashes().state();
        if !shown.private.is_empty() {
            let private = base.map(|base| &base.private).filter(|private| !private.is_empty());
            snapshot::decode(registry, rate, shown.tick, private, shown.private, &mut new.private)?;
            here = view_hash(here, Some(new.private.hashes().state()));
        }
        if here != shown.hash {
            return Err(self.differs(shown.tick, here, shown.hash));
        }
        self.stale.clear();
        self.is_whole = shown.stale.is_empty();
        let is_mixed = !shown.stale.is_empty() || !new.private.is_empty();
        if is_mixed {
            self.whole.clone_from(&new.shared);
        }
        if let (Some(base), false) = (base, shown.stale.is_empty()) {
            let (stale, all) = (&mut self.stale, &base.shared);
            all.marked(registry, shown.stale, |actor| stale.push(actor));
            stale.sort_unstable();
            // A row that is stale here may have been told since the baseline.
            self.battle.save(&mut self.parts[0]);
            self.mixer.renew(registry, &mut self.whole, &self.parts[0], stale);
        }
        if !new.private.is_empty() {
            self.whole.add_private(registry, &new.private)?;
        }
        self.battle.restore(if is_mixed { &self.whole } else { &new.shared });
        self.view_hash = Some(here);
        if shown.view != self.view {
            self.view = shown.view;
            self.spare.extend(self.baselines.drain(..));
        }
        self.baselines.push_back(new);
        if self.baselines.len() > BASELINES_MAX {
            self.spare.extend(self.baselines.pop_front());
        }
        Ok(true)
    }

    /// The newest snapshot that can be a baseline: what the client acknowledges.
    #[must_use]
    pub fn newest_snapshot(&self) -> Option<Tick> {
        self.baselines.back().map(|newest| newest.shared.tick())
    }

    /// The newest tick up to which the frame feed is whole here; nothing while a keyframe is needed.
    #[must_use]
    pub fn newest_frame(&self) -> Option<Tick> {
        self.in_step.then_some(self.record.tick)
    }

    /// The actors that the newest snapshot left as they were, by ascending ids: it had no room for them. They
    /// are what an earlier one told.
    #[must_use]
    pub fn stale(&self) -> &[ActorId] {
        &self.stale
    }

    /// Whether the newest snapshot told all that the view sees; else some actors are [`stale`](Self::stale), or new ones
    /// are not here yet.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The tick of the mirrored state.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.battle.tick()
    }

    /// The hash of the mirrored state: after a snapshot the view's.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        self.view_hash.unwrap_or_else(|| self.battle.state_hash())
    }

    /// The mirrored state, to read.
    #[must_use]
    pub fn world(&self) -> &World {
        self.battle.world()
    }

    /// The mirrored battle.
    #[must_use]
    pub fn battle(&self) -> &Battle<G> {
        &self.battle
    }

    /// What the seats did in the mirrored tick; nothing where only states are known.
    pub(crate) fn known_inputs(&self) -> Option<&[SeatInput<G::Input>]> {
        (self.in_step && self.record.tick == self.tick()).then_some(&self.record.inputs[..])
    }

    /// How the mirrored battle ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.battle.outcome()
    }

    /// How often the state differed from the node's.
    #[must_use]
    pub fn desyncs(&self) -> u64 {
        self.desyncs
    }

    fn differs(&mut self, tick: Tick, here: StateHash, node: StateHash) -> MirrorError {
        self.desyncs += 1;
        MirrorError::Desync { tick: tick.0, here, node }
    }
}

/// Takes all actors out of a battle, and what is in hidden singletons.
fn clear<G: Game>(battle: &mut Battle<G>) {
    let (mut all, mut left, mut nobody) = (Save::default(), Save::default(), Seen::default());
    battle.save(&mut all);
    nobody.only(battle.world(), None);
    let registry = battle.world().registry();
    all.select(registry, &nobody, Audience::Everybody, &mut left);
    left.rehash(registry);
    battle.restore(&left);
}

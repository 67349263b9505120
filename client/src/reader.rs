//! The feed's reader: hostile messages of the node in, a mirrored battle and wishes out.
//!
//! Only the highest epoch counts: once a copy of the battle under a higher epoch has spoken, what a lower one says is
//! dropped, and what it had said is forgotten.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tiltyard_engine::{Battle, Game, Outcome, StateHash, Tick};
use tiltyard_netcode::message::{Desync, End, Frame, InputReport, Keyframe, Snapshot, Start, ToClient};
use tiltyard_netcode::{Epoch, Feed};

use crate::mirror::{Mirror, MirrorError, Shown};

/// How a battle ended, as the node told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The last tick.
    pub tick: Tick,
    /// The state hash after it.
    pub final_hash: StateHash,
    /// The outcome; nothing if the battle was not played to one.
    pub outcome: Option<Outcome>,
}

/// A difference between the client's state and the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenDesync {
    /// The first tick known to differ.
    pub tick: Tick,
    /// The hash here.
    pub here: StateHash,
    /// The node's hash.
    pub node: StateHash,
}

/// What the client would say to the node because of what it read.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) keyframe: bool,
    pub(crate) frames_from: Option<u32>,
    pub(crate) desync: Option<Desync>,
}

/// What was counted while reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReaderCounters {
    /// States that the mirror showed.
    pub(crate) states: u64,
    /// Messages of a copy under a lower epoch.
    pub(crate) outdated: u64,
    /// Messages that could not be read.
    pub(crate) misread: u64,
    /// Panics of the game while it was simulated here.
    pub(crate) faults: u64,
    /// States that differed from the node's.
    pub(crate) desyncs: u64,
}

/// How a message goes with what was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// The same copy goes on.
    On,
    /// A copy under a higher epoch speaks for the first time.
    Anew,
}

/// Reads one battle's feed.
pub(crate) struct FeedReader<G: Game> {
    feed: Feed,
    epoch: Option<Epoch>,
    spec: Vec<u8>,
    mirror: Option<Mirror<G>>,
    /// The newest tick that the node showed under this epoch.
    shown: Option<Tick>,
    ended: Option<Ended>,
    /// The battle's start means nothing here.
    unreadable: Option<MirrorError>,
    first_desync: Option<SeenDesync>,
    pub(crate) wishes: Wishes,
    pub(crate) counters: ReaderCounters,
}

impl<G: Game> FeedReader<G> {
    pub(crate) fn new(feed: Feed) -> Self {
        Self {
            feed,
            epoch: None,
            spec: Vec::new(),
            mirror: None,
            shown: None,
            ended: None,
            unreadable: None,
            first_desync: None,
            wishes: Wishes::default(),
            counters: ReaderCounters::default(),
        }
    }

    /// Judges bytes of the node: the message, and whether the battle starts over with it. Nothing if it means
    /// nothing, or an older copy of the battle speaks.
    pub(crate) fn judge<'a>(&mut self, bytes: &'a [u8]) -> Option<(ToClient<'a>, Follows)> {
        let Ok(message) = ToClient::parse(bytes) else {
            self.counters.misread += 1;
            return None;
        };
        let follows = self.follow(message.moment().0)?;
        Some((message, follows))
    }

    /// Reads a message; `see` is called for every new state, oldest first. Whatever is wrong with it is counted; a
    /// panic of the game ends the mirror and nothing else. Returns what the node says of the seat's inputs.
    pub(crate) fn read(
        &mut self,
        message: &ToClient<'_>,
        mut see: impl FnMut(&Battle<G>),
    ) -> Option<InputReport> {
        match catch_unwind(AssertUnwindSafe(|| self.take(message, &mut see))) {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => {
                self.note(message, error);
                None
            }
            Err(_) => {
                self.mirror_failed();
                None
            }
        }
    }

    /// Follows the copy that speaks under `epoch`; nothing if one under a higher epoch has spoken.
    pub(crate) fn follow(&mut self, epoch: Epoch) -> Option<Follows> {
        match self.epoch {
            Some(known) if epoch < known => {
                self.counters.outdated += 1;
                None
            }
            Some(known) if epoch == known => Some(Follows::On),
            known => {
                self.epoch = Some(epoch);
                self.shown = None;
                self.ended = None;
                if let Some(mirror) = &mut self.mirror {
                    mirror.forget();
                }
                Some(if known.is_some() { Follows::Anew } else { Follows::On })
            }
        }
    }

    /// The game panicked over the mirrored state: there is none any more, until the node starts anew.
    pub(crate) fn mirror_failed(&mut self) {
        self.counters.faults += 1;
        self.mirror = None;
        self.shown = None;
    }

    /// What the client holds: the newest snapshot, or the tick up to which it has all frames.
    pub(crate) fn acknowledged(&self) -> Option<Tick> {
        let mirror = self.mirror.as_ref()?;
        match self.feed {
            Feed::Snapshot => mirror.newest_snapshot(),
            Feed::Frame => mirror.newest_frame(),
        }
    }

    /// Whether the frame feed cannot go on without a keyframe.
    pub(crate) fn is_out_of_step(&self) -> bool {
        self.feed == Feed::Frame
            && self.ended.is_none()
            && self.mirror.as_ref().is_some_and(|mirror| mirror.newest_frame().is_none())
    }

    pub(crate) fn mirror(&self) -> Option<&Mirror<G>> {
        self.mirror.as_ref()
    }

    pub(crate) fn shown(&self) -> Option<Tick> {
        self.shown
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    pub(crate) fn unreadable(&self) -> Option<&MirrorError> {
        self.unreadable.as_ref()
    }

    pub(crate) fn first_desync(&self) -> Option<SeenDesync> {
        self.first_desync
    }

    /// Whether the own last state is the node's; nothing if the last tick was not seen here.
    pub(crate) fn agrees(&self) -> Option<bool> {
        let (ended, mirror) = (self.ended?, self.mirror.as_ref()?);
        (self.shown == Some(ended.tick)).then(|| mirror.state_hash() == ended.final_hash)
    }

    fn take(
        &mut self,
        message: &ToClient<'_>,
        see: &mut impl FnMut(&Battle<G>),
    ) -> Result<Option<InputReport>, MirrorError> {
        match message {
            ToClient::Start(start) => self.take_start(start, see).map(|()| None),
            ToClient::Keyframe(keyframe) => self.take_keyframe(keyframe, see).map(|()| None),
            ToClient::Frame(frame) => self.take_frame(frame, see).map(|()| Some(frame.report)),
            ToClient::Snapshot(snapshot) => self.take_snapshot(snapshot, see).map(|()| Some(snapshot.report)),
            ToClient::End(end) => {
                self.take_end(end);
                Ok(None)
            }
        }
    }

    fn take_start(&mut self, start: &Start<'_>, see: &mut impl FnMut(&Battle<G>)) -> Result<(), MirrorError> {
        if self.mirror.is_some() && self.spec == start.spec {
            return Ok(());
        }
        let mirror = Mirror::start(start.spec)?;
        self.spec.clear();
        self.spec.extend_from_slice(start.spec);
        if start.tick == 0 {
            // Where the battle hides something, nothing was shown yet; inputs for the first ticks are due all the same.
            self.shown = (!mirror.battle().spec().hides()).then_some(Tick::ZERO);
            see(mirror.battle());
        }
        self.mirror = Some(mirror);
        Ok(())
    }

    fn take_keyframe(
        &mut self,
        keyframe: &Keyframe<'_>,
        see: &mut impl FnMut(&Battle<G>),
    ) -> Result<(), MirrorError> {
        let Some(mirror) = &mut self.mirror else { return Ok(()) };
        let (tick, hash) = (Tick(keyframe.tick), StateHash(keyframe.state_hash));
        if mirror.keyframe(tick, keyframe.state, hash)? {
            self.shown = Some(tick);
            self.counters.states += 1;
            see(mirror.battle());
        }
        Ok(())
    }

    fn take_frame(&mut self, frame: &Frame<'_>, see: &mut impl FnMut(&Battle<G>)) -> Result<(), MirrorError> {
        let Some(mirror) = &mut self.mirror else { return Ok(()) };
        for (tick, record) in frame.records() {
            let hash = (tick == frame.tick).then_some(StateHash(frame.state_hash));
            if mirror.frame(Tick(tick), record, hash)? {
                self.shown = Some(Tick(tick));
                self.counters.states += 1;
                see(mirror.battle());
            }
        }
        if let Some(held) = mirror.newest_frame()
            && held.0 < frame.tick
        {
            self.wishes.frames_from = Some(held.0.saturating_add(1));
        }
        Ok(())
    }

    fn take_snapshot(
        &mut self,
        message: &Snapshot<'_>,
        see: &mut impl FnMut(&Battle<G>),
    ) -> Result<(), MirrorError> {
        let Some(mirror) = &mut self.mirror else { return Ok(()) };
        let Ok(view) = u16::try_from(message.view) else {
            self.counters.misread += 1;
            return Ok(());
        };
        let shown = Shown {
            tick: Tick(message.tick),
            baseline: message.baseline.map(Tick),
            view,
            stale: message.stale,
            shared: message.shared,
            private: message.private,
            hash: StateHash(message.view_hash),
        };
        if mirror.snapshot(&shown)? {
            self.shown = Some(shown.tick);
            self.counters.states += 1;
            see(mirror.battle());
        }
        Ok(())
    }

    fn take_end(&mut self, end: &End<'_>) {
        let outcome = Outcome::parse(end.outcome);
        if outcome.is_none() && !end.outcome.is_empty() {
            self.counters.misread += 1;
        }
        self.ended = Some(Ended { tick: Tick(end.tick), final_hash: StateHash(end.state_hash), outcome });
    }

    fn note(&mut self, message: &ToClient<'_>, error: MirrorError) {
        match error {
            MirrorError::Desync { tick, here, node } => {
                self.counters.desyncs += 1;
                let tick_seen = Tick(tick);
                self.first_desync.get_or_insert(SeenDesync { tick: tick_seen, here, node });
                self.wishes.desync = Some(Desync { tick, state_hash: here.0 });
                self.wishes.keyframe = true;
            }
            error => {
                self.counters.misread += 1;
                self.wishes.keyframe = true;
                if matches!(message, ToClient::Start(_)) && self.mirror.is_none() {
                    self.unreadable = Some(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

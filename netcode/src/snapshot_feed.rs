//! Which snapshot a sender may use as a baseline, and which a receiver still holds.
//!
//! A sender uses only baselines that were acknowledged, and only while both sides still hold them: both keep the
//! last 32 ticks *sent* to this seat.

/// Snapshots that either side keeps.
pub const BASELINES_KEPT: usize = 32;

/// The sender's side for one seat: what it sent, and the newest that was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct SentSnapshots {
    /// Ticks sent, by place in the ring; `None` where nothing was sent yet.
    sent: [Option<u32>; BASELINES_KEPT],
    next: usize,
    acknowledged: Option<u32>,
}

/// The receiver's side: a ring of decoded snapshots by tick.
#[derive(Clone, Debug)]
pub struct ReceivedSnapshots<S> {
    ring: Vec<(u32, S)>,
    next: usize,
    newest: Option<u32>,
}

impl SentSnapshots {
    /// Notes that the snapshot of `tick` goes out.
    pub fn sent(&mut self, tick: u32) {
        self.sent[self.next] = Some(tick);
        self.next = (self.next + 1) % BASELINES_KEPT;
        if self.acknowledged.is_some_and(|acknowledged| !self.holds(acknowledged)) {
            self.acknowledged = None;
        }
    }

    /// The client says that it holds `tick`. Older news than what is known, and ticks that were never sent or are no
    /// longer kept, change nothing.
    pub fn acknowledge(&mut self, tick: u32) {
        if self.holds(tick) && self.acknowledged.is_none_or(|known| tick > known) {
            self.acknowledged = Some(tick);
        }
    }

    /// The tick to encode the next snapshot against; `None` asks for a whole one.
    pub fn baseline(&self) -> Option<u32> {
        self.acknowledged
    }

    /// The client began anew (reconnect, higher epoch): nothing is known of what it holds.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    fn holds(&self, tick: u32) -> bool {
        self.sent.contains(&Some(tick))
    }
}

impl<S: Default> ReceivedSnapshots<S> {
    /// An empty ring.
    pub fn new() -> Self {
        Self { ring: Vec::with_capacity(BASELINES_KEPT), next: 0, newest: None }
    }

    /// Whether a snapshot of `tick` is still news: later than what is shown.
    pub fn is_news(&self, tick: u32) -> bool {
        self.newest.is_none_or(|newest| tick > newest)
    }

    /// The snapshot of `tick`, if it is still held.
    pub fn baseline(&self, tick: u32) -> Option<&S> {
        self.ring.iter().find(|(held, _)| *held == tick).map(|(_, snapshot)| snapshot)
    }

    /// Takes a place for the snapshot of `tick` out of the ring, to be decoded into and given to `insert`; its old content
    /// is whatever stood there.
    pub fn take_place(&mut self) -> S {
        if !self.ring_is_full() {
            return S::default();
        }
        let (held, snapshot) = &mut self.ring[self.next];
        *held = u32::MAX;
        std::mem::take(snapshot)
    }

    /// Keeps a decoded snapshot; the oldest one gives way.
    pub fn insert(&mut self, tick: u32, snapshot: S) {
        if self.ring_is_full() {
            self.ring[self.next] = (tick, snapshot);
        } else {
            self.ring.push((tick, snapshot));
        }
        self.next = (self.next + 1) % BASELINES_KEPT;
        self.newest = Some(self.newest.map_or(tick, |newest| newest.max(tick)));
    }

    /// The newest tick held: what to acknowledge.
    pub fn newest(&self) -> Option<u32> {
        self.newest
    }

    /// Forgets everything (reconnect, higher epoch).
    pub fn reset(&mut self) {
        self.ring.clear();
        self.next = 0;
        self.newest = None;
    }

    fn ring_is_full(&self) -> bool {
        self.ring.len() == BASELINES_KEPT
    }
}

impl<S: Default> Default for ReceivedSnapshots<S> {
    fn default() -> Self {
        Self::new()
    }
}

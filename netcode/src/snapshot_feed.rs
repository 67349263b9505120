//! Which snapshot a sender may use as a baseline, and which a receiver still holds.
//!
//! A sender uses only baselines that were acknowledged, and only the last 32 that it sent to this seat; the receiver
//! holds the last 33 that came, so it has every baseline that can be named.

/// Snapshots that a sender may still refer to.
pub const BASELINES_KEPT: usize = 32;

/// A receiver holds one more, so that the place for the next one is never its baseline.
const PLACES: usize = BASELINES_KEPT + 1;

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
        Self { ring: Vec::with_capacity(PLACES), next: 0, newest: None }
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
        self.next = (self.next + 1) % PLACES;
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
        self.ring.len() == PLACES
    }
}

impl<S: Default> Default for ReceivedSnapshots<S> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Link, LinkConfig, seed_from_environment};
    use crate::time::Millis;

    #[test]
    fn only_what_was_sent_and_acknowledged_is_a_baseline() {
        let mut sent = SentSnapshots::default();
        assert_eq!(sent.baseline(), None);
        sent.acknowledge(5);
        assert_eq!(sent.baseline(), None, "never sent");
        sent.sent(5);
        sent.sent(6);
        assert_eq!(sent.baseline(), None, "never acknowledged");
        sent.acknowledge(6);
        sent.acknowledge(5);
        assert_eq!(sent.baseline(), Some(6), "older news change nothing");
    }

    #[test]
    fn a_baseline_is_given_up_after_32_further_snapshots() {
        let mut sent = SentSnapshots::default();
        sent.sent(0);
        sent.acknowledge(0);
        for tick in 1..32 {
            sent.sent(tick);
            assert_eq!(sent.baseline(), Some(0));
        }
        sent.sent(32);
        assert_eq!(sent.baseline(), None);
    }

    #[test]
    fn every_baseline_that_a_sender_uses_is_held_by_the_receiver() {
        let seed = seed_from_environment(29);
        let config = LinkConfig { delay_ms: 60, jitter_ms: 120, loss: 2_000, reorder: 1_000, duplicate: 500 };
        let (mut down, mut up) = (Link::new(config, seed), Link::new(config, seed + 1));
        let (mut sender, mut receiver) = (SentSnapshots::default(), ReceivedSnapshots::<u32>::new());
        let (mut out, mut deltas) = (Vec::new(), 0);
        for ms in 0..60_000 {
            let now = Millis(ms);
            if ms % 33 == 0 {
                let tick = (ms / 33) as u32;
                down.send(now, (tick, sender.baseline()), b"");
                sender.sent(tick);
            }
            while let Some((tick, baseline)) = down.receive(now, &mut out) {
                if !receiver.is_news(tick) {
                    continue;
                }
                let mut place = receiver.take_place();
                if let Some(baseline) = baseline {
                    deltas += 1;
                    assert_eq!(receiver.baseline(baseline), Some(&baseline), "SEED={seed} tick {tick}");
                }
                place.clone_from(&tick);
                receiver.insert(tick, place);
                up.send(now, tick, b"");
            }
            while let Some(tick) = up.receive(now, &mut out) {
                sender.acknowledge(tick);
            }
        }
        assert!(deltas > 800, "SEED={seed}: {deltas}");
    }
}

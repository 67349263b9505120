//! The newest tick records as bytes: what the frame feed sends, redundantly, and late joiners go on from.

use tiltyard_engine::{Record, Tick, TickRecord};

/// How many ticks are kept. A client that is further behind gets a keyframe.
pub(crate) const FRAMES_KEPT: u32 = 64;

/// The encoded records of the last [`FRAMES_KEPT`] ticks.
#[derive(Debug)]
pub(crate) struct FrameLog {
    /// The record of tick `t` lies at `t % FRAMES_KEPT`.
    slots: Vec<Vec<u8>>,
    newest: Tick,
}

/// What a record of so many seats rarely exceeds, in bytes, so that slots need not grow while a battle runs.
const fn record_bytes(seats: usize) -> usize {
    64 + 16 * seats
}

impl FrameLog {
    /// An empty log of a battle with `seats` seats.
    #[must_use]
    pub(crate) fn new(seats: usize) -> Self {
        let slots = (0..FRAMES_KEPT).map(|_| Vec::with_capacity(record_bytes(seats))).collect();
        Self { slots, newest: Tick::ZERO }
    }

    /// Adds the next tick's record and returns its bytes.
    ///
    /// # Panics
    /// If the record does not follow on the newest one.
    pub(crate) fn push<I: Record>(&mut self, record: &TickRecord<I>, previous: &TickRecord<I>) -> &[u8] {
        assert_eq!(record.tick, self.newest.next(), "records follow each other");
        self.newest = record.tick;
        let slot = &mut self.slots[(record.tick.0 % FRAMES_KEPT) as usize];
        slot.clear();
        record.encode(previous, slot);
        slot
    }

    /// The newest tick; 0 before the first record.
    #[must_use]
    pub(crate) fn newest(&self) -> Tick {
        self.newest
    }

    /// The bytes of a tick's record, while it is kept.
    #[must_use]
    pub(crate) fn get(&self, tick: Tick) -> Option<&[u8]> {
        let kept = tick.0 > 0 && tick <= self.newest && self.newest.since(tick) < FRAMES_KEPT;
        kept.then(|| &self.slots[(tick.0 % FRAMES_KEPT) as usize][..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    tiltyard_engine::record! {
        struct Step { x: u32 }
    }

    #[test]
    fn the_last_ticks_are_kept_and_no_others() {
        let mut log = FrameLog::new(2);
        let mut previous = TickRecord::<Step>::neutral(Tick::ZERO, 2);
        assert_eq!(log.get(Tick::ZERO), None);
        for tick in 1..=200 {
            let mut record = TickRecord::<Step>::neutral(Tick(tick), 2);
            record.inputs[0].input.x = tick;
            log.push(&record, &previous);
            previous = record;
        }
        assert_eq!(log.newest(), Tick(200));
        assert!(log.get(Tick(201)).is_none());
        assert!(log.get(Tick(200 - FRAMES_KEPT)).is_none());
        let mut chain = TickRecord::<Step>::neutral(Tick(150), 2);
        chain.inputs[0].input.x = 150;
        for tick in 151..=200 {
            chain.advance(log.get(Tick(tick)).unwrap()).unwrap();
            assert_eq!(chain.inputs[0].input.x, tick);
        }
    }
}

//! A hashed timing wheel: deadlines of thousands of connections at a constant cost each.

use crate::time::Millis;

/// Milliseconds of one bucket.
const GRAIN_MS: u64 = 4;
const BUCKETS: u64 = 512;

/// How far ahead the wheel sees; a later deadline fires here, and its owner arms it again.
pub(crate) const HORIZON_MS: u64 = GRAIN_MS * (BUCKETS - 2);

/// No entry.
const NONE: u32 = u32::MAX;

/// Slots by deadline. A slot may stand in it several times: the owner knows which of its deadlines counts.
///
/// A bucket is a list through `entries`, so that memory grows with the number of entries at once and never with how
/// they happen to fall into buckets.
pub(crate) struct Wheel {
    heads: Vec<u32>,
    entries: Vec<Entry>,
    free: u32,
    /// The first bucket that has not been emptied, counted from time 0.
    position: u64,
    armed: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    slot: u32,
    next: u32,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { heads: vec![NONE; 512], entries: Vec::new(), free: NONE, position: 0, armed: 0 }
    }

    /// Arms `slot` for `deadline`, which is no further than `HORIZON_MS` from `now`.
    pub(crate) fn arm(&mut self, now: Millis, slot: u32, deadline: Millis) {
        if self.armed == 0 {
            self.position = self.position.max(now.0 / GRAIN_MS);
        }
        let last = self.position + BUCKETS - 1;
        let bucket = index(deadline.0.div_ceil(GRAIN_MS).clamp(self.position, last));
        let entry = Entry { slot, next: self.heads[bucket] };
        let at = self.free;
        if at == NONE {
            self.heads[bucket] = u32::try_from(self.entries.len()).expect("far fewer than 2^32 deadlines");
            self.entries.push(entry);
        } else {
            self.free = self.entries[at as usize].next;
            self.entries[at as usize] = entry;
            self.heads[bucket] = at;
        }
        self.armed += 1;
    }

    /// Moves every slot whose deadline has come to `out`.
    pub(crate) fn expire(&mut self, now: Millis, out: &mut Vec<u32>) {
        let end = now.0 / GRAIN_MS + 1;
        let turns = end.saturating_sub(self.position).min(BUCKETS);
        for bucket in self.position..self.position + turns {
            let mut at = std::mem::replace(&mut self.heads[index(bucket)], NONE);
            while at != NONE {
                let Entry { slot, next } = self.entries[at as usize];
                out.push(slot);
                self.entries[at as usize].next = self.free;
                self.free = at;
                self.armed -= 1;
                at = next;
            }
        }
        self.position = self.position.max(end);
    }

    /// When the next bucket is due.
    pub(crate) fn next(&self) -> Option<Millis> {
        if self.armed == 0 {
            return None;
        }
        (self.position..self.position + BUCKETS)
            .find(|bucket| self.heads[index(*bucket)] != NONE)
            .map(|bucket| Millis(bucket * GRAIN_MS))
    }
}

fn index(bucket: u64) -> usize {
    // Below 512, so the cast loses nothing.
    (bucket % BUCKETS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_fires_not_before_its_time_and_at_most_a_grain_late() {
        for deadline in [0_u64, 1, 3, 4, 5, 500, HORIZON_MS] {
            let mut wheel = Wheel::new();
            wheel.arm(Millis(1_000_000), 7, Millis(1_000_000 + deadline));
            let mut out = Vec::new();
            let fired = (1_000_000..1_010_000).find(|&ms| {
                wheel.expire(Millis(ms), &mut out);
                !out.is_empty()
            });
            let late = fired.expect("it fires") - (1_000_000 + deadline);
            assert!(late <= GRAIN_MS, "{deadline} fired {late} late");
            assert_eq!((out.as_slice(), wheel.next()), ([7].as_slice(), None));
        }
    }

    #[test]
    fn a_long_sleep_fires_everything_once() {
        let mut wheel = Wheel::new();
        for slot in 0..1_000 {
            wheel.arm(Millis(0), slot, Millis(u64::from(slot) * 2));
        }
        let mut out = Vec::new();
        wheel.expire(Millis(3_600_000), &mut out);
        out.sort_unstable();
        assert!(out.iter().copied().eq(0..1_000));
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn next_is_when_expire_will_fire() {
        let mut wheel = Wheel::new();
        wheel.arm(Millis(10), 1, Millis(103));
        let next = wheel.next().unwrap();
        assert_eq!(next, Millis(104));
        let mut out = Vec::new();
        wheel.expire(next, &mut out);
        assert_eq!(out, [1]);
    }
}

//! Timers: many per actor, each with a key; cancelled by key or alone.
//!
//! They lie inline in the actor's row, so they are saved, hashed and restored like all else. Who needs more than
//! [`TIMERS_MAX`] at once makes timers actors of their own.

use crate::Tick;

/// The most timers an actor has at once. Starting one more is refused.
pub const TIMERS_MAX: usize = 8;

crate::record! {
    /// The timers of one actor, in the order in which they were started.
    pub struct Timers {
        due: [Tick; 8],
        key: [u16; 8],
        serial: [u16; 8],
        count: u16,
        next_serial: u16,
    }
}

/// Names one timer of an actor. Serial numbers come again after 65,536 starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u16);

/// A timer whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// What it was started for.
    pub key: u16,
    /// Which one it was.
    pub timer: TimerId,
    /// When it was due.
    pub at: Tick,
}

impl Timers {
    /// Starts a timer that is due at `at`; nothing if there are [`TIMERS_MAX`] already.
    pub fn start(&mut self, key: u16, at: Tick) -> Option<TimerId> {
        let place = self.len();
        if place == TIMERS_MAX {
            return None;
        }
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        (self.due[place], self.key[place], self.serial[place]) = (at, key, serial);
        self.count += 1;
        Some(TimerId(serial))
    }

    /// Cancels one timer. Whether it was still running. Costs a walk over the timers.
    pub fn cancel(&mut self, timer: TimerId) -> bool {
        self.retain(|_, serial| serial != timer.0) > 0
    }

    /// Cancels all timers of a key, and tells how many there were. Costs a walk over the timers.
    pub fn cancel_key(&mut self, key: u16) -> usize {
        self.retain(|timer_key, _| timer_key != key)
    }

    /// Takes out the next timer that is due at `now`: the earliest first, of equally early ones the one that was
    /// started first. Costs a walk over the timers.
    pub fn pop_due(&mut self, now: Tick) -> Option<Due> {
        let running = 0..self.len();
        let place = running.filter(|place| self.due[*place] <= now).min_by_key(|place| self.due[*place])?;
        let due = Due { key: self.key[place], timer: TimerId(self.serial[place]), at: self.due[place] };
        self.cancel(due.timer);
        Some(due)
    }

    /// How many timers run.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count).min(TIMERS_MAX)
    }

    /// Whether no timer runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many timers of a key run. Costs a walk over the timers.
    #[must_use]
    pub fn running(&self, key: u16) -> usize {
        self.key[..self.len()].iter().filter(|timer_key| **timer_key == key).count()
    }

    /// Keeps the timers whose key and serial number pass, in their order; unused places are zero, so that equal
    /// timers are equal bytes. Tells how many went.
    fn retain(&mut self, mut keep: impl FnMut(u16, u16) -> bool) -> usize {
        let before = *self;
        let mut after = Self { next_serial: self.next_serial, ..Self::default() };
        for place in 0..before.len() {
            if keep(before.key[place], before.serial[place]) {
                let to = after.len();
                after.due[to] = before.due[place];
                after.key[to] = before.key[place];
                after.serial[to] = before.serial[place];
                after.count += 1;
            }
        }
        *self = after;
        before.len() - after.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POISON: u16 = 1;
    const SHIELD: u16 = 2;

    #[test]
    fn timers_come_due_in_order_of_time_then_of_start() {
        let mut timers = Timers::default();
        let late = timers.start(POISON, Tick(9)).unwrap();
        let first = timers.start(SHIELD, Tick(5)).unwrap();
        let second = timers.start(POISON, Tick(5)).unwrap();
        assert_eq!(timers.pop_due(Tick(4)), None);
        assert_eq!(timers.pop_due(Tick(9)), Some(Due { key: SHIELD, timer: first, at: Tick(5) }));
        assert_eq!(timers.pop_due(Tick(9)).unwrap().timer, second);
        assert_eq!(timers.pop_due(Tick(9)).unwrap().timer, late);
        assert_eq!(timers.pop_due(Tick(9)), None);
        assert!(timers.is_empty());
    }

    #[test]
    fn a_key_cancels_all_its_timers_and_an_id_just_one() {
        let mut timers = Timers::default();
        let poison = timers.start(POISON, Tick(3)).unwrap();
        timers.start(SHIELD, Tick(4));
        timers.start(POISON, Tick(5));
        assert_eq!(timers.running(POISON), 2);
        assert!(timers.cancel(poison));
        assert!(!timers.cancel(poison));
        timers.start(POISON, Tick(6));
        assert_eq!(timers.cancel_key(POISON), 2);
        assert_eq!((timers.len(), timers.running(SHIELD)), (1, 1));
    }

    #[test]
    fn the_timer_above_the_bound_is_refused() {
        let mut timers = Timers::default();
        assert!((0..TIMERS_MAX).all(|_| timers.start(POISON, Tick(3)).is_some()));
        assert_eq!(timers.start(POISON, Tick(3)), None);
        timers.pop_due(Tick(3));
        assert!(timers.start(POISON, Tick(3)).is_some());
    }

    #[test]
    fn cancelled_timers_leave_no_trace_in_the_bytes() {
        let mut used = Timers::default();
        used.start(POISON, Tick(3));
        used.start(SHIELD, Tick(4));
        used.cancel_key(POISON);
        used.cancel_key(SHIELD);
        assert_eq!(used, Timers { next_serial: 2, ..Timers::default() });
    }
}

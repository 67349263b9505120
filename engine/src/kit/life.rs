//! Health, death and return.

use crate::Tick;

crate::record! {
    /// Whether an actor lives, how well, and for whom it fights. The default is dead and never returns.
    pub struct Life {
        /// What is left; above 0 while it lives.
        pub health: i16,
        /// The side it fights for.
        pub team: u8,
        /// 1 while it lives, else 0.
        pub alive: u8,
        /// When a dead one returns; 0 for never. Meaningless while it lives.
        pub returns_at: Tick,
    }
}

impl Life {
    /// A life that begins.
    #[must_use]
    pub fn new(health: i16, team: u8) -> Self {
        Self { health, team, alive: 1, returns_at: Tick::ZERO }
    }

    /// Whether it lives.
    #[inline]
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive != 0
    }

    /// Takes damage; whoever falls to 0 dies and returns at `returns_at`. The dead take none.
    ///
    /// Tells what happened. Damage below 0 heals without bound: the caller knows how much is allowed.
    #[inline]
    pub fn hurt(&mut self, damage: i16, returns_at: Tick) -> Hurt {
        if !self.is_alive() {
            return Hurt::Dead;
        }
        let left = self.health.saturating_sub(damage);
        if left > 0 {
            self.health = left;
            return Hurt::Lives;
        }
        *self = Self { health: 0, alive: 0, returns_at, ..*self };
        Hurt::Died
    }

    /// Whether a dead one is to return at `now`.
    #[inline]
    #[must_use]
    pub fn is_due(&self, now: Tick) -> bool {
        (self.alive == 0) & (self.returns_at != Tick::ZERO) & (now >= self.returns_at)
    }

    /// Makes it live again.
    pub fn revive(&mut self, health: i16) {
        *self = Self::new(health, self.team);
    }
}

/// What damage did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hurt {
    /// It lives on.
    Lives,
    /// It died of this.
    Died,
    /// It was dead already.
    Dead,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_point_decides_and_one_dies_once() {
        let mut life = Life::new(30, 1);
        assert_eq!(life.hurt(29, Tick(90)), Hurt::Lives);
        assert_eq!(life.hurt(1, Tick(90)), Hurt::Died);
        assert_eq!(life.hurt(i16::MAX, Tick(95)), Hurt::Dead);
        assert_eq!(life, Life { health: 0, team: 1, alive: 0, returns_at: Tick(90) });
    }

    #[test]
    fn the_dead_return_at_their_time() {
        let mut life = Life::new(30, 1);
        assert!(!life.is_due(Tick(1000)));
        life.hurt(i16::MAX, Tick(90));
        assert!(!life.is_due(Tick(89)));
        assert!(life.is_due(Tick(90)));
        life.revive(50);
        assert_eq!(life, Life::new(50, 1));
        assert!(!Life::default().is_due(Tick(5)));
    }
}

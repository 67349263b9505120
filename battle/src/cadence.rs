//! Cadence: of how many ticks a client is told, by what its link loses. A link that loses much is a full one more often
//! than not, and what is left out makes room for the rest; both feeds say in the next message what was left out.
//!
//! ```text
//!               at 30 % loss             at 55 %
//! every tick <----------------> every second <----------------> every third
//!             3 s below 22 %               3 s below 45 %
//! ```
//! 30 and not 25: of a link that loses 20 %, smoothed over four seconds at 30 Hz, one second in a thousand looks like
//! that, and up to there nobody's picture of the battle shall be older for it.

use tiltyard_engine::Tick;

/// Losses, in thousandths, from which on a client is told of every second tick, and of every third.
const SLOWER_AT: [u16; 2] = [300, 550];

/// Losses, in thousandths, below which it comes back from there.
const FASTER_BELOW: [u16; 2] = [220, 450];

/// Seconds in a row that it takes.
const CLEAN_SECONDS: u8 = 3;

/// How often one client is fed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cadence {
    /// Ticks that are left out between two.
    left_out: u8,
    clean_seconds: u8,
}

impl Cadence {
    /// Takes, once a second, the share of packets to the client that got lost, in thousandths.
    pub(crate) fn note_second(&mut self, loss_permille: u16) {
        let left_out = usize::from(self.left_out);
        if SLOWER_AT.get(left_out).is_some_and(|at| loss_permille >= *at) {
            self.left_out += 1;
            self.clean_seconds = 0;
            return;
        }
        let below = left_out.checked_sub(1).and_then(|index| FASTER_BELOW.get(index));
        self.clean_seconds = match below {
            Some(below) if loss_permille < *below => self.clean_seconds + 1,
            _ => 0,
        };
        if self.clean_seconds == CLEAN_SECONDS {
            self.left_out -= 1;
            self.clean_seconds = 0;
        }
    }

    /// Whether the client is told of this tick.
    pub(crate) fn is_due(&self, tick: Tick) -> bool {
        tick.0.is_multiple_of(u32::from(self.left_out) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 6 ticks are told after each second.
    fn told(cadence: &mut Cadence, losses: &[u16]) -> Vec<usize> {
        let told = |cadence: &Cadence| (0..6).filter(|tick| cadence.is_due(Tick(*tick))).count();
        losses
            .iter()
            .map(|loss| {
                cadence.note_second(*loss);
                told(cadence)
            })
            .collect()
    }

    #[test]
    fn up_to_the_first_edge_every_tick_is_told_and_from_there_on_fewer() {
        let mut cadence = Cadence::default();
        assert_eq!(told(&mut cadence, &[0, 250, 299, 300, 549, 550, 1000, 1000]), [6, 6, 6, 3, 3, 2, 2, 2]);
        // It takes a second for each step down.
        assert_eq!(told(&mut Cadence::default(), &[1000, 1000]), [3, 2]);
    }

    #[test]
    fn a_step_back_takes_clean_seconds_in_a_row() {
        let mut cadence = Cadence::default();
        told(&mut cadence, &[600, 600]);
        assert_eq!(told(&mut cadence, &[449, 449, 450, 449, 449, 449]), [2, 2, 2, 2, 2, 3]);
        assert_eq!(told(&mut cadence, &[219, 219, 220, 219, 219, 219]), [3, 3, 3, 3, 3, 6]);
    }

    #[test]
    fn losses_between_the_edges_change_nothing() {
        for steps in 0..=2 {
            let mut cadence = Cadence::default();
            let before = told(&mut cadence, &[1000, 1000][..steps]).last().copied().unwrap_or(6);
            let between = [[0, 299], [220, 549], [450, 1000]][steps];
            let losses: Vec<u16> = (0..20).map(|second| between[second % 2]).collect();
            assert!(told(&mut cadence, &losses).iter().all(|count| *count == before), "{steps}");
        }
    }
}

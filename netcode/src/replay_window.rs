//! Which packet numbers were already seen: the last 1,024 as a ring of bits, everything older refused.

/// Numbers behind the newest that are still told apart.
pub(crate) const WINDOW: u64 = 1_024;

const WORDS: usize = 16;

/// A sliding window over packet numbers. Test before opening a packet, mark after it opened: an attacker who
/// cannot seal moves nothing.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    /// One more than the highest number marked; 0 when nothing is.
    next: u64,
    bits: [u64; WORDS],
}

impl ReplayWindow {
    /// The number after the highest one marked.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether `number` may be fresh: not marked, and not older than the window.
    pub fn is_fresh(&self, number: u64) -> bool {
        if number >= self.next {
            return true;
        }
        self.next - number <= WINDOW && self.bits[word(number)] & bit(number) == 0
    }

    /// Marks `number` as seen.
    ///
    /// # Panics
    /// When the number is not fresh; ask `is_fresh` first.
    pub fn mark(&mut self, number: u64) {
        assert!(self.is_fresh(number), "packet {number} was seen before");
        if number >= self.next {
            if number - self.next >= WINDOW {
                self.bits = [0; WORDS];
            } else {
                for skipped in self.next..number {
                    self.bits[word(skipped)] &= !bit(skipped);
                }
            }
            self.next = number.saturating_add(1);
        }
        self.bits[word(number)] |= bit(number);
    }
}

fn word(number: u64) -> usize {
    // Below 16 by the mask, so the cast loses nothing.
    ((number / 64) & (WORDS as u64 - 1)) as usize
}

fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_fresh_once() {
        let mut window = ReplayWindow::default();
        for number in [0, 1, 5, 3, 1_023, 1_024, 70_000, 69_999] {
            assert!(window.is_fresh(number), "{number}");
            window.mark(number);
            assert!(!window.is_fresh(number), "{number}");
        }
    }

    #[test]
    fn the_window_ends_after_1024_numbers() {
        let mut window = ReplayWindow::default();
        window.mark(5_000);
        assert!(window.is_fresh(5_001 - WINDOW));
        assert!(!window.is_fresh(5_000 - WINDOW));
    }

    #[test]
    fn it_agrees_with_a_set_over_random_numbers() {
        let seed = crate::link::seed_from_environment(1);
        let mut random = crate::link::Random::new(seed);
        let (mut window, mut seen) = (ReplayWindow::default(), std::collections::BTreeSet::new());
        let mut newest = 0_u64;
        for _ in 0..200_000 {
            let near = newest.saturating_sub(1_200) + random.below(1_300);
            let number = if random.below(1_000) == 0 { newest + random.below(3_000) } else { near };
            let expected = !seen.contains(&number) && (number + WINDOW > newest || seen.is_empty());
            assert_eq!(window.is_fresh(number), expected, "SEED={seed} number {number} newest {newest}");
            if expected {
                window.mark(number);
                seen.insert(number);
                newest = newest.max(number);
            }
        }
    }

    #[test]
    fn extreme_numbers_do_not_panic() {
        let mut window = ReplayWindow::default();
        for number in [0, 1 << 63, u64::MAX - 255, u64::MAX - 1] {
            assert!(window.is_fresh(number));
            window.mark(number);
        }
        assert!(!window.is_fresh(0));
    }
}

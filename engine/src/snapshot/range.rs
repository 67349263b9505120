//! Range coding of yes-or-no questions: the more expected an answer is, the fewer bits it takes.
//!
//! Writer and reader count alike how often a question was answered with yes, so that nothing but the answers is sent. A
//! message is whole words of 32 bits, the highest byte first: the shortest number of the interval that the answers have
//! narrowed down. Its lowest 32 bits are 0 and not sent.

/// How often a question was answered with yes lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    /// The chance of a yes in 4,096ths, never 0 or 4,096.
    yes: u16,
    /// How fast it follows the next answer: a share of 2⁻ⁿ.
    pace: u16,
}

/// The slowest pace: the last 16 answers or so count.
const PACE_MAX: u16 = 4;

impl Chance {
    /// A question that was not asked yet.
    pub(super) const EVEN: Self = Self { yes: 2048, pace: 1 };

    #[inline(always)]
    fn part(self, range: u64) -> u64 {
        (range >> 12) * u64::from(self.yes)
    }

    #[inline(always)]
    fn see(&mut self, yes: bool) {
        let up = (4096 - self.yes) >> self.pace;
        let down = self.yes >> self.pace;
        self.yes = if yes { self.yes + up } else { self.yes - down };
        self.pace = (self.pace + 1).min(PACE_MAX);
    }
}

/// Ranges below this are widened by 32 bits.
const NARROW: u64 = 1 << 32;

/// Appends answers to a byte buffer.
pub(super) struct RangeWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    low: u64,
    range: u64,
}

impl<'a> RangeWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { start: out.len(), out, low: 0, range: u64::MAX }
    }

    /// Answers a question.
    #[inline(always)]
    pub(super) fn put(&mut self, chance: &mut Chance, yes: bool) {
        let part = chance.part(self.range);
        let (skipped, left) = if yes { (0, part) } else { (part, self.range - part) };
        self.range = left;
        self.advance(skipped);
        chance.see(yes);
    }

    /// Writes the lowest `count` bits of `value`, at most 64, as they are.
    #[inline]
    pub(super) fn put_bits(&mut self, value: u64, count: u32) {
        if count > 32 {
            self.put_word(value >> 32, count - 32);
            self.put_word(value & 0xffff_ffff, 32);
        } else {
            self.put_word(value, count);
        }
    }

    #[inline(always)]
    fn put_word(&mut self, value: u64, count: u32) {
        self.range >>= count;
        self.advance((value & ((1 << count) - 1)) * self.range);
    }

    #[inline(always)]
    fn advance(&mut self, skipped: u64) {
        let (low, carried) = self.low.overflowing_add(skipped);
        self.low = low;
        if carried {
            self.carry();
        }
        if self.range < NARROW {
            self.out.extend_from_slice(&((self.low >> 32) as u32).to_be_bytes());
            self.low <<= 32;
            self.range <<= 32;
        }
    }

    #[cold]
    fn carry(&mut self) {
        for byte in self.out[self.start..].iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    /// Writes what is still held back.
    pub(super) fn finish(mut self) {
        // The next multiple of 2³² lies within the range, which is never narrower.
        self.range = NARROW - 1;
        self.advance(NARROW - 1);
    }
}

/// Reads answers of a stranger.
pub(super) struct RangeReader<'a> {
    bytes: &'a [u8],
    /// Where within the range the message lies.
    code: u64,
    range: u64,
    /// Whether the word after the end was used.
    ended: bool,
}

/// The message ended too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RangeEnd;

impl<'a> RangeReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, RangeEnd> {
        let mut reader = Self { bytes, code: 0, range: u64::MAX, ended: false };
        let high = reader.word()?;
        reader.code = high << 32 | reader.word()?;
        Ok(reader)
    }

    /// The answer to a question.
    #[inline(always)]
    pub(super) fn take(&mut self, chance: &mut Chance) -> Result<bool, RangeEnd> {
        let part = chance.part(self.range);
        let yes = self.code < part;
        if yes {
            self.range = part;
        } else {
            self.code -= part;
            self.range -= part;
        }
        chance.see(yes);
        self.widen()?;
        Ok(yes)
    }

    /// The next `count` bits, at most 64.
    #[inline]
    pub(super) fn take_bits(&mut self, count: u32) -> Result<u64, RangeEnd> {
        if count > 32 {
            let high = self.take_word(count - 32)?;
            return Ok(high << 32 | self.take_word(32)?);
        }
        self.take_word(count)
    }

    #[inline]
    fn take_word(&mut self, count: u32) -> Result<u64, RangeEnd> {
        self.range >>= count;
        // What a division leaves over belongs to nobody; only a stranger's message points there.
        let value = (self.code / self.range).min((1 << count) - 1);
        self.code -= value * self.range;
        self.widen()?;
        Ok(value)
    }

    #[inline(always)]
    fn widen(&mut self) -> Result<(), RangeEnd> {
        if self.range < NARROW {
            self.code = self.code << 32 | self.word()?;
            self.range <<= 32;
        }
        Ok(())
    }

    fn word(&mut self) -> Result<u64, RangeEnd> {
        if let Some((word, rest)) = self.bytes.split_first_chunk::<4>() {
            self.bytes = rest;
            return Ok(u64::from(u32::from_be_bytes(*word)));
        }
        if self.ended || !self.bytes.is_empty() {
            return Err(RangeEnd);
        }
        self.ended = true;
        Ok(0)
    }

    /// Whether the message ends here, as a writer ends it.
    pub(super) fn is_done(&self) -> bool {
        self.bytes.is_empty() && self.ended && self.code < NARROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn what_was_written_is_read_and_nothing_is_left() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed, 0, 0, 0);
            let count = rng.below(600);
            // From nearly always yes to nearly never, and both, which carries through long runs of ones.
            let rare = [1, 2, 3, 50, 1000][rng.below(5) as usize];
            let asked: Vec<(usize, u32, u64)> = (0..count)
                .map(|_| {
                    let bits = rng.below(66).saturating_sub(1);
                    let value = if rng.below(3) == 0 { u64::MAX } else { rng.next_u64() };
                    let value = if bits == 0 { u64::from(rng.below(rare) == 0) } else { value };
                    (
                        rng.below(4) as usize,
                        bits,
                        if bits == 0 { value } else { value & (u64::MAX >> (64 - bits)) },
                    )
                })
                .collect();
            let (mut out, mut chances) = (vec![0xff; 3], [Chance::EVEN; 4]);
            let mut writer = RangeWriter::new(&mut out);
            for &(chance, bits, value) in &asked {
                match bits {
                    0 => writer.put(&mut chances[chance], value == 1),
                    _ => writer.put_bits(value, bits),
                }
            }
            writer.finish();
            assert_eq!(out[..3], [0xff; 3]);
            let mut chances = [Chance::EVEN; 4];
            let mut reader = RangeReader::new(&out[3..]).unwrap();
            for &(chance, bits, value) in &asked {
                let read = match bits {
                    0 => u64::from(reader.take(&mut chances[chance]).unwrap()),
                    _ => reader.take_bits(bits).unwrap(),
                };
                assert_eq!(read, value, "seed {seed}");
            }
            assert!(reader.is_done(), "seed {seed}");
        }
    }

    #[test]
    fn what_is_always_answered_alike_costs_next_to_nothing() {
        for yes in [false, true] {
            let (mut out, mut chance) = (Vec::new(), Chance::EVEN);
            let mut writer = RangeWriter::new(&mut out);
            (0..4000).for_each(|_| writer.put(&mut chance, yes));
            writer.finish();
            assert!(out.len() <= 8, "{}", out.len());
        }
    }
}

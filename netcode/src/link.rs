//! A bad network in a box: one direction of a link that delays, jitters, loses, reorders and duplicates, by seed.
//! It has no clock: whoever uses it pushes datagrams in and takes them out when their time has come. Tests and
//! simulations do so in virtual time, test clients on real sockets in real time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Millis;

/// Datagrams under way at once at most, most of a minute of a player's traffic; what comes on top is dropped and
/// counted as `crowded_out`.
pub const UNDER_WAY_MAX: usize = 4_096;

/// How bad a link is. Shares are in hundredths of a percent: 10,000 is always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkConfig {
    /// Time that every datagram takes, milliseconds.
    pub delay_ms: u64,
    /// At most so much more, drawn evenly, milliseconds. More than the gap between datagrams reorders them.
    pub jitter_ms: u64,
    /// Datagrams lost.
    pub loss: u32,
    /// Datagrams held back by a further delay and jitter, so that later ones overtake.
    pub reorder: u32,
    /// Datagrams that arrive twice.
    pub duplicate: u32,
}

/// What a link did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Datagrams handed in.
    pub sent: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Lost.
    pub lost: u64,
    /// Held back.
    pub held_back: u64,
    /// Doubled.
    pub duplicated: u64,
    /// Dropped because [`UNDER_WAY_MAX`] were under way.
    pub crowded_out: u64,
}

impl std::ops::Add for LinkStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            bytes: self.bytes + other.bytes,
            lost: self.lost + other.lost,
            held_back: self.held_back + other.held_back,
            duplicated: self.duplicated + other.duplicated,
            crowded_out: self.crowded_out + other.crowded_out,
        }
    }
}

/// One direction of a link; `T` travels with each datagram (addresses, for instance).
#[derive(Debug)]
pub struct Link<T> {
    config: LinkConfig,
    random: Random,
    order: BinaryHeap<Reverse<(Millis, u64, usize)>>,
    parcels: Vec<(Option<T>, Vec<u8>)>,
    free: Vec<usize>,
    ordinal: u64,
    stats: LinkStats,
}

/// A small portable generator for tests and simulations (`SplitMix64`); nothing secret comes of it.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl<T: Clone> Link<T> {
    /// An empty link.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            random: Random::new(seed),
            order: BinaryHeap::new(),
            parcels: Vec::new(),
            free: Vec::new(),
            ordinal: 0,
            stats: LinkStats::default(),
        }
    }

    /// Changes how bad the link is, for datagrams from now on.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// Hands a datagram in.
    pub fn send(&mut self, now: Millis, label: T, datagram: &[u8]) {
        self.stats.sent += 1;
        self.stats.bytes += datagram.len() as u64;
        if self.random.is_hit(self.config.loss) {
            self.stats.lost += 1;
            return;
        }
        if self.random.is_hit(self.config.duplicate) {
            self.stats.duplicated += 1;
            self.put(now, label.clone(), datagram);
        }
        self.put(now, label, datagram);
    }

    /// Takes out the next datagram whose time has come: its bytes in `out` (what was in it is gone).
    pub fn receive(&mut self, now: Millis, out: &mut Vec<u8>) -> Option<T> {
        let &Reverse((at, _, index)) = self.order.peek()?;
        if at > now {
            return None;
        }
        self.order.pop();
        let (label, bytes) = &mut self.parcels[index];
        out.clear();
        out.extend_from_slice(bytes);
        self.free.push(index);
        label.take()
    }

    /// When the next datagram arrives.
    pub fn next_arrival(&self) -> Option<Millis> {
        self.order.peek().map(|Reverse((at, _, _))| *at)
    }

    /// What the link did so far.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    fn put(&mut self, now: Millis, label: T, datagram: &[u8]) {
        if self.order.len() >= UNDER_WAY_MAX {
            self.stats.crowded_out += 1;
            return;
        }
        let mut delay = self.config.delay_ms + self.random.below(self.config.jitter_ms + 1);
        if self.random.is_hit(self.config.reorder) {
            self.stats.held_back += 1;
            delay += self.config.delay_ms.max(20) + self.random.below(self.config.jitter_ms + 1);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.parcels.push((None, Vec::new()));
            self.parcels.len() - 1
        });
        let (place, bytes) = &mut self.parcels[index];
        *place = Some(label);
        bytes.clear();
        bytes.extend_from_slice(datagram);
        self.order.push(Reverse((now + delay, self.ordinal, index)));
        self.ordinal += 1;
    }
}

impl Random {
    /// A generator that gives the same numbers for the same seed, everywhere.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The high half of the product; the bias is below 2^-40 for the ends that tests use.
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// Whether something with a share of `hundredths` of a percent happens.
    pub fn is_hit(&mut self, hundredths: u32) -> bool {
        self.below(10_000) < u64::from(hundredths)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The seed of a randomised test: the variable `SEED` if it is set, else `default`. Print it when the test fails.
pub fn seed_from_environment(default: u64) -> u64 {
    std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(config: LinkConfig, seed: u64) -> Vec<(u64, u32)> {
        let mut link = Link::new(config, seed);
        let (mut out, mut seen) = (Vec::new(), Vec::new());
        for ms in 0..3_000 {
            if ms < 1_000 {
                link.send(Millis(ms), ms as u32, b"x");
            }
            while let Some(label) = link.receive(Millis(ms), &mut out) {
                assert_eq!(out, b"x");
                seen.push((ms, label));
            }
        }
        assert_eq!(link.next_arrival(), None);
        seen
    }

    #[test]
    fn a_clean_link_only_delays() {
        let config = LinkConfig { delay_ms: 50, ..LinkConfig::default() };
        assert!(arrivals(config, 1).iter().copied().eq((0..1_000).map(|ms| (u64::from(ms) + 50, ms))));
    }

    #[test]
    fn a_crowded_link_loses_what_is_too_much_and_counts_it() {
        let mut link = Link::new(LinkConfig { delay_ms: 1, ..LinkConfig::default() }, 1);
        for number in 0..UNDER_WAY_MAX + 2 {
            link.send(Millis(0), number, b"x");
        }
        assert_eq!((link.stats().crowded_out, link.stats().lost), (2, 0));
        let (mut out, mut arrived) = (Vec::new(), 0);
        while link.receive(Millis(1), &mut out).is_some() {
            arrived += 1;
        }
        assert_eq!(arrived, UNDER_WAY_MAX);
        link.send(Millis(1), 0, b"x");
        assert_eq!((link.stats().crowded_out, link.next_arrival()), (2, Some(Millis(2))));
    }

    #[test]
    fn the_shares_are_kept_and_a_seed_repeats_itself() {
        let config = LinkConfig { delay_ms: 30, jitter_ms: 20, loss: 1_000, reorder: 500, duplicate: 500 };
        let seen = arrivals(config, 7);
        assert_eq!(seen, arrivals(config, 7));
        assert_ne!(seen, arrivals(config, 8));
        assert!((870..=1_010).contains(&seen.len()), "{}", seen.len());
        assert!(!seen.is_sorted_by_key(|(_, label)| *label));
    }
}

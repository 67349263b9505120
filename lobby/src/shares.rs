//! What one address may ask of the house, however many guests it makes itself into.
//!
//! Guests are free, so limits by player hold nobody. For each kind of wish an address has a bucket that is refilled
//! by so many a minute and holds two minutes' worth. The buckets of an address are forgotten once they are full
//! again, which is the same as never having been used; so at most two minutes of addresses are remembered. When
//! even those are too many, the least used are forgotten: whoever wants his own empty bucket forgotten needs tens
//! of thousands of further addresses and has to use each of them more than that one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::GateLimits;

/// Most addresses remembered; for a further one the least used eighth is forgotten.
const ORIGINS_MAX: usize = 65_536;
/// What a bucket holds: the wishes of so much time.
const BUCKET: Duration = Duration::from_secs(120);

/// Who counts as one address: an IPv4 address, or the 64-bit network that one IPv6 customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            // The first network of IPv6 has the loopback address, which must not become another one.
            IpAddr::V6(address) if !address.is_loopback() => {
                IpAddr::V6((address.to_bits() >> 64 << 64).into())
            }
            other => other,
        })
    }

    pub(crate) fn address(self) -> IpAddr {
        self.0
    }

    pub(crate) fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }
}

/// What is limited by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    Login,
    FreshBattle,
    Ticket,
}

impl Wish {
    /// The wish as other lobbies are told of it.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Login => 0,
            Self::FreshBattle => 1,
            Self::Ticket => 2,
        }
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        [Self::Login, Self::FreshBattle, Self::Ticket].into_iter().find(|wish| wish.number() == number)
    }
}

/// The share of an address.
#[derive(Debug)]
struct Share {
    /// For each kind of wish, when its bucket is full again.
    full_at: [Instant; 3],
    /// Players who got a fresh battle; some of them may have ended.
    fresh: Vec<u64>,
}

/// The shares of all addresses.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    by_origin: BTreeMap<Origin, Share>,
}

impl Shares {
    /// Takes one wish out of a bucket.
    ///
    /// # Errors
    /// It is empty for so long.
    pub(crate) fn take(
        &mut self,
        limits: &GateLimits,
        origin: Origin,
        wish: Wish,
        now: Instant,
    ) -> Result<(), Duration> {
        if !limits.hold_for(origin) {
            return Ok(());
        }
        let (index, per_minute) = match wish {
            Wish::Login => (0, limits.logins_per_minute),
            Wish::FreshBattle => (1, limits.fresh_battles_per_minute),
            Wish::Ticket => (2, limits.tickets_per_minute),
        };
        let full_at = &mut self.share(origin, now).full_at[index];
        let then = (*full_at).max(now) + Duration::from_secs(60) / per_minute.max(1);
        match then.saturating_duration_since(now + BUCKET) {
            Duration::ZERO => {
                *full_at = then;
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// Takes what another lobby let an address have; never more than all that a bucket holds.
    pub(crate) fn take_elsewhere(
        &mut self,
        limits: &GateLimits,
        origin: Origin,
        wish: Wish,
        count: u32,
        now: Instant,
    ) {
        for _ in 0..count {
            if self.take(limits, origin, wish, now).is_err() {
                return;
            }
        }
    }

    /// Players of an address who got a fresh battle, as far as is known here.
    pub(crate) fn fresh(&self, origin: Origin) -> Vec<u64> {
        self.by_origin.get(&origin).map(|share| share.fresh.clone()).unwrap_or_default()
    }

    /// Notes that these players have no fresh battle any more.
    pub(crate) fn end_fresh(&mut self, origin: Origin, ended: &[u64]) {
        if let Some(share) = self.by_origin.get_mut(&origin) {
            share.fresh.retain(|player| !ended.contains(player));
        }
    }

    /// Notes that a player gets a fresh battle, unless the address has as many as it may have; answers whether it
    /// was noted.
    pub(crate) fn begin_fresh(
        &mut self,
        limits: &GateLimits,
        origin: Origin,
        player: u64,
        now: Instant,
    ) -> bool {
        if !limits.hold_for(origin) {
            return true;
        }
        let fresh = &mut self.share(origin, now).fresh;
        let free = fresh.len() < limits.fresh_battles_max;
        if free {
            fresh.push(player);
        }
        free
    }

    fn share(&mut self, origin: Origin, now: Instant) -> &mut Share {
        if self.by_origin.len() >= ORIGINS_MAX && !self.by_origin.contains_key(&origin) {
            self.forget_some(now);
        }
        self.by_origin.entry(origin).or_insert_with(|| Share { full_at: [now; 3], fresh: Vec::new() })
    }

    /// Makes room by an eighth at least: those go first that lose the least by it.
    fn forget_some(&mut self, now: Instant) {
        self.by_origin.retain(|_, share| share.used(now) > (0, Duration::ZERO));
        let room = ORIGINS_MAX - ORIGINS_MAX / 8;
        if let Some(surplus) = self.by_origin.len().checked_sub(room + 1) {
            let mut used: Vec<_> =
                self.by_origin.iter().map(|(origin, share)| (share.used(now), *origin)).collect();
            used.select_nth_unstable(surplus);
            for (_, origin) in &used[..=surplus] {
                self.by_origin.remove(origin);
            }
        }
    }
}

impl Share {
    fn used(&self, now: Instant) -> (usize, Duration) {
        let owed = self.full_at.iter().map(|full_at| full_at.saturating_duration_since(now));
        (self.fresh.len(), owed.sum())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{ORIGINS_MAX, Origin, Shares, Wish};
    use crate::config::GateLimits;

    const LIMITS: fn() -> GateLimits =
        || GateLimits { logins_per_minute: 30, fresh_battles_max: 2, ..GateLimits::default() };

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    fn many(number: u32) -> Origin {
        Origin::of(Ipv4Addr::from_bits(0x0a00_0000 + number).into())
    }

    fn logins(shares: &mut Shares, origin: Origin, tries: u32, now: Instant) -> usize {
        (0..tries).filter(|_| shares.take(&LIMITS(), origin, Wish::Login, now).is_ok()).count()
    }

    #[test]
    fn an_address_is_an_ipv4_address_or_a_network_of_ipv6() {
        assert_eq!(origin("10.0.0.1"), origin("::ffff:10.0.0.1"));
        assert_ne!(origin("10.0.0.1"), origin("10.0.0.2"));
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        for (text, loopback) in
            [("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("::2", false)]
        {
            assert_eq!(origin(text).is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn two_minutes_of_wishes_are_there_at_once_and_the_refusal_says_when_the_next_is() {
        let (mut shares, now) = (Shares::default(), Instant::now());
        assert_eq!(logins(&mut shares, origin("10.0.0.1"), 100, now), 60);
        let wait = shares.take(&LIMITS(), origin("10.0.0.1"), Wish::Login, now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(2));
        let (early, there) = (now + wait - Duration::from_millis(1), now + wait);
        assert!(shares.take(&LIMITS(), origin("10.0.0.1"), Wish::Login, early).is_err());
        assert_eq!(logins(&mut shares, origin("10.0.0.1"), 9, there), 1);
        assert_eq!(logins(&mut shares, origin("10.0.0.1"), 999, now + Duration::from_secs(9_999)), 60);
        assert!(shares.take(&LIMITS(), origin("10.0.0.1"), Wish::Ticket, now).is_ok(), "another bucket");
        assert_eq!(logins(&mut shares, origin("10.0.0.2"), 100, now), 60, "another address");
    }

    #[test]
    fn loopback_is_limited_only_if_that_is_wished() {
        let (mut shares, now) = (Shares::default(), Instant::now());
        assert_eq!(logins(&mut shares, origin("127.0.0.1"), 10_000, now), 10_000);
        assert!((0..9).all(|player| shares.begin_fresh(&LIMITS(), origin("::1"), player, now)));
        let limits = GateLimits { limit_loopback: true, ..LIMITS() };
        let good = |_: &u32| shares.take(&limits, origin("127.0.0.1"), Wish::Login, now).is_ok();
        assert_eq!((0..100).filter(good).count(), 60);
    }

    #[test]
    fn an_address_has_so_many_fresh_battles_at_once() {
        let (mut shares, now) = (Shares::default(), Instant::now());
        let here = origin("10.0.0.1");
        assert!(shares.begin_fresh(&LIMITS(), here, 1, now));
        assert!(shares.begin_fresh(&LIMITS(), here, 2, now));
        assert!(!shares.begin_fresh(&LIMITS(), here, 3, now));
        assert!(shares.begin_fresh(&LIMITS(), origin("10.0.0.2"), 4, now));
        assert_eq!(shares.fresh(here), [1, 2]);
        shares.end_fresh(here, &[1]);
        assert!(shares.begin_fresh(&LIMITS(), here, 3, now));
        assert!(!shares.begin_fresh(&LIMITS(), here, 1, now));
    }

    #[test]
    fn no_flood_of_other_addresses_gives_an_empty_bucket_back() {
        let (mut shares, now) = (Shares::default(), Instant::now());
        let mine = origin("192.0.2.1");
        assert_eq!(logins(&mut shares, mine, 100, now), 60);
        for number in 0..3 * ORIGINS_MAX as u32 {
            assert_eq!(logins(&mut shares, many(number), 1, now), 1, "who is new is let in");
            assert!(shares.by_origin.len() <= ORIGINS_MAX);
        }
        assert_eq!(logins(&mut shares, mine, 1, now), 0);
        // What is full again is forgotten before anything else.
        let later = now + Duration::from_secs(3);
        assert_eq!(logins(&mut shares, mine, 2, later), 1);
        for number in 0..ORIGINS_MAX as u32 {
            logins(&mut shares, Origin::of(Ipv4Addr::from_bits(0x0b00_0000 + number).into()), 1, later);
        }
        assert!(shares.by_origin.contains_key(&mine));
        assert!(!shares.by_origin.contains_key(&many(3 * ORIGINS_MAX as u32 - 1)));
    }
}

//! Which lane feeds and inputs take.

use crate::limits::CLEAN_MS;
use crate::time::Millis;
use crate::{Lane, LaneWish, Transport};

/// One side's choice for what it sends.
pub(crate) struct LanePolicy {
    wish: LaneWish,
    lossy_until: Option<Millis>,
}

impl LanePolicy {
    /// On a stream nothing is lost: there `auto` lets the newest win while the stream takes no more.
    pub(crate) fn new(wish: LaneWish, transport: Transport) -> Self {
        let wish = match wish {
            LaneWish::Auto if transport.is_stream() => LaneWish::Datagram,
            wish => wish,
        };
        Self { wish, lossy_until: None }
    }

    /// A resend, or a gap that the peer reported.
    pub(crate) fn saw_loss(&mut self, now: Millis) {
        self.lossy_until = Some(now + CLEAN_MS);
    }

    pub(crate) fn lane(&self, now: Millis) -> Lane {
        match self.wish {
            LaneWish::Kcp => Lane::Reliable,
            LaneWish::Datagram => Lane::Datagram,
            LaneWish::Auto if self.lossy_until.is_some_and(|until| now < until) => Lane::Datagram,
            LaneWish::Auto => Lane::Reliable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_leaves_kcp_at_the_first_loss_and_returns_after_a_clean_minute() {
        let mut policy = LanePolicy::new(LaneWish::Auto, Transport::Udp);
        assert_eq!(policy.lane(Millis(0)), Lane::Reliable);
        policy.saw_loss(Millis(10));
        assert_eq!(policy.lane(Millis(10)), Lane::Datagram);
        policy.saw_loss(Millis(500));
        assert_eq!(policy.lane(Millis(499 + CLEAN_MS)), Lane::Datagram);
        assert_eq!(policy.lane(Millis(500 + CLEAN_MS)), Lane::Reliable);
    }

    #[test]
    fn a_fixed_wish_stays_whatever_is_lost() {
        for (wish, lane) in [(LaneWish::Kcp, Lane::Reliable), (LaneWish::Datagram, Lane::Datagram)] {
            let mut policy = LanePolicy::new(wish, Transport::Udp);
            assert_eq!(policy.lane(Millis(0)), lane);
            policy.saw_loss(Millis(0));
            assert_eq!(policy.lane(Millis(1)), lane);
        }
    }
}

//! The reliable lane: messages behind their lengths, on a stream of bytes.
//!
//! ```text
//! message on the stream: length 4 | bytes
//! ```
//! Where packets are datagrams, KCP carries that stream ([`super::arq`]). On a transport that is a stream itself its
//! bytes ride in the packets as they are, and have arrived when they have left.

use std::collections::VecDeque;

use super::arq::{Arq, Input};
use crate::Transport;
use crate::limits::{RELIABLE_QUEUE_MAX, RELIABLE_STALL_MS, STREAM_AHEAD_MAX};
use crate::packet::{ITEM_HEADER, ITEMS_MAX, Item, Side};
use crate::time::Millis;
use crate::wire::Reader;

/// Bytes of the lane in one packet at most.
const BLOCK_MAX: usize = ITEMS_MAX - ITEM_HEADER;

/// Why the reliable lane cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReliableError {
    /// The peer announced a message that is longer than it may be.
    TooLong,
    /// The peer has not acknowledged anything for too long, or too much waits for it.
    SlowReader,
}

pub(crate) struct Reliable {
    /// KCP; nothing where the transport is a stream.
    arq: Option<Box<Arq>>,
    /// Stream bytes that have not left, or that KCP has not taken yet.
    queue: VecDeque<u8>,
    /// Stream bytes from the peer that are not a whole message yet.
    incoming: Vec<u8>,
    message_max: usize,
    /// When something last left, or was acknowledged.
    progress: Millis,
    pub(crate) bytes_out: u64,
}

impl Reliable {
    pub(crate) fn new(side: Side, transport: Transport, born: Millis, message_max: usize) -> Self {
        Self {
            arq: (!transport.is_stream()).then(|| Box::new(Arq::new(side, born))),
            queue: VecDeque::new(),
            incoming: Vec::new(),
            message_max,
            progress: born,
            bytes_out: 0,
        }
    }

    /// Queues a message. Costs a copy; it leaves with the next `service`.
    pub(crate) fn send(&mut self, now: Millis, message: &[u8]) -> Result<(), ReliableError> {
        if self.is_idle() {
            self.progress = now;
        }
        if self.waiting_bytes() + 4 + message.len() > RELIABLE_QUEUE_MAX {
            return Err(ReliableError::SlowReader);
        }
        let len = u32::try_from(message.len()).expect("the bound of the queue is below 4 GiB");
        self.queue.extend(len.to_le_bytes());
        self.queue.extend(message);
        if let Some(arq) = &mut self.arq {
            arq.wake(now);
        }
        Ok(())
    }

    /// Takes a KCP block from an opened packet.
    pub(crate) fn input(&mut self, now: Millis, block: &[u8]) -> Input {
        let Some(arq) = &mut self.arq else { return Input::Refused };
        let input = arq.input(now, block, &self.queue);
        self.progress = self.progress.max(arq.progress);
        input
    }

    /// Takes the next bytes of the lane from an opened packet of a stream.
    pub(crate) fn input_stream(&mut self, bytes: &[u8]) -> Input {
        if self.arq.is_some() || self.incoming.len() > self.message_max + STREAM_AHEAD_MAX {
            return Input::Refused;
        }
        self.incoming.extend_from_slice(bytes);
        Input::Taken
    }

    /// Whole messages that have arrived, one by one, in order.
    ///
    /// `take` is called for each; it must not be called when there is no room for the message.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), ReliableError> {
        if let Some(arq) = &mut self.arq {
            arq.receive(&mut self.incoming);
        }
        let mut reader = Reader(&self.incoming);
        let mut whole = 0;
        while let Ok(len) = reader.u32() {
            let len = usize::try_from(len).map_err(|_| ReliableError::TooLong)?;
            if len > self.message_max {
                return Err(ReliableError::TooLong);
            }
            let Ok(message) = reader.bytes(len) else { break };
            take(message);
            whole = self.incoming.len() - reader.0.len();
        }
        self.incoming.drain(..whole);
        if self.incoming.is_empty() && self.incoming.capacity() > 64 * 1024 {
            self.incoming = Vec::new();
        }
        Ok(())
    }

    /// Lets KCP send what is due.
    pub(crate) fn flush_if_due(&mut self, now: Millis) {
        if let Some(arq) = &mut self.arq {
            arq.flush_if_due(now, &mut self.queue);
        }
    }

    /// Flushes if acknowledgements or new bytes wait, for a packet that is about to leave anyway.
    pub(crate) fn flush_with_company(&mut self, now: Millis) {
        if let Some(arq) = &mut self.arq {
            arq.flush_with_company(now, &mut self.queue);
        }
    }

    /// Whether bytes wait for a peer that has acknowledged, or a stream that has taken, nothing for too long.
    pub(crate) fn is_stalled(&self, now: Millis) -> bool {
        !self.is_idle() && now.since(self.progress) >= RELIABLE_STALL_MS
    }

    /// The next block that wants to leave.
    pub(crate) fn peek_block(&self) -> Option<&[u8]> {
        match &self.arq {
            Some(arq) => arq.peek_block(),
            None => {
                let (front, _) = self.queue.as_slices();
                front.get(..front.len().min(BLOCK_MAX)).filter(|block| !block.is_empty())
            }
        }
    }

    /// A block as an item of a packet.
    pub(crate) fn item<'a>(&self, block: &'a [u8]) -> Item<'a> {
        if self.arq.is_some() { Item::Kcp(block) } else { Item::Stream(block) }
    }

    /// The block of `peek_block` has left.
    pub(crate) fn pop_block(&mut self, now: Millis) {
        let Some(len) = self.peek_block().map(<[u8]>::len) else { return };
        self.bytes_out += len as u64;
        match &mut self.arq {
            Some(arq) => arq.pop_block(len),
            None => {
                self.queue.drain(..len);
                self.progress = now;
                if self.queue.is_empty() && self.queue.capacity() > 64 * 1024 {
                    self.queue = VecDeque::new();
                }
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.arq.as_ref()?.next_deadline()
    }

    /// Whether everything that was sent has been acknowledged, or has left on a stream.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting_bytes() == 0
    }

    /// Segments that were sent more than once.
    pub(crate) fn resends(&self) -> u64 {
        self.arq.as_ref().map_or(0, |arq| arq.resends())
    }

    /// Bytes that wait for the peer, at most a segment's header each too many.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.queue.len() + self.arq.as_ref().map_or(0, |arq| arq.unacknowledged())
    }
}

#[cfg(test)]
impl Reliable {
    pub(crate) fn push_raw(&mut self, block: &[u8]) {
        if let Some(arq) = &mut self.arq {
            arq.push_raw(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(transport: Transport) -> Reliable {
        Reliable::new(Side::Server, transport, Millis(0), 100)
    }

    #[test]
    fn b29_a_peer_that_acknowledges_nothing_stalls_the_lane_at_the_bound_and_not_before() {
        let mut lane = lane(Transport::Udp);
        assert!(!lane.is_stalled(Millis(RELIABLE_STALL_MS * 2)), "nothing waits");
        lane.send(Millis(7), b"hello").unwrap();
        let mut said = 0;
        for ms in 7..7 + RELIABLE_STALL_MS {
            lane.flush_if_due(Millis(ms));
            while lane.peek_block().is_some() {
                lane.pop_block(Millis(ms));
                said += 1;
            }
            assert!(!lane.is_stalled(Millis(ms)), "{ms}");
        }
        assert!((5..20).contains(&said), "said {said} times");
        assert!(lane.is_stalled(Millis(7 + RELIABLE_STALL_MS)));
    }

    #[test]
    fn a_stream_carries_the_lane_without_kcp_and_nothing_else_may_ride_on_it() {
        let (mut from, mut to) = (lane(Transport::Tcp), lane(Transport::Tcp));
        let message = [7; 90];
        for _ in 0..40 {
            from.send(Millis(5), &message).unwrap();
        }
        assert_eq!((from.waiting_bytes(), from.next_deadline()), (40 * 94, None));
        let mut heard = 0;
        while let Some(block) = from.peek_block().map(<[u8]>::to_vec) {
            assert!(block.len() <= BLOCK_MAX);
            assert_eq!(from.item(&block), Item::Stream(&block));
            from.pop_block(Millis(6));
            assert_eq!(to.input_stream(&block), Input::Taken);
            to.receive(|taken| {
                assert_eq!(taken, message);
                heard += 1;
            })
            .unwrap();
        }
        assert!(from.is_idle() && !from.is_stalled(Millis(RELIABLE_STALL_MS * 2)));
        assert_eq!((heard, from.bytes_out), (40, 40 * 94));
        assert_eq!(to.input(Millis(7), b"a segment of KCP"), Input::Refused);
        assert_eq!(lane(Transport::Udp).input_stream(b"bytes"), Input::Refused);
    }

    #[test]
    fn a_stream_that_takes_nothing_stalls_the_lane_and_one_that_is_not_emptied_is_bounded() {
        let mut lane = lane(Transport::Tcp);
        lane.send(Millis(7), b"hello").unwrap();
        assert!(!lane.is_stalled(Millis(6 + RELIABLE_STALL_MS)));
        assert!(lane.is_stalled(Millis(7 + RELIABLE_STALL_MS)));
        let mut taken = 0;
        while lane.input_stream(&[0; 1_000]) == Input::Taken {
            taken += 1_000;
            assert!(taken <= 100 + STREAM_AHEAD_MAX + 1_000);
        }
        assert!(taken > STREAM_AHEAD_MAX);
    }
}

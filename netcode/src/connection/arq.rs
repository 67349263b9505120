//! KCP under the reliable lane, where packets are datagrams: it sends again what was lost.
//!
//! KCP headers inside a sealed packet come from someone with a valid token, not from a friend: `sanitise` refuses
//! what the crate cannot bear (it was written for friends) before it sees it. KCP's clock is relative to the
//! connection's birth and stays below 2^30.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use kcp::Kcp;

use crate::limits::{ACK_DELAY_MS, LIFETIME_MAX_MS};
use crate::packet::{ITEM_HEADER, ITEMS_MAX, Side};
use crate::time::Millis;
use crate::wire::Reader;

/// The conversation number; a connection is named by its keys, so this is the same everywhere.
const CONVERSATION: u32 = 0x3153_5954;
const MTU: usize = ITEMS_MAX - ITEM_HEADER;
const HEADER: usize = 24;
const MSS: usize = MTU - HEADER;

const PUSH: u8 = 81;
const ACK: u8 = 82;
const WINS: u8 = 84;

/// As many as fit into a block: KCP packs its acknowledgements that tightly, so a lower bound (32 was tried) refuses
/// honest peers after a burst, and they never recover.
const SEGMENTS_MAX: usize = MTU / HEADER;
const NUMBER_END: u32 = 1 << 30;
/// An acknowledgement that took longer than this is nothing that a session could still use.
const ROUND_TRIP_MAX_MS: u32 = 60_000;
/// Pause between flushes, and what KCP adds to a round trip at least before it sends again.
const INTERVAL_MS: u64 = 10;
/// Acknowledgements that wait for company; with so many the wait is over.
const ACKS_PENDING_MAX: usize = 16;
/// Segments in flight from a server: about 110 KB, what a socket's buffer takes in one burst.
const SERVER_WINDOW: u16 = 96;
const CLIENT_WINDOW: u16 = 48;
/// KCP takes no smaller receive window than 128.
const SERVER_RECEIVE_WINDOW: u16 = 128;
const CLIENT_RECEIVE_WINDOW: u16 = 256;

const _: () = assert!(LIFETIME_MAX_MS < NUMBER_END as u64);

/// What a received block was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Taken,
    Refused,
}

pub(super) struct Arq {
    kcp: Kcp<Outlet>,
    outlet: Arc<Mutex<Vec<u8>>>,
    born: Millis,
    /// Blocks that KCP gave out: length 2, bytes; `ready_at` is where the next one starts.
    ready: Vec<u8>,
    ready_at: usize,
    window: u16,
    next_flush: Option<Millis>,
    acks_pending: usize,
    /// The number after the highest one that was sent: what is below is a resend.
    sent_next: u32,
    resends: u64,
    /// When the peer last acknowledged something.
    pub(super) progress: Millis,
}

impl Arq {
    pub(super) fn new(side: Side, born: Millis) -> Self {
        let outlet = Arc::new(Mutex::new(Vec::new()));
        let mut kcp = Kcp::new_stream(CONVERSATION, Outlet(Arc::clone(&outlet)));
        kcp.set_mtu(MTU).expect("the unit is far above KCP's least");
        kcp.set_nodelay(true, 10, 2, true);
        kcp.set_maximum_resend_times(u32::MAX);
        let (window, receive_window) = match side {
            Side::Server => (SERVER_WINDOW, SERVER_RECEIVE_WINDOW),
            Side::Client => (CLIENT_WINDOW, CLIENT_RECEIVE_WINDOW),
        };
        kcp.set_wndsize(window, receive_window);
        Self {
            kcp,
            outlet,
            born,
            ready: Vec::new(),
            ready_at: 0,
            window,
            next_flush: None,
            acks_pending: 0,
            sent_next: 0,
            resends: 0,
            progress: born,
        }
    }

    /// Takes a block from an opened packet; `queue` is what waits to be sent.
    pub(super) fn input(&mut self, now: Millis, block: &[u8], queue: &VecDeque<u8>) -> Input {
        self.set_clock(now);
        let Some(pushes) = sanitise(block, self.clock(now), self.sent_next) else { return Input::Refused };
        let waiting = self.kcp.wait_snd();
        // `sanitise` has checked all that `input` could refuse; an error would leave KCP as it was.
        if self.kcp.input(block).is_err() {
            return Input::Refused;
        }
        if self.kcp.wait_snd() < waiting {
            self.progress = now;
            // Room in the window: what waits may go.
            if self.kcp.wait_snd() + queue.len() > 0 {
                self.flush_by(now + INTERVAL_MS);
            }
            if !queue.is_empty() {
                self.flush_by(now);
            }
        }
        if pushes > 0 {
            self.acks_pending += pushes;
            let wait = if self.acks_pending >= ACKS_PENDING_MAX { 0 } else { ACK_DELAY_MS };
            self.flush_by(now + wait);
        }
        Input::Taken
    }

    /// Moves what has arrived behind `incoming`.
    pub(super) fn receive(&mut self, incoming: &mut Vec<u8>) {
        while let Ok(len) = self.kcp.peeksize() {
            let filled = incoming.len();
            incoming.resize(filled + len, 0);
            if self.kcp.recv(&mut incoming[filled..]).is_err() {
                incoming.truncate(filled);
                break;
            }
        }
    }

    /// Flushes at once when it is asked next: there is something new to say.
    pub(super) fn wake(&mut self, now: Millis) {
        self.next_flush = Some(now);
    }

    /// Lets KCP send what is due.
    pub(super) fn flush_if_due(&mut self, now: Millis, queue: &mut VecDeque<u8>) {
        if self.next_flush.is_some_and(|at| at <= now) {
            self.flush(now, queue);
        }
    }

    /// Flushes if acknowledgements or new bytes wait, for a packet that is about to leave anyway.
    pub(super) fn flush_with_company(&mut self, now: Millis, queue: &mut VecDeque<u8>) {
        if self.acks_pending > 0 || !queue.is_empty() {
            self.flush(now, queue);
        }
    }

    /// The next block that KCP wants to send.
    pub(super) fn peek_block(&self) -> Option<&[u8]> {
        let mut reader = Reader(self.ready.get(self.ready_at..)?);
        let len = reader.u16().ok()?;
        reader.bytes(usize::from(len)).ok()
    }

    pub(super) fn pop_block(&mut self, len: usize) {
        self.ready_at += 2 + len;
        if self.ready_at == self.ready.len() {
            self.ready.clear();
            self.ready_at = 0;
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.next_flush
    }

    /// Segments that were sent more than once.
    pub(super) fn resends(&self) -> u64 {
        self.resends
    }

    /// Bytes that the peer has not acknowledged, at most a segment's header each too many.
    pub(super) fn unacknowledged(&self) -> usize {
        self.kcp.wait_snd() * MSS
    }

    fn flush(&mut self, now: Millis, queue: &mut VecDeque<u8>) {
        self.set_clock(now);
        self.feed(queue);
        self.kcp.flush().expect("KCP was updated above, and its outlet takes every block");
        self.acks_pending = 0;
        self.collect();
        let is_idle = self.kcp.wait_snd() == 0 && queue.is_empty();
        self.next_flush = (!is_idle).then(|| now + INTERVAL_MS);
    }

    fn flush_by(&mut self, at: Millis) {
        self.next_flush = Some(self.next_flush.map_or(at, |planned| planned.min(at)));
    }

    /// Tells KCP the time. `update` is the only way to that, and it flushes when its interval is over: with a long
    /// interval it does so every five seconds, and ours are the flushes that count.
    fn set_clock(&mut self, now: Millis) {
        self.kcp.set_interval(5_000);
        self.kcp.update(self.clock(now)).expect("the outlet takes every block");
        self.kcp.set_interval(10);
        // That rare flush may have given out blocks.
        self.collect();
    }

    fn clock(&self, now: Millis) -> u32 {
        u32::try_from(now.since(self.born)).unwrap_or(u32::MAX).min(NUMBER_END - 1)
    }

    /// Moves stream bytes into KCP, as far as twice its window.
    fn feed(&mut self, queue: &mut VecDeque<u8>) {
        while !queue.is_empty() && self.kcp.wait_snd() < usize::from(self.window) * 2 {
            let (front, _) = queue.as_slices();
            let len = front.len().min(MSS);
            self.kcp.send(&front[..len]).expect("one segment is below KCP's bound");
            queue.drain(..len);
        }
        if queue.is_empty() && queue.capacity() > 64 * 1024 {
            *queue = VecDeque::new();
        }
    }

    /// Takes over what KCP wrote, and counts what it sends again.
    fn collect(&mut self) {
        let mut written = self.outlet.lock().expect("nobody panics while holding the outlet");
        if written.is_empty() {
            return;
        }
        let mut blocks = Reader(&written);
        while let Ok(len) = blocks.u16() {
            let mut segments = Reader(blocks.bytes(usize::from(len)).unwrap_or_default());
            while let Ok(segment) = Segment::parse(&mut segments) {
                if segment.command != PUSH {
                    continue;
                }
                if segment.number < self.sent_next {
                    self.resends += 1;
                } else {
                    self.sent_next = segment.number + 1;
                }
            }
        }
        self.ready.extend_from_slice(&written);
        written.clear();
    }
}

#[cfg(test)]
impl Arq {
    pub(super) fn push_raw(&mut self, block: &[u8]) {
        self.ready.extend(u16::try_from(block.len()).expect("a block").to_le_bytes());
        self.ready.extend(block);
    }
}

struct Segment {
    conversation: u32,
    command: u8,
    fragment: u8,
    stamp: u32,
    number: u32,
    unacknowledged: u32,
    len: usize,
}

impl Segment {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, crate::wire::Short> {
        let conversation = reader.u32()?;
        let command = reader.u8()?;
        let fragment = reader.u8()?;
        let _window = reader.u16()?;
        let (stamp, number, unacknowledged) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let len = usize::try_from(reader.u32()?).map_err(|_| crate::wire::Short)?;
        reader.bytes(len)?;
        Ok(Self { conversation, command, fragment, stamp, number, unacknowledged, len })
    }
}

/// Judges a block before KCP sees it; gives the number of its PUSH segments, or `None` to refuse all of it.
///
/// The bounds are those within which the arithmetic of `kcp` 0.6.0 cannot overflow, and what no honest peer in
/// stream mode sends: fragments, acknowledgements of what was never sent, stamps from the future.
fn sanitise(block: &[u8], clock: u32, sent_next: u32) -> Option<usize> {
    let mut reader = Reader(block);
    let (mut pushes, mut segments) = (0, 0);
    while !reader.is_empty() {
        let segment = Segment::parse(&mut reader).ok()?;
        segments += 1;
        let push = segment.command == PUSH;
        let sound = segments <= SEGMENTS_MAX
            && segment.conversation == CONVERSATION
            && (PUSH..=WINS).contains(&segment.command)
            && segment.fragment == 0
            && segment.len <= if push { MSS } else { 0 }
            && segment.stamp < NUMBER_END
            && segment.number < NUMBER_END
            && segment.unacknowledged <= sent_next;
        if !sound {
            return None;
        }
        if segment.command == ACK {
            let round_trip = clock.checked_sub(segment.stamp)?;
            if round_trip > ROUND_TRIP_MAX_MS || segment.number >= sent_next {
                return None;
            }
        }
        pushes += usize::from(push);
    }
    (segments > 0).then_some(pushes)
}

/// Where KCP writes its blocks: one buffer, each block behind its length. The lock is never contended: it is there
/// because KCP owns its outlet and shows it to nobody.
struct Outlet(Arc<Mutex<Vec<u8>>>);

impl io::Write for Outlet {
    fn write(&mut self, block: &[u8]) -> io::Result<usize> {
        let len = u16::try_from(block.len()).map_err(io::Error::other)?;
        let mut written = self.0.lock().map_err(|_| io::Error::other("poisoned"))?;
        written.extend_from_slice(&len.to_le_bytes());
        written.extend_from_slice(block);
        Ok(block.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: u32 = 100_000;
    const SENT: u32 = 50;

    /// A segment that is sound, with one thing changed.
    fn judge(command: u8, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut segment = CONVERSATION.to_le_bytes().to_vec();
        segment.extend([command, 0, 128, 0]);
        let number = if command == ACK { SENT - 1 } else { 7 };
        let len = if command == PUSH { 4 } else { 0 };
        for field in [CLOCK - 40, number, SENT, len] {
            segment.extend(u32::to_le_bytes(field));
        }
        segment.extend(&[1, 2, 3, 4][..len as usize]);
        change(&mut segment);
        sanitise(&segment, CLOCK, SENT).is_some()
    }

    fn with(at: usize, value: u32) -> impl FnOnce(&mut Vec<u8>) {
        move |segment| segment[at..at + 4].copy_from_slice(&value.to_le_bytes())
    }

    #[test]
    fn sound_segments_pass() {
        for command in PUSH..=WINS {
            assert!(judge(command, |_| {}), "{command}");
        }
    }

    #[test]
    fn b25_a_foreign_conversation_is_refused() {
        assert!(!judge(PUSH, with(0, CONVERSATION + 1)));
    }

    #[test]
    fn b26_acknowledgements_of_what_was_not_sent_are_refused() {
        assert!(!judge(PUSH, with(16, SENT + 1)));
        assert!(!judge(ACK, with(12, SENT)));
        assert!(!judge(ACK, with(8, CLOCK + 1)), "a stamp from the future");
        assert!(judge(ACK, with(8, CLOCK - ROUND_TRIP_MAX_MS)));
        assert!(!judge(ACK, with(8, CLOCK - ROUND_TRIP_MAX_MS - 1)));
    }

    #[test]
    fn b27_lengths_that_lie_are_refused() {
        for len in [5, u32::MAX, 1 << 31] {
            assert!(!judge(PUSH, with(20, len)), "{len}");
        }
        assert!(!judge(PUSH, |segment| segment.truncate(27)));
        assert!(!judge(PUSH, |segment| segment.push(0)), "bytes behind the last segment");
        let grow = |len: u32| {
            move |segment: &mut Vec<u8>| {
                segment.resize(HEADER + len as usize, 0);
                segment[20..24].copy_from_slice(&len.to_le_bytes());
            }
        };
        assert!(judge(PUSH, grow(MSS as u32)));
        assert!(!judge(PUSH, grow(MSS as u32 + 1)));
        assert!(!judge(ACK, grow(1)), "an acknowledgement with content");
    }

    #[test]
    fn b28_fragments_are_refused_so_none_can_stay_incomplete() {
        for fragment in [1, 127, 128, 255] {
            assert!(!judge(PUSH, |segment| segment[5] = fragment), "{fragment}");
        }
    }

    #[test]
    fn b30_numbers_and_stamps_beyond_2_to_the_30_are_refused() {
        for (at, name) in [(8, "ts"), (12, "sn")] {
            assert!(judge(PUSH, with(at, NUMBER_END - 1)), "{name}");
            for value in [NUMBER_END, 1 << 31, u32::MAX] {
                assert!(!judge(PUSH, with(at, value)), "{name} {value}");
            }
        }
    }

    #[test]
    fn unknown_commands_and_empty_blocks_are_refused() {
        assert!(!judge(80, |_| {}) && !judge(85, |_| {}));
        assert!(!judge(PUSH, Vec::clear));
    }
}

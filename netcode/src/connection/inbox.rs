//! What an endpoint has to tell its application: events in order, message bytes in one reused buffer.

use std::collections::VecDeque;

use crate::limits::EVENT_BYTES_MAX;
use crate::{ConnectionId, Lane};

/// Whether a message found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    Full,
}

pub(crate) enum Entry<N> {
    Notice(N),
    Message { connection: ConnectionId, lane: Lane, start: usize, end: usize },
}

/// Events of an endpoint; `N` is what they are besides messages.
pub(crate) struct Inbox<N> {
    entries: VecDeque<Entry<N>>,
    bytes: Vec<u8>,
}

impl<N> Inbox<N> {
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new(), bytes: Vec::new() }
    }

    pub(crate) fn push_notice(&mut self, notice: N) {
        self.entries.push_back(Entry::Notice(notice));
    }

    /// Takes a message that may be dropped.
    pub(crate) fn push_message(&mut self, connection: ConnectionId, lane: Lane, message: &[u8]) -> Taken {
        if !self.has_room() {
            return Taken::Full;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message);
        self.entries.push_back(Entry::Message { connection, lane, start, end: self.bytes.len() });
        Taken::Yes
    }

    /// Takes a message that must not be dropped. The caller asked `has_room` before it took bytes from the lane;
    /// what one receive window holds may exceed the bound once.
    pub(crate) fn push_reliable(&mut self, connection: ConnectionId, message: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message);
        self.entries.push_back(Entry::Message {
            connection,
            lane: Lane::Reliable,
            start,
            end: self.bytes.len(),
        });
    }

    pub(crate) fn has_room(&self) -> bool {
        self.bytes.len() + self.entries.len() * size_of::<Entry<N>>() < EVENT_BYTES_MAX
    }

    /// The next event; `bytes_of` gives a message's bytes.
    pub(crate) fn pop(&mut self) -> Option<Entry<N>> {
        let entry = self.entries.pop_front();
        if entry.is_none() {
            self.bytes.clear();
            if self.bytes.capacity() > 1024 * 1024 {
                self.bytes = Vec::new();
            }
        }
        entry
    }

    pub(crate) fn bytes_of(&self, start: usize, end: usize) -> &[u8] {
        &self.bytes[start..end]
    }
}

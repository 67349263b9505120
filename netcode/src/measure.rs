//! A surface for benches outside: sealing and opening of packets as sessions do it. Handshakes and session ticks are
//! measured through `Server` and `Client` themselves.

use crate::crypto::Aead;
use crate::packet::{self, Item, Items, Side};
use crate::{ConnectionId, ReplayWindow};

/// A sender and a receiver of sealed packets under one key.
pub struct PacketPair {
    sealing: Aead,
    opening: Aead,
    number: u64,
    window: ReplayWindow,
}

impl PacketPair {
    /// A pair with packet number 0.
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            sealing: Aead::new(&key),
            opening: Aead::new(&key),
            number: 0,
            window: ReplayWindow::default(),
        }
    }

    /// Seals a message into the next packet in `out` (what was in it is gone).
    ///
    /// # Panics
    /// When the message is longer than `DATAGRAM_MESSAGE_MAX`.
    pub fn seal(&mut self, message: &[u8], out: &mut Vec<u8>) {
        assert!(message.len() <= crate::limits::DATAGRAM_MESSAGE_MAX);
        let items_at = packet::start(out, Side::Client, ConnectionId(1), self.number);
        Item::Message(message).put(out);
        packet::seal(out, &self.sealing, self.number, items_at);
        self.number += 1;
    }

    /// Opens a packet in place and gives its message; `None` for a replayed or forged one.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        let opened = packet::open(packet, Side::Server, &self.opening, &mut self.window).ok()?;
        Items(opened.items).find_map(|item| match item {
            Ok(Item::Message(message)) => Some(message),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_once() {
        let mut pair = PacketPair::new([3; 32]);
        let mut packet = Vec::new();
        pair.seal(b"hello", &mut packet);
        assert_eq!(pair.open(&mut packet.clone()), Some(b"hello".as_slice()));
        assert_eq!(pair.open(&mut packet), None);
    }
}

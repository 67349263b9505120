//! Sealed packets and the items inside.
//!
//! ```text
//! client -> server:  0x80 | connection id 8 | number 2 | sealed items | tag 16
//! server -> client:  0xC0 | number 2        | sealed items | tag 16
//! ```
//! `number` is the low 16 bits of the packet number, the receiver finds the rest from the highest number that it
//! opened. Everything before the sealed items is associated data; the nonce is the full number. Items:
//!
//! ```text
//! 1  KCP             length 2, segments
//! 2  message         length 2, a message on the datagram lane
//! 3  PING            stamp 4, next 4, received 4     next: 1 + highest number opened, received: how many were,
//! 4  PONG            stamp 4, next 4, received 4     both low 32 bits; next - received counts what is missing
//! 5  PATH CHALLENGE  8 random bytes
//! 6  PATH RESPONSE   the same 8 bytes
//! 7  CLOSE           reason 1
//! 8  STREAM          length 2, the next bytes of the reliable lane, on a transport that is a stream
//! ```

use crate::connection::CloseReason;
use crate::crypto::{Aead, TAG_LEN, packet_nonce};
use crate::limits::UDP_PAYLOAD_MAX;
use crate::wire::{Put, Reader};
use crate::{ConnectionId, ReplayWindow};

pub(crate) const TO_SERVER: u8 = 0x80;
pub(crate) const TO_CLIENT: u8 = 0xC0;
/// Any byte with this bit begins a sealed packet.
pub(crate) const SEALED_BIT: u8 = 0x80;

const TO_SERVER_HEADER: usize = 11;
const TO_CLIENT_HEADER: usize = 3;

/// Bytes of a packet to a server at least.
pub(crate) const PACKET_LEN_MIN: usize = TO_SERVER_HEADER + TAG_LEN;

/// Bytes of items that fit into any packet.
pub(crate) const ITEMS_MAX: usize = UDP_PAYLOAD_MAX - TO_SERVER_HEADER - TAG_LEN;

/// Bytes that stand before the content of an item with a length.
pub(crate) const ITEM_HEADER: usize = 3;

/// Which side of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketError {
    Short,
    Replayed,
    Forged,
}

/// How many of the peer's packets came, as the peer is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) next: u32,
    pub(crate) received: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Kcp(&'a [u8]),
    Message(&'a [u8]),
    Ping { stamp: u32, report: Report },
    Pong { stamp: u32, report: Report },
    PathChallenge([u8; 8]),
    PathResponse([u8; 8]),
    Close(CloseReason),
    Stream(&'a [u8]),
}

/// A packet that opened.
pub(crate) struct Opened<'a> {
    pub(crate) items: &'a [u8],
    /// Whether its number is the highest so far.
    pub(crate) newest: bool,
}

/// The connection that a packet names, if it is long enough to name one.
pub(crate) fn connection_of(datagram: &[u8]) -> Option<ConnectionId> {
    let mut reader = Reader(datagram.get(1..)?);
    reader.u64().ok().map(ConnectionId)
}

/// Starts a packet in `out`; items are appended to it, then `seal` ends it.
pub(crate) fn start(out: &mut Vec<u8>, from: Side, connection: ConnectionId, number: u64) -> usize {
    out.clear();
    match from {
        Side::Client => {
            out.put_u8(TO_SERVER);
            out.put_u64(connection.0);
        }
        Side::Server => out.put_u8(TO_CLIENT),
    }
    // The low 16 bits are meant.
    out.put_u16((number & 0xFFFF) as u16);
    out.len()
}

pub(crate) fn seal(out: &mut Vec<u8>, key: &Aead, number: u64, items_at: usize) {
    key.seal_tail(packet_nonce(number), out, items_at);
    debug_assert!(out.len() <= UDP_PAYLOAD_MAX);
}

/// Opens a packet in place: the window is asked before, and marked after.
pub(crate) fn open<'a>(
    datagram: &'a mut [u8],
    to: Side,
    key: &Aead,
    window: &mut ReplayWindow,
) -> Result<Opened<'a>, PacketError> {
    let header_len = match to {
        Side::Server => TO_SERVER_HEADER,
        Side::Client => TO_CLIENT_HEADER,
    };
    let (header, sealed) = datagram.split_at_mut_checked(header_len).ok_or(PacketError::Short)?;
    if sealed.len() < TAG_LEN {
        return Err(PacketError::Short);
    }
    let low = header.last_chunk::<2>().ok_or(PacketError::Short)?;
    let number = expand(u16::from_le_bytes(*low), window.next());
    if !window.is_fresh(number) {
        return Err(PacketError::Replayed);
    }
    let items = key.open(packet_nonce(number), header, sealed).map_err(|_| PacketError::Forged)?;
    let newest = number >= window.next();
    window.mark(number);
    Ok(Opened { items, newest })
}

/// The number nearest to `next` that ends in `low`.
fn expand(low: u16, next: u64) -> u64 {
    const SPAN: u64 = 1 << 16;
    let candidate = (next & !(SPAN - 1)) | u64::from(low);
    if candidate.saturating_add(SPAN / 2) <= next {
        candidate.checked_add(SPAN).unwrap_or(candidate)
    } else if candidate > next.saturating_add(SPAN / 2) {
        candidate.checked_sub(SPAN).unwrap_or(candidate)
    } else {
        candidate
    }
}

impl Item<'_> {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Kcp(bytes) => put_sized(out, 1, bytes),
            Self::Message(bytes) => put_sized(out, 2, bytes),
            Self::Ping { stamp, report } => put_heartbeat(out, 3, stamp, report),
            Self::Pong { stamp, report } => put_heartbeat(out, 4, stamp, report),
            Self::PathChallenge(bytes) => {
                out.put_u8(5);
                out.put(&bytes);
            }
            Self::PathResponse(bytes) => {
                out.put_u8(6);
                out.put(&bytes);
            }
            Self::Close(reason) => {
                out.put_u8(7);
                out.put_u8(reason.to_wire());
            }
            Self::Stream(bytes) => put_sized(out, 8, bytes),
        }
    }
}

/// The items of an opened packet; `Err` once, at what does not parse, then nothing more.
pub(crate) struct Items<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, crate::wire::Short>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let mut reader = Reader(self.0);
        let item = parse_item(&mut reader);
        self.0 = if item.is_ok() { reader.0 } else { &[] };
        Some(item)
    }
}

fn parse_item<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>, crate::wire::Short> {
    Ok(match reader.u8()? {
        1 => Item::Kcp(sized(reader)?),
        2 => Item::Message(sized(reader)?),
        3 => Item::Ping { stamp: reader.u32()?, report: report(reader)? },
        4 => Item::Pong { stamp: reader.u32()?, report: report(reader)? },
        5 => Item::PathChallenge(reader.array()?),
        6 => Item::PathResponse(reader.array()?),
        7 => Item::Close(CloseReason::from_wire(reader.u8()?)),
        8 => Item::Stream(sized(reader)?),
        _ => return Err(crate::wire::Short),
    })
}

fn sized<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], crate::wire::Short> {
    let len = reader.u16()?;
    reader.bytes(usize::from(len))
}

fn report(reader: &mut Reader<'_>) -> Result<Report, crate::wire::Short> {
    Ok(Report { next: reader.u32()?, received: reader.u32()? })
}

fn put_sized(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.put_u8(kind);
    out.put_u16(u16::try_from(bytes.len()).expect("an item is shorter than a datagram"));
    out.put(bytes);
}

fn put_heartbeat(out: &mut Vec<u8>, kind: u8, stamp: u32, report: Report) {
    out.put_u8(kind);
    out.put_u32(stamp);
    out.put_u32(report.next);
    out.put_u32(report.received);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_number_is_found_again_near_the_highest_one() {
        for next in [0_u64, 1, 40_000, 65_535, 65_536, 65_537, 1 << 40, u64::MAX - 70_000] {
            for distance in [0_u64, 1, 1_000, 32_000] {
                let above = next + distance;
                assert_eq!(expand((above & 0xFFFF) as u16, next), above, "{next} + {distance}");
                let Some(below) = next.checked_sub(distance) else { continue };
                assert_eq!(expand((below & 0xFFFF) as u16, next), below, "{next} - {distance}");
            }
        }
    }

    #[test]
    fn b11_numbers_at_the_edges_do_not_panic() {
        for next in [0, 1 << 63, u64::MAX - 255, u64::MAX] {
            for low in [0, 1, 0x7FFF, 0x8000, 0xFFFF] {
                expand(low, next);
            }
        }
    }

    #[test]
    fn a_packet_opens_once_and_only_unaltered() {
        let key = Aead::new(&[9; 32]);
        let mut packet = Vec::new();
        let at = start(&mut packet, Side::Client, ConnectionId(5), 3);
        Item::PathChallenge([1; 8]).put(&mut packet);
        seal(&mut packet, &key, 3, at);
        for bit in 0..packet.len() * 8 {
            let mut altered = packet.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let mut window = ReplayWindow::default();
            assert!(open(&mut altered, Side::Server, &key, &mut window).is_err(), "bit {bit}");
            assert_eq!(window.next(), 0, "a forged packet moved the window");
        }
        let mut window = ReplayWindow::default();
        let opened = open(&mut packet.clone(), Side::Server, &key, &mut window).map(|opened| opened.newest);
        assert_eq!(opened, Ok(true));
        let again = open(&mut packet, Side::Server, &key, &mut window).map(|_| ());
        assert_eq!(again, Err(PacketError::Replayed));
    }

    #[test]
    fn items_come_back_and_malformed_ones_end_the_walk() {
        let report = Report { next: 7, received: 6 };
        let items = [
            Item::Kcp(&[1, 2, 3]),
            Item::Message(&[]),
            Item::Ping { stamp: 1, report },
            Item::Pong { stamp: 2, report },
            Item::PathResponse([4; 8]),
            Item::Stream(&[5; 9]),
            Item::Close(CloseReason::Replaced),
        ];
        let mut bytes = Vec::new();
        items.iter().for_each(|item| item.put(&mut bytes));
        let parsed: Vec<_> = Items(&bytes).map(Result::unwrap).collect();
        assert_eq!(parsed, items);
        for len in 1..bytes.len() {
            // Cut anywhere, the walk ends with an error or at the border of an item, and never panics.
            let walked = Items(&bytes[..len]).filter(Result::is_ok).count();
            assert!(walked < items.len());
        }
        assert_eq!(Items(&[9, 0, 0]).count(), 1);
        assert!(Items(&[9, 0, 0]).all(|item| item.is_err()));
    }
}

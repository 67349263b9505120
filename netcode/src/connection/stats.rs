//! What a connection has seen.

use crate::Lane;

/// Numbers of one connection since it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Smoothed round trip; `None` before the first sample.
    pub round_trip_ms: Option<u64>,
    /// Smoothed deviation of it.
    pub jitter_ms: u64,
    /// Which lane feeds and inputs take at this moment.
    pub feed_lane: Lane,
    /// Packets sent.
    pub packets_out: u64,
    /// Packets that opened.
    pub packets_in: u64,
    /// Packets sent that two reports of the peer, one behind the other, have as missing.
    pub packets_lost: u64,
    /// Which share of the packets sent gets lost, in thousandths, smoothed over some seconds.
    pub loss_permille: u16,
    /// KCP segments sent more than once.
    pub resends: u64,
    /// Bytes of UDP payload received.
    pub bytes_in: u64,
    /// Bytes of KCP blocks sent, headers included.
    pub reliable_bytes_out: u64,
    /// Bytes of messages sent on the datagram lane.
    pub datagram_bytes_out: u64,
    /// Bytes that wait for the peer's acknowledgement, at most a segment too many.
    pub reliable_bytes_waiting: usize,
}

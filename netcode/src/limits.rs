//! Every bound of a session, by name, with what happens at it.

/// Largest UDP payload that is ever sent or accepted, bytes; a longer datagram is dropped and counted.
pub const UDP_PAYLOAD_MAX: usize = 1_200;

/// Largest message on the datagram lane, bytes; a longer feed message takes the reliable lane.
pub const DATAGRAM_MESSAGE_MAX: usize = 1_160;

/// Largest message on the reliable lane from server to client, bytes; more is an error of the sender.
pub const MESSAGE_MAX: usize = 4 * 1024 * 1024;

/// Largest message on the reliable lane from client to server, bytes; a longer one ends the connection.
pub const MESSAGE_TO_SERVER_MAX: usize = 64 * 1024;

/// Bytes that may wait on the reliable lane before they are acknowledged; a connection that exceeds it is cut
/// as a slow reader.
pub const RELIABLE_QUEUE_MAX: usize = MESSAGE_MAX + 512 * 1024;

/// How long reliable bytes may stay unacknowledged without any progress; then the connection is cut. KCP waits half as
/// long again before each resend: with 15 s, one session in fifty at 30 % loss each way was cut for bad luck.
pub const RELIABLE_STALL_MS: u64 = 30_000;

/// Bytes of a stream's reliable lane that may wait beyond its longest message, while the application takes none; more
/// ends the connection.
pub const STREAM_AHEAD_MAX: usize = 64 * 1024;

/// Messages that may wait for the datagram lane; the oldest gives way and is counted.
pub const DATAGRAMS_PENDING_MAX: usize = 8;

/// Bytes of received messages that may wait for `poll_event`; beyond it datagram messages are dropped and
/// counted, and the reliable lane stops taking bytes from the peer.
pub const EVENT_BYTES_MAX: usize = MESSAGE_MAX + 1024 * 1024;

/// Answers to handshakes that may wait for `poll_transmit`; further ones are dropped and counted.
pub const ANSWERS_PENDING_MAX: usize = 512;

/// RESETs that a server says in a second; to further packets of connections that it does not know it says nothing.
pub const RESETS_PER_SECOND_MAX: u32 = 100;

/// Silence after which a connection is over.
pub const TIMEOUT_MS: u64 = 10_000;

/// Pause between two pings while messages are being sent, and while a ping of the client is not answered.
pub const HEARTBEAT_BUSY_MS: u64 = 500;

/// Pause between two pings while nothing else is sent.
pub const HEARTBEAT_IDLE_MS: u64 = 2_000;

/// Longest that a graceful close waits for the reliable lane to empty.
pub const CLOSE_DRAIN_MS: u64 = 2_000;

/// How long a closed connection still answers a peer that has not heard of it.
pub const CLOSE_LINGER_MS: u64 = 3_000;

/// How long a received reliable segment may wait for its acknowledgement to ride with something else.
pub const ACK_DELAY_MS: u64 = 10;

/// Longest life of one connection. The clock inside KCP must stay below 2^30 ms; a player who plays for ten
/// days reconnects once.
pub const LIFETIME_MAX_MS: u64 = 10 * 24 * 3_600 * 1_000;

/// Packets that one connection may send; the connection ends long before a packet number could wrap.
pub const PACKETS_MAX: u64 = 1 << 36;

/// How long a session on `Lane::Auto` keeps its feeds off KCP after the last sign of loss.
pub const CLEAN_MS: u64 = 60_000;

/// Bytes a second that a client may send when its token names no cap; more is dropped and counted.
pub const BYTES_PER_SECOND_DEFAULT: u32 = 64 * 1024;

/// Messages a second that a client may send when its token names no cap; more is dropped and counted.
pub const INPUTS_PER_SECOND_DEFAULT: u32 = 400;

/// Seats and spectators that one battle remembers; a CONNECT beyond it is denied as full.
pub const HOLDERS_MAX: usize = 4_096;

/// Times that one seat or spectator may join at once; each costs a key exchange. A further CONNECT is dropped and counted:
/// said again, it is taken in its time.
pub const JOINS_AT_ONCE_MAX: u64 = 5;

/// How long it takes until it may join once more.
pub const JOIN_EVERY_MS: u64 = 1_000;

/// Battles whose end is remembered, so that a late client is told so; the oldest is forgotten.
pub const OVER_BATTLES_MAX: usize = 1_024;

/// Addresses in one token file.
pub const ADDRESSES_MAX: usize = 32;

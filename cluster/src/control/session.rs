//! A player's session on its way between a gate and a lobby: frames in both directions, each under a MAC.
//!
//! The gate opens it with a sealed request like any call, whose body is the address of the player. After it:
//!
//! ```text
//! body = kind u8 | text
//! mac  = HMAC-SHA256(secret[kid of the request],
//!          "tiltyard session 1\0" | direction u8 (0 to the lobby, 1 to the gate) | nonce of the request 16
//!          | number u64, from 0 for each direction, little-endian | body)
//! ```
//! A frame that was altered, left out, doubled, or moved to another place or session ends the session.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt as _, future, stream};
use ring::hmac;
use tokio::sync::mpsc;
use tonic::Streaming;

use super::message::{CallError, Peer};
use super::proto::Sealed;
use super::wire::{Body, BodyError};

/// Frames that may wait in one direction; who has one more waits.
pub(super) const FRAMES_MAX: usize = 16;
const LABEL: &[u8] = b"tiltyard session 1\0";

/// What passes between gate and lobby about a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text frame of the client or for it.
    Text(String),
    /// The lobby wants a sign of life of the client.
    Ping,
    /// The client gave one.
    Alive,
    /// The client sent a frame above the limit.
    TooLong,
    /// The client sent something that is no text frame.
    Malformed,
    /// The session goes on at another lobby: this one closes.
    Gone,
    /// The session is over.
    Closed,
}

impl Frame {
    fn to_body(&self) -> Vec<u8> {
        let (kind, text) = match self {
            Self::Text(text) => (0, text.as_str()),
            Self::Ping => (1, ""),
            Self::Alive => (2, ""),
            Self::TooLong => (3, ""),
            Self::Malformed => (4, ""),
            Self::Gone => (5, ""),
            Self::Closed => (6, ""),
        };
        [&[kind], text.as_bytes()].concat()
    }

    fn parse(body: &[u8]) -> Option<Self> {
        match body.split_first()? {
            (0, text) => Some(Self::Text(std::str::from_utf8(text).ok()?.to_owned())),
            (1, []) => Some(Self::Ping),
            (2, []) => Some(Self::Alive),
            (3, []) => Some(Self::TooLong),
            (4, []) => Some(Self::Malformed),
            (5, []) => Some(Self::Gone),
            (6, []) => Some(Self::Closed),
            _ => None,
        }
    }
}

/// The address of a player, as the request that opens a session has it.
impl Body for IpAddr {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::V4(address) => address.octets().to_vec(),
            Self::V6(address) => address.octets().to_vec(),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let four = <[u8; 4]>::try_from(bytes).map(Self::from);
        four.or_else(|_| <[u8; 16]>::try_from(bytes).map(Self::from)).map_err(|_| BodyError::Field("address"))
    }
}

#[derive(Clone, Copy)]
enum Direction {
    ToLobby,
    ToGate,
}

/// Seals or opens the frames of one direction, in order.
struct Lane {
    key: hmac::Key,
    direction: Direction,
    nonce: Vec<u8>,
    number: u64,
}

impl Lane {
    fn covered(&mut self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LABEL.len() + 25 + body.len());
        bytes.extend_from_slice(LABEL);
        bytes.push(match self.direction {
            Direction::ToLobby => 0,
            Direction::ToGate => 1,
        });
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(body);
        self.number += 1;
        bytes
    }

    fn seal(&mut self, frame: &Frame) -> Sealed {
        let body = frame.to_body();
        let covered = self.covered(&body);
        let mac = hmac::sign(&self.key, &covered).as_ref().to_vec();
        Sealed { body, mac, ..Sealed::default() }
    }

    fn open(&mut self, sealed: &Sealed) -> Option<Frame> {
        let covered = self.covered(&sealed.body);
        hmac::verify(&self.key, &covered, &sealed.mac).ok()?;
        Frame::parse(&sealed.body)
    }
}

/// Sealed frames as they come in.
pub(super) type Frames = Pin<Box<dyn Stream<Item = Sealed> + Send>>;

/// One end of a session. Dropping it tells the other end.
pub struct SessionLink {
    sealing: Lane,
    outgoing: mpsc::Sender<Sealed>,
    opening: Lane,
    incoming: Frames,
}

impl SessionLink {
    /// The gate's end.
    pub(super) fn of_gate(
        key: &hmac::Key,
        nonce: &[u8],
        outgoing: mpsc::Sender<Sealed>,
        incoming: Frames,
    ) -> Self {
        Self::new(key, nonce, [Direction::ToLobby, Direction::ToGate], outgoing, incoming)
    }

    /// The lobby's end.
    pub(super) fn of_lobby(
        key: &hmac::Key,
        nonce: &[u8],
        outgoing: mpsc::Sender<Sealed>,
        incoming: Frames,
    ) -> Self {
        Self::new(key, nonce, [Direction::ToGate, Direction::ToLobby], outgoing, incoming)
    }

    fn new(
        key: &hmac::Key,
        nonce: &[u8],
        [sends, receives]: [Direction; 2],
        outgoing: mpsc::Sender<Sealed>,
        incoming: Frames,
    ) -> Self {
        let lane = |direction| Lane { key: key.clone(), direction, nonce: nonce.to_vec(), number: 0 };
        Self { sealing: lane(sends), outgoing, opening: lane(receives), incoming }
    }

    /// Both ends of a session without a socket between them: the gate's and the lobby's.
    pub fn pair() -> (Self, Self) {
        let (key, nonce) = (hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]), [0; 16]);
        let (to_lobby, at_lobby) = mpsc::channel(FRAMES_MAX);
        let (to_gate, at_gate) = mpsc::channel(FRAMES_MAX);
        let gate = Self::of_gate(&key, &nonce, to_lobby, frames(at_gate));
        (gate, Self::of_lobby(&key, &nonce, to_gate, frames(at_lobby)))
    }

    /// Sends a frame; answers whether the other end was still there to take it. Who drops this while it waits can
    /// send nothing more that the other end would take.
    pub async fn send(&mut self, frame: Frame) -> bool {
        let sealed = self.sealing.seal(&frame);
        self.outgoing.send(sealed).await.is_ok()
    }

    /// Waits for the next frame; nothing once the other end has gone, or what comes is not from it. May be dropped
    /// while waiting without losing anything.
    pub async fn receive(&mut self) -> Option<Frame> {
        let sealed = self.incoming.next().await?;
        let frame = self.opening.open(&sealed);
        if frame.is_none() {
            self.incoming = Box::pin(stream::empty());
        }
        frame
    }
}

/// What a channel carries, as a stream. A type of its own: the compiler cannot prove a boxed one to be `Send` inside
/// of tonic's calls.
pub(super) struct ChannelFrames {
    pub(super) first: Option<Sealed>,
    pub(super) rest: mpsc::Receiver<Sealed>,
}

impl Stream for ChannelFrames {
    type Item = Sealed;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Sealed>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.rest.poll_recv(context),
        }
    }
}

fn frames(rest: mpsc::Receiver<Sealed>) -> Frames {
    Box::pin(ChannelFrames { first: None, rest })
}

/// What the other side sends, up to its end or the first error.
pub(super) fn received(stream: Streaming<Sealed>) -> Frames {
    let frames = stream.map(Result::ok).take_while(|frame| future::ready(frame.is_some()));
    Box::pin(frames.filter_map(future::ready))
}

/// A lobby, as gates open sessions there.
pub trait SessionHandler: Send + Sync + 'static {
    /// Takes the session of a player at this address, and answers at once whether it did.
    fn take(&self, link: SessionLink, from: IpAddr) -> bool;
}

/// Sessions at lobbies.
#[async_trait]
pub trait SessionCalls: Send + Sync + 'static {
    /// Opens a session for a player at this address.
    ///
    /// # Errors
    /// The lobby does not take it; another one may.
    async fn open(&self, lobby: &Peer, from: IpAddr) -> Result<SessionLink, CallError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(direction: Direction) -> Lane {
        Lane { key: hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), direction, nonce: vec![1; 16], number: 0 }
    }

    #[test]
    fn frames_open_in_their_order_and_direction_alone() {
        let all = [
            Frame::Text("Zoë".to_owned()),
            Frame::Ping,
            Frame::Alive,
            Frame::TooLong,
            Frame::Malformed,
            Frame::Gone,
            Frame::Closed,
        ];
        let (mut sealing, mut opening) = (lane(Direction::ToLobby), lane(Direction::ToLobby));
        let sealed: Vec<_> = all.iter().map(|frame| sealing.seal(frame)).collect();
        for (frame, sealed) in all.iter().zip(&sealed) {
            assert_eq!(opening.open(sealed).as_ref(), Some(frame));
        }
        assert_eq!(lane(Direction::ToGate).open(&sealed[0]), None, "of the other direction");
        assert_eq!(lane(Direction::ToLobby).open(&sealed[1]), None, "one was left out");
        let mut twice = lane(Direction::ToLobby);
        assert!(twice.open(&sealed[0]).is_some());
        assert_eq!(twice.open(&sealed[0]), None, "doubled");
        let mut elsewhere = Lane { nonce: vec![2; 16], ..lane(Direction::ToLobby) };
        assert_eq!(elsewhere.open(&sealed[0]), None, "of another session");
        for bit in 0..sealed[0].body.len() * 8 {
            let mut altered = sealed[0].clone();
            altered.body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(lane(Direction::ToLobby).open(&altered), None, "bit {bit}");
        }
    }

    #[test]
    fn what_is_no_frame_is_none() {
        for body in [&[][..], &[7], &[255], &[1, 0], &[6, b'x'], &[0, 0xff]] {
            assert_eq!(Frame::parse(body), None, "{body:?}");
        }
    }

    #[test]
    fn an_address_has_four_or_sixteen_bytes() {
        for text in ["192.0.2.7", "2001:db8::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(<IpAddr as Body>::parse(&address.to_bytes()), Ok(address));
        }
        for length in [0, 3, 5, 15, 17] {
            assert!(<IpAddr as Body>::parse(&vec![0; length]).is_err());
        }
    }
}

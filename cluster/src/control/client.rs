//! Calls nodes and lobbies.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::message::{
    CallError, DrainAnswer, LobbyCalls, NodeCalls, NodeStatus, Peer, Release, ReleaseAnswer, Reservation,
    ReserveAnswer, SettleAnswer, Settlement,
};
use super::proto::Sealed;
use super::proto::lobby_control_client::LobbyControlClient;
use super::proto::node_control_client::NodeControlClient;
use super::proto::session_control_client::SessionControlClient;
use super::seal::ClusterKeys;
use super::server::{PING_INTERVAL, PING_TIMEOUT, method};
use super::session::{ChannelFrames, FRAMES_MAX, SessionCalls, SessionLink, received};
use super::wire::{Body, Empty, MESSAGE_BYTES_MAX};
use crate::clock::Clock;

/// How long a call may take, from connecting to the answer.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Most connections kept open; when one more is needed, all are let go and made anew as they are used.
const CHANNELS_MAX: usize = 1024;

/// Calls over gRPC. One connection an address, kept open and made again when it breaks.
#[derive(Debug)]
pub struct ControlClient {
    keys: ClusterKeys,
    clock: Clock,
    channels: Mutex<HashMap<SocketAddr, Channel>>,
}

impl ControlClient {
    /// A client that seals with these keys.
    pub fn new(keys: ClusterKeys, clock: Clock) -> Self {
        Self { keys, clock, channels: Mutex::default() }
    }

    fn channel(&self, address: SocketAddr) -> Channel {
        let mut channels = self.channels.lock().expect("no call panics while it holds the channels");
        if channels.len() >= CHANNELS_MAX && !channels.contains_key(&address) {
            channels.clear();
        }
        let connect = || {
            Endpoint::from_shared(format!("http://{address}"))
                .expect("a socket address makes a URI")
                .connect_timeout(CALL_TIMEOUT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .connect_lazy()
        };
        channels.entry(address).or_insert_with(connect).clone()
    }

    fn node(&self, address: SocketAddr) -> NodeControlClient<Channel> {
        NodeControlClient::new(self.channel(address))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn seal<B: Body>(&self, method: &str, peer: &Peer, body: &B) -> Sealed {
        self.keys.seal_request(method, peer.id.as_str(), self.clock.unix_ms(), body.to_bytes())
    }

    /// Waits for the answer within the time and opens it.
    async fn finish<B: Body>(
        &self,
        method: &str,
        peer: &Peer,
        nonce: &[u8],
        call: impl Future<Output = Result<Response<Sealed>, Status>>,
    ) -> Result<B, CallError> {
        let address = peer.control;
        let answer = tokio::time::timeout(CALL_TIMEOUT, call)
            .await
            .map_err(|_| CallError::Unknown(address))?
            .map_err(|status| call_error(address, &status))?;
        let body = self
            .keys
            .open_answer(method, nonce, answer.into_inner())
            .map_err(|_| CallError::BadAnswer(address))?;
        B::parse(&body).map_err(|_| CallError::BadAnswer(address))
    }
}

fn call_error(address: SocketAddr, status: &Status) -> CallError {
    match status.code() {
        Code::Unauthenticated => CallError::Unauthenticated(address),
        Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange | Code::ResourceExhausted => {
            CallError::Rejected(address)
        }
        Code::Unavailable if never_connected(status) => CallError::Unreachable(address),
        _ => CallError::Unknown(address),
    }
}

/// Whether the connection could not even be made, so that the call cannot have happened.
fn never_connected(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::ConnectionRefused;
        }
        source = error.source();
    }
    false
}

#[async_trait]
impl NodeCalls for ControlClient {
    async fn reserve(&self, node: &Peer, reservation: &Reservation) -> Result<ReserveAnswer, CallError> {
        let sealed = self.seal(method::RESERVE, node, reservation);
        let nonce = sealed.nonce.clone();
        let mut client = self.node(node.control);
        self.finish(method::RESERVE, node, &nonce, client.reserve(Request::new(sealed))).await
    }

    async fn release(&self, node: &Peer, release: Release) -> Result<ReleaseAnswer, CallError> {
        let sealed = self.seal(method::RELEASE, node, &release);
        let nonce = sealed.nonce.clone();
        let mut client = self.node(node.control);
        self.finish(method::RELEASE, node, &nonce, client.release(Request::new(sealed))).await
    }

    async fn drain(&self, node: &Peer) -> Result<DrainAnswer, CallError> {
        let sealed = self.seal(method::DRAIN, node, &Empty);
        let nonce = sealed.nonce.clone();
        let mut client = self.node(node.control);
        self.finish(method::DRAIN, node, &nonce, client.drain(Request::new(sealed))).await
    }

    async fn status(&self, node: &Peer) -> Result<NodeStatus, CallError> {
        let sealed = self.seal(method::STATUS, node, &Empty);
        let nonce = sealed.nonce.clone();
        let mut client = self.node(node.control);
        self.finish(method::STATUS, node, &nonce, client.status(Request::new(sealed))).await
    }
}

#[async_trait]
impl LobbyCalls for ControlClient {
    async fn settle(&self, lobby: &Peer, settlement: &Settlement) -> Result<SettleAnswer, CallError> {
        let sealed = self.seal(method::SETTLE, lobby, settlement);
        let nonce = sealed.nonce.clone();
        let mut client = LobbyControlClient::new(self.channel(lobby.control))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        self.finish(method::SETTLE, lobby, &nonce, client.settle(Request::new(sealed))).await
    }
}

#[async_trait]
impl SessionCalls for ControlClient {
    async fn open(&self, lobby: &Peer, from: IpAddr) -> Result<SessionLink, CallError> {
        let address = lobby.control;
        let opening = self.seal(method::OPEN, lobby, &from);
        let key = self.keys.session_key(opening.kid).ok_or(CallError::BadAnswer(address))?.clone();
        let nonce = opening.nonce.clone();
        let (outgoing, sent) = mpsc::channel(FRAMES_MAX);
        let mut client = SessionControlClient::new(self.channel(address))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let opened = client.open(Request::new(ChannelFrames { first: Some(opening), rest: sent }));
        let incoming = match tokio::time::timeout(CALL_TIMEOUT, opened).await {
            Ok(Ok(incoming)) => received(incoming.into_inner()),
            Ok(Err(status)) => return Err(call_error(address, &status)),
            Err(_) => return Err(CallError::Unknown(address)),
        };
        Ok(SessionLink::of_gate(&key, &nonce, outgoing, incoming))
    }
}

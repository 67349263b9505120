//! Control calls straight into the handlers, without sockets, so that they run under paused time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::control::{
    CALL_TIMEOUT, CallError, DrainAnswer, LobbyCalls, LobbyHandler, NodeCalls, NodeHandler, NodeStatus, Peer,
    Release, ReleaseAnswer, Reservation, ReserveAnswer, SessionCalls, SessionHandler, SessionLink,
    SettleAnswer, Settlement,
};
use crate::id::NodeId;

/// Calls nodes and lobbies by name. A name that nobody has is unreachable; an answer that takes longer than
/// [`CALL_TIMEOUT`] is lost, while the call goes on to its end.
#[derive(Default)]
pub struct DirectCalls {
    nodes: Mutex<BTreeMap<NodeId, Arc<dyn NodeHandler>>>,
    lobbies: Mutex<BTreeMap<NodeId, Arc<dyn LobbyHandler>>>,
    sessions: Mutex<BTreeMap<NodeId, Arc<dyn SessionHandler>>>,
}

impl DirectCalls {
    /// Knows a node from now on.
    pub fn add_node(&self, id: NodeId, handler: Arc<dyn NodeHandler>) {
        self.nodes.lock().expect("nobody panics while holding it").insert(id, handler);
    }

    /// Knows a lobby from now on.
    pub fn add_lobby(&self, id: NodeId, handler: Arc<dyn LobbyHandler>) {
        self.lobbies.lock().expect("nobody panics while holding it").insert(id, handler);
    }

    /// Opens sessions at this lobby from now on.
    pub fn add_sessions(&self, id: NodeId, handler: Arc<dyn SessionHandler>) {
        self.sessions.lock().expect("nobody panics while holding it").insert(id, handler);
    }

    /// Knows a node or lobby no more.
    pub fn remove(&self, id: &NodeId) {
        self.nodes.lock().expect("nobody panics while holding it").remove(id);
        self.lobbies.lock().expect("nobody panics while holding it").remove(id);
        self.sessions.lock().expect("nobody panics while holding it").remove(id);
    }

    fn node(&self, peer: &Peer) -> Result<Arc<dyn NodeHandler>, CallError> {
        let nodes = self.nodes.lock().expect("nobody panics while holding it");
        nodes.get(&peer.id).cloned().ok_or(CallError::Unreachable(peer.control))
    }
}

#[async_trait]
impl NodeCalls for DirectCalls {
    async fn reserve(&self, node: &Peer, reservation: &Reservation) -> Result<ReserveAnswer, CallError> {
        reservation.check().map_err(|_| CallError::Rejected(node.control))?;
        let handler = self.node(node)?;
        let reservation = reservation.clone();
        answer(node, async move { handler.reserve(reservation).await }).await
    }

    async fn release(&self, node: &Peer, release: Release) -> Result<ReleaseAnswer, CallError> {
        let handler = self.node(node)?;
        answer(node, async move { handler.release(release).await }).await
    }

    async fn drain(&self, node: &Peer) -> Result<DrainAnswer, CallError> {
        let handler = self.node(node)?;
        answer(node, async move { handler.drain().await }).await
    }

    async fn status(&self, node: &Peer) -> Result<NodeStatus, CallError> {
        let handler = self.node(node)?;
        answer(node, async move { handler.status().await }).await
    }
}

#[async_trait]
impl LobbyCalls for DirectCalls {
    async fn settle(&self, lobby: &Peer, settlement: &Settlement) -> Result<SettleAnswer, CallError> {
        let handler = self.lobbies.lock().expect("nobody panics while holding it").get(&lobby.id).cloned();
        let handler = handler.ok_or(CallError::Unreachable(lobby.control))?;
        let settlement = settlement.clone();
        answer(lobby, async move { handler.settle(settlement).await }).await
    }
}

#[async_trait]
impl SessionCalls for DirectCalls {
    async fn open(&self, lobby: &Peer, from: IpAddr) -> Result<SessionLink, CallError> {
        let unreachable = CallError::Unreachable(lobby.control);
        let handler = self.sessions.lock().expect("nobody panics while holding it").get(&lobby.id).cloned();
        let (gate, at_lobby) = SessionLink::pair();
        if handler.ok_or(unreachable)?.take(at_lobby, from) { Ok(gate) } else { Err(unreachable) }
    }
}

async fn answer<T: Send + 'static>(
    peer: &Peer,
    call: impl Future<Output = T> + Send + 'static,
) -> Result<T, CallError> {
    let unknown = CallError::Unknown(peer.control);
    tokio::time::timeout(CALL_TIMEOUT, tokio::spawn(call)).await.map_err(|_| unknown)?.map_err(|_| unknown)
}

//! Control calls straight into the handlers, without sockets, so that they run under paused time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::control::{
    CallError, DrainAnswer, LobbyCalls, LobbyHandler, NodeCalls, NodeHandler, NodeStatus, Peer, Release,
    ReleaseAnswer, Reservation, ReserveAnswer, SettleAnswer, Settlement,
};
use crate::id::NodeId;

/// Calls nodes and lobbies by name. A name that nobody has is unreachable.
#[derive(Default)]
pub struct DirectCalls {
    nodes: Mutex<BTreeMap<NodeId, Arc<dyn NodeHandler>>>,
    lobbies: Mutex<BTreeMap<NodeId, Arc<dyn LobbyHandler>>>,
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

    /// Knows a node or lobby no more.
    pub fn remove(&self, id: &NodeId) {
        self.nodes.lock().expect("nobody panics while holding it").remove(id);
        self.lobbies.lock().expect("nobody panics while holding it").remove(id);
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
        Ok(self.node(node)?.reserve(reservation.clone()).await)
    }

    async fn release(&self, node: &Peer, release: Release) -> Result<ReleaseAnswer, CallError> {
        Ok(self.node(node)?.release(release).await)
    }

    async fn drain(&self, node: &Peer) -> Result<DrainAnswer, CallError> {
        Ok(self.node(node)?.drain().await)
    }

    async fn status(&self, node: &Peer) -> Result<NodeStatus, CallError> {
        Ok(self.node(node)?.status().await)
    }
}

#[async_trait]
impl LobbyCalls for DirectCalls {
    async fn settle(&self, lobby: &Peer, settlement: &Settlement) -> Result<SettleAnswer, CallError> {
        let handler = self.lobbies.lock().expect("nobody panics while holding it").get(&lobby.id).cloned();
        Ok(handler.ok_or(CallError::Unreachable(lobby.control))?.settle(settlement.clone()).await)
    }
}

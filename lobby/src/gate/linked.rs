//! Sessions that come by way of a gate of its own.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tiltyard_cluster::control::{Frame, SessionHandler, SessionLink};

use super::session::{Incoming, Socket, run_session};
use crate::house::House;
use crate::shares::Origin;

/// Takes the sessions that gates open, as long as the house does not close.
pub(crate) struct LinkedSessions(pub(crate) Arc<House>);

impl SessionHandler for LinkedSessions {
    fn take(&self, link: SessionLink, from: IpAddr) -> bool {
        if self.0.is_closing() {
            return false;
        }
        tokio::spawn(run_session(Arc::clone(&self.0), Linked(link), Origin::of(from)));
        true
    }
}

/// A session's link as its socket.
pub(crate) struct Linked(pub(crate) SessionLink);

#[async_trait]
impl Socket for Linked {
    async fn receive(&mut self) -> Incoming {
        match self.0.receive().await {
            Some(Frame::Text(text)) => Incoming::Text(text),
            Some(Frame::Alive) => Incoming::Alive,
            Some(Frame::TooLong) => Incoming::TooLong,
            // A gate sends none of the others.
            Some(Frame::Malformed | Frame::Ping | Frame::Gone) => Incoming::Malformed,
            Some(Frame::Closed) | None => Incoming::Closed,
        }
    }

    async fn send(&mut self, text: String) -> bool {
        self.0.send(Frame::Text(text)).await
    }

    async fn ping(&mut self) -> bool {
        self.0.send(Frame::Ping).await
    }

    async fn move_on(&mut self) -> bool {
        self.0.send(Frame::Gone).await
    }

    async fn close(&mut self) {
        self.0.send(Frame::Closed).await;
    }
}

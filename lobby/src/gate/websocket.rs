//! The gate's WebSocket.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::Extension;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use futures_util::future;
use tiltyard_api::limits::CLIENT_MESSAGE_BYTES_MAX;
use tracing::Instrument as _;

use super::listener::Permit;
use super::session::{Incoming, Socket};

/// Bytes gathered before a write to the socket, and most that wait there.
const WRITE_BUFFER: usize = 4 * 1024;
const WRITE_BUFFER_MAX: usize = 256 * 1024;

/// The gate: a WebSocket at `/` and at `/gate`, each served by a task of its own.
pub(crate) fn gate_routes<Serving>(
    serve: impl Fn(Framed, IpAddr) -> Serving + Clone + Send + Sync + 'static,
) -> Router
where
    Serving: Future<Output = ()> + Send + 'static,
{
    let upgrade = move |Extension(permit): Extension<Arc<Permit>>, upgrade: WebSocketUpgrade| {
        let serve = serve.clone();
        // No compression is ever agreed on, so a frame is never larger inside than outside.
        let answer: Response = upgrade
            .max_message_size(CLIENT_MESSAGE_BYTES_MAX)
            .max_frame_size(CLIENT_MESSAGE_BYTES_MAX)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .on_upgrade(move |socket| {
                permit.upgraded();
                let span = tracing::info_span!("session", peer = %permit.peer());
                async move {
                    serve(Framed(socket), permit.peer().ip()).await;
                    drop(permit);
                }
                .instrument(span)
            });
        future::ready(answer)
    };
    Router::new().route("/", any(upgrade.clone())).route("/gate", any(upgrade))
}

/// A WebSocket that carries text frames.
pub(crate) struct Framed(WebSocket);

#[async_trait]
impl Socket for Framed {
    async fn receive(&mut self) -> Incoming {
        match self.0.recv().await {
            Some(Ok(Message::Text(text))) => Incoming::Text(text.as_str().to_owned()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Incoming::Alive,
            Some(Ok(Message::Binary(_))) => Incoming::Malformed,
            Some(Ok(Message::Close(_))) | None => Incoming::Closed,
            Some(Err(error)) => kind_of(&error),
        }
    }

    async fn send(&mut self, text: String) -> bool {
        self.0.send(Message::Text(text.into())).await.is_ok()
    }

    async fn ping(&mut self) -> bool {
        self.0.send(Message::Ping(Vec::new().into())).await.is_ok()
    }

    async fn close(&mut self) {
        // A connection that is gone is closed.
        let _ = self.0.send(Message::Close(None)).await;
    }
}

/// Axum hides the kind of an error; its text says whether a limit was passed.
fn kind_of(error: &axum::Error) -> Incoming {
    let said = error.to_string();
    if said.contains("too long") || said.contains("Space limit") {
        Incoming::TooLong
    } else if said.contains("onnection") || said.contains("IO error") {
        Incoming::Closed
    } else {
        Incoming::Malformed
    }
}

//! One WebSocket to the gate. A task reads it, so that pings are answered while nobody asks anything.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tiltyard_api::limits::GATE_MESSAGE_BYTES_MAX;
use tiltyard_api::{ClientMessage, GateMessage};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::error::LobbyError;

/// Messages that wait to be read by the session; while they are full the gate's are not read.
const INCOMING_MAX: usize = 64;

/// Messages that wait to be sent; a session asks one thing at a time.
const OUTGOING_MAX: usize = 4;

/// Silence of the gate after which the connection counts as broken. Gates ping far more often.
const SILENCE_MS: u64 = 90_000;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An open connection; dropping it closes it.
pub(crate) struct Wire {
    outgoing: mpsc::Sender<ClientMessage>,
    incoming: mpsc::Receiver<Result<GateMessage, LobbyError>>,
    task: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn connect(url: &str, time: Duration) -> Result<Self, LobbyError> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(GATE_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(GATE_MESSAGE_BYTES_MAX));
        let connecting = connect_async_with_config(url, Some(config), true);
        let socket = match timeout(time, connecting).await {
            Ok(connected) => connected.map_err(Box::new)?.0,
            Err(_) => return Err(timed_out("hello", time)),
        };
        let (outgoing, to_send) = mpsc::channel(OUTGOING_MAX);
        let (received, incoming) = mpsc::channel(INCOMING_MAX);
        let task = tokio::spawn(run(socket, to_send, received));
        Ok(Self { outgoing, incoming, task })
    }

    pub(crate) async fn send(&self, message: ClientMessage) -> Result<(), LobbyError> {
        self.outgoing.send(message).await.map_err(|_| LobbyError::Closed)
    }

    /// Breaks the connection without a word.
    pub(crate) fn cut(&self) {
        self.task.abort();
    }

    /// The next message; `what` names it if it does not come in time.
    pub(crate) async fn receive(
        &mut self,
        what: &'static str,
        time: Duration,
    ) -> Result<GateMessage, LobbyError> {
        match timeout(time, self.incoming.recv()).await {
            Ok(Some(message)) => message,
            Ok(None) => Err(LobbyError::Closed),
            Err(_) => Err(timed_out(what, time)),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn timed_out(what: &'static str, time: Duration) -> LobbyError {
    LobbyError::TimedOut { what, ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX) }
}

/// Carries messages until either side is gone; the reason for the end is the last message.
async fn run(
    mut socket: Socket,
    mut to_send: mpsc::Receiver<ClientMessage>,
    received: mpsc::Sender<Result<GateMessage, LobbyError>>,
) {
    let silence = Duration::from_millis(SILENCE_MS);
    loop {
        let message = tokio::select! {
            message = to_send.recv() => {
                let Some(message) = message else { break };
                if let Err(error) = socket.send(Message::text(message.to_json())).await {
                    // The session may be given up already; then nobody is there to hear of the error.
                    let _ = received.send(Err(Box::new(error).into())).await;
                    return;
                }
                continue;
            }
            incoming = timeout(silence, socket.next()) => match incoming {
                Err(_) => Err(timed_out("anything", silence)),
                Ok(None | Some(Ok(Message::Close(_)))) => Err(LobbyError::Closed),
                Ok(Some(Err(error))) => Err(Box::new(error).into()),
                Ok(Some(Ok(Message::Text(text)))) => GateMessage::parse(text.as_str()).map_err(Into::into),
                // A ping is answered by the next read; nothing else is part of the protocol.
                Ok(Some(Ok(_))) => continue,
            },
        };
        let ends = message.is_err();
        if received.send(message).await.is_err() || ends {
            break;
        }
    }
    // A socket that is broken already needs no farewell.
    let _ = socket.close(None).await;
}

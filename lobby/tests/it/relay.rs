//! A relay in front of a service, which a test can stall, cut, or make deaf.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a relay does with what passes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    Open,
    /// Connections are taken and kept, and nothing passes until it is open again.
    Stalled,
    /// Connections end at once.
    Cut,
    /// What clients say arrives; what the service answers does not.
    Deaf,
}

/// A way to a service. It ends with the runtime of its test.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    passage: watch::Sender<Passage>,
}

impl Relay {
    pub(crate) async fn new(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (passage, state) = watch::channel(Passage::Open);
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), state.clone()));
            }
        });
        Self { address, passage }
    }

    pub(crate) fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

/// Carries what both sides say, whole or not at all, until one of them ends.
async fn pass(mut client: TcpStream, server: String, mut state: watch::Receiver<Passage>) {
    let Ok(mut server) = TcpStream::connect(&server).await else { return };
    let (mut said, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let passage = *state.borrow_and_update();
        let passes = matches!(passage, Passage::Open | Passage::Deaf);
        if passage == Passage::Cut {
            return;
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            read = client.read(&mut said), if passes => {
                let Ok(length @ 1..) = read else { return };
                if server.write_all(&said[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered), if passes => {
                let Ok(length @ 1..) = read else { return };
                if passage == Passage::Open && client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

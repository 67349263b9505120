//! A way to etcd that can swallow everything without closing.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on to a server, each with a serial number. Those below `dead_below` are dead for good: what is
/// sent over them arrives nowhere, and neither end is told.
pub(crate) struct Link {
    address: SocketAddr,
    dead_below: Arc<watch::Sender<u64>>,
    serials: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Link {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let dead_below = Arc::new(watch::Sender::new(0));
        let (serial, serials) = watch::channel(0);
        let dead = Arc::clone(&dead_below);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let this = *serial.borrow();
                serial.send_replace(this + 1);
                let Ok(far) = TcpStream::connect(server).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(pass(this, near_in, far_out, dead.subscribe()));
                tokio::spawn(pass(this, far_in, near_out, dead.subscribe()));
            }
        });
        Self { address, dead_below, serials, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on nothing passes, over connections old and new.
    pub(crate) fn swallow(&self) {
        self.dead_below.send_replace(u64::MAX);
    }

    /// New connections pass again; those from before are dead.
    pub(crate) fn open(&self) {
        self.dead_below.send_replace(*self.serials.borrow());
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    serial: u64,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    dead_below: watch::Receiver<u64>,
) {
    let mut bytes = vec![0; 16 * 1024];
    let mut dead = false;
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        dead |= serial < *dead_below.borrow();
        if !dead && to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
    if dead {
        // Not even the end is told.
        std::future::pending::<()>().await;
    }
}

//! A UDP socket that is read in batches (recvmmsg where there is one).

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams in one call at most.
pub(super) const BATCH_MAX: usize = 32;

/// The kernel may hand over a train of datagrams of one sender as one (GRO): each buffer takes the longest train.
const BUFFER_LEN: usize = 64 * 1024;

/// Calls in one `drain` at most, so that a flood cannot keep the caller from its tick.
const ROUNDS_MAX: usize = 64;

/// What the kernel should hold for us, bytes; it gives as much as its own limit allows.
const KERNEL_BUFFER: usize = 4 * 1024 * 1024;

pub(super) struct BatchSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    buffers: Vec<u8>,
    batch: usize,
    /// A datagram that the kernel had no room for, and where it goes.
    stuck: Option<SocketAddr>,
    out: Vec<u8>,
}

impl BatchSocket {
    /// Binds a socket; `batch` datagrams (at most `BATCH_MAX`) are read in one call.
    pub(super) async fn bind(address: SocketAddr, batch: usize) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let state = UdpSocketState::new((&socket).into())?;
        let kernel = SockRef::from(&socket);
        // Smaller buffers work too, a burst then loses more.
        let _ = kernel.set_recv_buffer_size(KERNEL_BUFFER);
        let _ = kernel.set_send_buffer_size(KERNEL_BUFFER);
        let batch = batch.clamp(1, BATCH_MAX);
        Ok(Self { socket, state, buffers: vec![0; BUFFER_LEN * batch], batch, stuck: None, out: Vec::new() })
    }

    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Whether a datagram waits for room in the kernel.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// Reads what is there and hands it over, datagram by datagram; gives how many.
    pub(super) fn drain(&mut self, mut take: impl FnMut(SocketAddr, &mut [u8])) -> io::Result<usize> {
        let mut count = 0;
        for _ in 0..ROUNDS_MAX {
            let mut metas = [RecvMeta::default(); BATCH_MAX];
            let received = {
                let mut buffers = self.buffers.chunks_mut(BUFFER_LEN);
                let mut slices: [IoSliceMut<'_>; BATCH_MAX] =
                    std::array::from_fn(|_| IoSliceMut::new(buffers.next().unwrap_or_default()));
                let slices = &mut slices[..self.batch];
                self.socket.try_io(Interest::READABLE, || {
                    self.state.recv((&self.socket).into(), slices, &mut metas[..self.batch])
                })
            };
            let received = match received {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // What came back of an earlier send (nobody listens there): the endpoint finds out by itself.
                Err(error) if is_of_the_peer(error.kind()) => continue,
                Err(error) => return Err(error),
            };
            for (buffer, meta) in self.buffers.chunks_mut(BUFFER_LEN).zip(&metas[..received]) {
                let Some(bytes) = buffer.get_mut(..meta.len) else { continue };
                if bytes.is_empty() {
                    take(meta.addr, bytes);
                    count += 1;
                    continue;
                }
                for datagram in bytes.chunks_mut(meta.stride.max(1)) {
                    take(meta.addr, datagram);
                    count += 1;
                }
            }
            if received < self.batch {
                break;
            }
        }
        Ok(count)
    }

    /// Sends what `next` writes until it has nothing more, or the kernel has no room; gives how many went.
    pub(super) fn flush(
        &mut self,
        mut next: impl FnMut(&mut Vec<u8>) -> Option<SocketAddr>,
    ) -> io::Result<usize> {
        let mut count = 0;
        loop {
            let to = match self.stuck.take() {
                Some(to) => to,
                None => match next(&mut self.out) {
                    Some(to) => to,
                    None => return Ok(count),
                },
            };
            match self.socket.try_send_to(&self.out, to) {
                Ok(_) => count += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stuck = Some(to);
                    return Ok(count);
                }
                // A datagram that cannot go is a datagram lost; the lanes are made for that.
                Err(_) => {}
            }
        }
    }
}

fn is_of_the_peer(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::Interrupted
    )
}

//! A UDP socket that is read and written in batches (recvmmsg and sendmmsg where there are such).

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::send_batch::SendBatch;

/// Datagrams that are read in one call at most.
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
    /// What goes next, and what the kernel had no room for.
    outgoing: SendBatch,
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
        Ok(Self {
            socket,
            state,
            buffers: vec![0; BUFFER_LEN * batch],
            batch,
            outgoing: SendBatch::default(),
        })
    }

    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// A further handle of the same socket, which does not block.
    #[cfg(feature = "quic")]
    pub(super) fn another_handle(&self) -> io::Result<std::net::UdpSocket> {
        Ok(SockRef::from(&self.socket).try_clone()?.into())
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Whether datagrams wait for room in the kernel.
    pub(super) fn is_stuck(&self) -> bool {
        !self.outgoing.is_empty()
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
            if self.outgoing.is_empty() {
                self.outgoing.gather(&mut next);
            }
            if self.outgoing.is_empty() {
                return Ok(count);
            }
            match self.outgoing.send(&self.socket) {
                Ok(sent) => count += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(count),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::send_batch::SEND_MAX;
    use super::*;

    /// More than two calls, the last one not full.
    const COUNT: u32 = 2 * SEND_MAX as u32 + 7;

    #[tokio::test]
    async fn real_socket_datagrams_of_many_calls_arrive_in_order_but_for_those_that_cannot_go() {
        let home = "127.0.0.1:0".parse().unwrap();
        let mut from = BatchSocket::bind(home, 1).await.unwrap();
        let mut to =
            [BatchSocket::bind(home, BATCH_MAX).await.unwrap(), BatchSocket::bind(home, 1).await.unwrap()];
        let addresses = to.each_ref().map(|socket| socket.local_address().unwrap());
        // The first of a call, one within, the last of all, and the whole of what is left after them.
        let impossible = [0, SEND_MAX as u32 / 2, SEND_MAX as u32 + 1, COUNT - 1];
        for round in 1..=2 {
            let mut next = 0..COUNT;
            let mut write = |out: &mut Vec<u8>| {
                let number = next.next()?;
                out.clear();
                out.extend_from_slice(&number.to_le_bytes());
                // Nothing can be sent to port 0.
                let address = addresses[number as usize % 2];
                Some(if impossible.contains(&number) { (address.ip(), 0).into() } else { address })
            };
            let mut sent = 0;
            while sent < COUNT as usize - impossible.len() {
                sent += from.flush(&mut write).unwrap();
                // The runtime learns meanwhile that the socket takes more.
                tokio::task::yield_now().await;
            }
            for (parity, socket) in to.iter_mut().enumerate() {
                let expected = (0..COUNT).filter(|number| *number as usize % 2 == parity);
                let expected: Vec<_> = expected.filter(|number| !impossible.contains(number)).collect();
                let mut came = Vec::new();
                while came.len() < expected.len() {
                    let waiting = tokio::time::timeout(Duration::from_secs(30), socket.readable()).await;
                    waiting.expect("what is missing comes").unwrap();
                    let take = |_, bytes: &mut [u8]| came.push(u32::from_le_bytes(bytes.try_into().unwrap()));
                    socket.drain(take).unwrap();
                }
                assert_eq!(came, expected, "round {round}");
            }
            assert!(!from.is_stuck());
        }
    }
}

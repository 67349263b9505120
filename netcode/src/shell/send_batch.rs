//! Datagrams on their way to the kernel: many in one call where it takes many (sendmmsg, on Linux), else one by one.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

/// Datagrams in one call at most. A worker's tick says hundreds; the sealed bytes of so many stay in the cache.
pub(super) const SEND_MAX: usize = 64;

/// Datagrams that wait for room in the kernel, in their order. What they lie in is kept for its memory.
#[derive(Default)]
pub(super) struct SendBatch {
    bytes: Vec<Vec<u8>>,
    to: Vec<SocketAddr>,
    /// How many of them went.
    gone: usize,
}

impl SendBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.gone == self.to.len()
    }

    /// Takes what `next` writes, until it has nothing more or the batch is full. Only into an empty batch.
    pub(super) fn gather(&mut self, next: &mut impl FnMut(&mut Vec<u8>) -> Option<SocketAddr>) {
        assert!(self.is_empty(), "{} of {} datagrams went", self.gone, self.to.len());
        self.to.clear();
        self.gone = 0;
        while self.to.len() < SEND_MAX {
            if self.bytes.len() == self.to.len() {
                self.bytes.push(Vec::new());
            }
            let Some(to) = next(&mut self.bytes[self.to.len()]) else { return };
            self.to.push(to);
        }
    }

    /// Hands to the kernel what it takes in one call; gives how many datagrams. Of an error but `WouldBlock` the first
    /// one was the cause, and is dropped.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let (bytes, to) = (&self.bytes[self.gone..self.to.len()], &self.to[self.gone..]);
        let sent = match (bytes, to) {
            ([], _) | (_, []) => return Ok(0),
            ([bytes], [to]) => socket.try_send_to(bytes, *to).map(|_| 1),
            (_, _) => many::send(socket, bytes, to),
        };
        self.gone += match &sent {
            Ok(sent) => *sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => 1,
        };
        sent
    }
}

#[cfg(target_os = "linux")]
mod many {
    use std::array::from_fn;
    use std::io::{self, IoSlice};
    use std::net::SocketAddr;

    use rustix::net::addr::SocketAddrArg;
    use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
    use tokio::io::Interest;
    use tokio::net::UdpSocket;

    use super::SEND_MAX;

    /// What a client has to say at once, for which the many headers of a worker's call would cost more than they save.
    const FEW: usize = 8;

    /// At most `SEND_MAX` datagrams, in one call.
    pub(super) fn send(socket: &UdpSocket, bytes: &[Vec<u8>], to: &[SocketAddr]) -> io::Result<usize> {
        match to.len() {
            ..=FEW => send_up_to::<FEW>(socket, bytes, to),
            _ => send_up_to::<SEND_MAX>(socket, bytes, to),
        }
    }

    fn send_up_to<const N: usize>(
        socket: &UdpSocket,
        bytes: &[Vec<u8>],
        to: &[SocketAddr],
    ) -> io::Result<usize> {
        let count = bytes.len().min(to.len()).min(N);
        // The kernel is told of the first `count`; what stands behind them is the first again, to have something.
        let at = |index: usize| if index < count { index } else { 0 };
        let names: [SocketAddrAny; N] = from_fn(|index| to[at(index)].as_any());
        let slices: [[IoSlice<'_>; 1]; N] = from_fn(|index| [IoSlice::new(&bytes[at(index)])]);
        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; N] = from_fn(|_| SendAncillaryBuffer::default());
        let mut controls = controls.iter_mut();
        let mut headers: [MMsgHdr<'_>; N] = from_fn(|index| {
            let control = controls.next().expect("there are as many as headers");
            MMsgHdr::new_with_addr(&names[index], &slices[index], control)
        });
        socket.try_io(Interest::WRITABLE, || Ok(sendmmsg(socket, &mut headers[..count], SendFlags::empty())?))
    }
}

#[cfg(not(target_os = "linux"))]
mod many {
    use std::io;
    use std::net::SocketAddr;

    use tokio::net::UdpSocket;

    /// The first of them.
    pub(super) fn send(socket: &UdpSocket, bytes: &[Vec<u8>], to: &[SocketAddr]) -> io::Result<usize> {
        match (bytes, to) {
            ([bytes, ..], [to, ..]) => socket.try_send_to(bytes, *to).map(|_| 1),
            (_, _) => Ok(0),
        }
    }
}

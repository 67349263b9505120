//! The floor: UDP by recvmmsg and sendmmsg, and nothing on top of it.

use std::collections::HashSet;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

use crate::case::{Case, DOWN, Figures, Flow, Meter, UP, client_socket, server_socket};
use crate::players::{Plan, heard, take_turns, ticks, wait_each};

const BATCH: usize = 64;

/// When the server looks at its socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    WhenSomethingComes,
    OnceATick,
}

pub fn serve(case: Case, reads: Reads) -> Result<Figures> {
    let socket = server_socket()?;
    let mut meter = Meter::start(case, socket.local_addr()?, &[])?;
    let mut buffers = vec![[0; 1_200]; BATCH];
    // One for each way: nix leaves the addresses of what was sent in it, where those of what comes would be written to.
    let mut coming = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut going = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut known = HashSet::new();
    let mut sessions: Vec<Option<SockaddrIn>> = Vec::new();
    loop {
        let left = meter.left();
        if reads == Reads::OnceATick {
            std::thread::sleep(left);
        } else if !left.is_zero() {
            ppoll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], Some(left.into()), None)?;
        }
        loop {
            let mut buffers = buffers.iter_mut();
            let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
                std::array::from_fn(|_| [IoSliceMut::new(buffers.next().expect("as many as slices"))]);
            let flags = MsgFlags::MSG_DONTWAIT;
            let came = match recvmmsg(socket.as_raw_fd(), &mut coming, slices.iter_mut(), flags, None) {
                Ok(came) => came,
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            };
            let mut count = 0;
            for message in came {
                count += 1;
                let Some(from) = message.address else { bail!("a datagram from nowhere") };
                if known.insert(SocketAddrV4::from(from)) {
                    sessions.push(Some(from));
                }
                meter.input();
            }
            if count < BATCH {
                break;
            }
        }
        if Instant::now() < meter.due() {
            continue;
        }
        if let Flow::Over = meter.tick(sessions.len())? {
            return meter.figures();
        }
        for sessions in sessions.chunks(BATCH) {
            let slices: [[IoSlice<'_>; 1]; BATCH] = [[IoSlice::new(&DOWN)]; BATCH];
            let slices = &slices[..sessions.len()];
            sendmmsg(socket.as_raw_fd(), &mut going, slices, sessions, [], MsgFlags::empty())?;
        }
    }
}

pub fn play(plan: &Plan) -> Result<()> {
    let join = |_| client_socket(plan.server);
    take_turns(plan, join, |socket| {
        let mut buffer = [0; 2_048];
        loop {
            match socket.recv(&mut buffer) {
                Ok(_) => heard(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        socket.send(&UP)?;
        Ok(())
    })
}

/// As `play`, but each client waits for its socket, as those of quinn and tokio_kcp do: to wake them is work of the
/// server's thread.
pub fn play_woken(plan: &Plan) -> Result<()> {
    let server = plan.server;
    wait_each(plan, move |_| async move {
        let socket = tokio::net::UdpSocket::from_std(client_socket(server)?)?;
        let (mut buffer, mut ticks) = ([0; 2_048], ticks());
        loop {
            tokio::select! {
                came = socket.recv(&mut buffer) => {
                    came?;
                    heard();
                }
                _ = ticks.tick() => {
                    socket.send(&UP).await?;
                }
            }
        }
    })
}

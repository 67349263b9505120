//! tokio_kcp, not encrypted, set to its fastest as games do. What came is taken once a tick; its own tasks read and send
//! on the same thread.

use std::task::{Context, Poll, Waker};

use anyhow::Result;
use tokio::net::UdpSocket;
use tokio_kcp::{KcpConfig, KcpListener, KcpNoDelayConfig, KcpStream};

use crate::case::{Case, DOWN, Figures, Flow, Meter, UP, client_socket, server_socket};
use crate::players::{Plan, heard, ticks, wait_each};

fn config() -> KcpConfig {
    KcpConfig { nodelay: KcpNoDelayConfig::fastest(), flush_write: true, ..KcpConfig::default() }
}

pub fn serve(case: Case) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve_on(case))
}

async fn serve_on(case: Case) -> Result<Figures> {
    let mut listener = KcpListener::from_socket(config(), UdpSocket::from_std(server_socket()?)?).await?;
    let mut meter = Meter::start(case, listener.local_addr()?, &[])?;
    let mut sessions: Vec<KcpStream> = Vec::new();
    let mut buffer = [0; 2_048];
    loop {
        tokio::time::sleep_until(meter.due().into()).await;
        let mut nobody = Context::from_waker(Waker::noop());
        while let Poll::Ready(session) = listener.poll_accept(&mut nobody) {
            sessions.push(session?.0);
        }
        if let Flow::Over = meter.tick(sessions.len())? {
            return meter.figures();
        }
        for session in &mut sessions {
            while let Poll::Ready(came) = session.poll_recv(&mut nobody, &mut buffer) {
                came?;
                meter.input();
            }
            // A session whose window is full waits for the next tick.
            if let Poll::Ready(sent) = session.poll_send(&mut nobody, &DOWN) {
                sent?;
            }
        }
    }
}

pub fn play(plan: &Plan) -> Result<()> {
    let server = plan.server;
    wait_each(plan, move |_| async move {
        let socket = UdpSocket::from_std(client_socket(server)?)?;
        let mut session = KcpStream::connect_with_socket(&config(), socket, server).await?;
        let (mut buffer, mut ticks) = ([0; 2_048], ticks());
        loop {
            tokio::select! {
                came = session.recv(&mut buffer) => {
                    came?;
                    heard();
                }
                _ = ticks.tick() => {
                    session.send(&UP).await?;
                }
            }
        }
    })
}

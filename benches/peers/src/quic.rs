//! quinn, on QUIC datagrams. What came is taken once a tick; its own tasks read and send on the same thread.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use quinn::{Connection, Endpoint, EndpointConfig, TokioRuntime};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::case::{Case, DOWN, Figures, Flow, Meter, UP, client_socket, server_socket};
use crate::players::{Plan, heard, ticks, wait_each};

pub fn serve(case: Case) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve_on(case))
}

async fn serve_on(case: Case) -> Result<Figures> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = quinn::ServerConfig::with_single_cert(vec![certificate.clone()], key)?;
    let (socket, runtime) = (server_socket()?, Arc::new(TokioRuntime));
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)?;
    let mut meter = Meter::start(case, endpoint.local_addr()?, &certificate)?;
    let (came, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let came = came.clone();
            tokio::spawn(async move {
                // One that does not come about is missed by the meter.
                if let Ok(connection) = incoming.await {
                    let _ = came.send(connection);
                }
            });
        }
    });
    let mut sessions: Vec<Connection> = Vec::new();
    loop {
        tokio::time::sleep_until(meter.due().into()).await;
        while let Ok(connection) = arrivals.try_recv() {
            sessions.push(connection);
        }
        if let Flow::Over = meter.tick(sessions.len())? {
            return meter.figures();
        }
        let mut nobody = Context::from_waker(Waker::noop());
        for session in &sessions {
            while let Poll::Ready(datagram) = pin!(session.read_datagram()).poll(&mut nobody) {
                datagram?;
                meter.input();
            }
            session.send_datagram(Bytes::from_static(&DOWN))?;
        }
    }
}

pub fn play(plan: &Plan) -> Result<()> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(plan.certificate.clone()))?;
    let config = quinn::ClientConfig::with_root_certificates(Arc::new(roots))?;
    let server = plan.server;
    wait_each(plan, move |_| {
        let config = config.clone();
        async move {
            let (socket, runtime) = (client_socket(server)?, Arc::new(TokioRuntime));
            let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime)?;
            let session = endpoint.connect_with(config, server, "localhost")?.await.context("connecting")?;
            let mut ticks = ticks();
            loop {
                tokio::select! {
                    datagram = session.read_datagram() => {
                        datagram?;
                        heard();
                    }
                    _ = ticks.tick() => session.send_datagram(Bytes::from_static(&UP))?,
                }
            }
        }
    })
}

//! tiltyard: its shell with its endpoint, encrypted, over each of its transports.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use anyhow::{Result, bail};
use tiltyard_netcode::shell::{Certificate, ClientShell, ServerShell, StreamOffer};
use tiltyard_netcode::token::{BattleKey, Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{
    BattleId, Client, ClientConfig, ClientEvent, ConnectionId, Epoch, Feed, HostedBattle, LaneWish, Millis,
    ServerConfig, ServerEvent, Transport, TransportWish, system_random,
};

use crate::case::{Case, DOWN, Figures, Flow, Meter, UP, client_socket};
use crate::players::{Plan, heard, take_turns, ticks, wait_each};
use crate::raw::Reads;

/// Seats of one battle; more sessions are more battles.
const SEATS: usize = 1_000;
const PROTOCOL: [u8; 16] = [7; 16];
const STREAM_PORT_TRIES: usize = 100;

fn key(battle: usize) -> BattleKey {
    MasterKey::from_bytes(1, [3; 32]).battle_key(BattleId(battle as u64))
}

/// Whether anything is said beside what keeps a session alive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    EveryTick,
    Nothing,
}

pub fn serve(case: Case, reads: Reads, talk: Talk) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve_on(case, reads, talk))
}

/// As the worker of a battle node: wait, take what came, make the tick if it is due, send.
async fn serve_on(case: Case, reads: Reads, talk: Talk) -> Result<Figures> {
    let mut shell = bind(case.sessions).await?;
    for battle in 0..case.sessions.div_ceil(SEATS) {
        let keys = vec![key(battle)];
        let hosted = HostedBattle {
            keys,
            epoch: Epoch(1),
            protocol_hash: PROTOCOL,
            rate_hz: 30,
            math_hash: 0,
            hides: false,
        };
        shell.server.host(BattleId(battle as u64), hosted);
    }
    let mut meter = Meter::start(case, shell.local_address()?, &[])?;
    let mut connections: Vec<ConnectionId> = Vec::new();
    loop {
        if reads == Reads::OnceATick {
            std::thread::sleep(meter.left());
            // The runtime looks whether the socket has something.
            tokio::task::yield_now().await;
        }
        let deadline = shell.now() + meter.left().as_micros().div_ceil(1_000) as u64;
        shell.wait_until(deadline).await?;
        while let Some(event) = shell.server.poll_event() {
            match event {
                ServerEvent::Connected(client) => connections.push(client.connection),
                ServerEvent::Message { .. } => meter.input(),
                ServerEvent::Disconnected { connection, reason, .. } => {
                    bail!("{connection:?} of {} left: {reason:?}", connections.len())
                }
            }
        }
        if Instant::now() >= meter.due() {
            if let Flow::Over = meter.tick(connections.len())? {
                return meter.figures();
            }
            let now = shell.now();
            let spoken_to = if talk == Talk::EveryTick { connections.as_slice() } else { &[] };
            for connection in spoken_to {
                shell.server.send_feed(now, *connection, &DOWN)?;
            }
        }
        shell.flush()?;
    }
}

/// A shell with streams of both kinds at the address of its datagrams; they are served by its own thread.
async fn bind(sessions: usize) -> Result<ServerShell> {
    let config =
        ServerConfig { worker: 0, connections_max: sessions as u32, unix_offset_ms: 0, skew_ms: 5_000 };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate =
        Certificate::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes())?;
    for _ in 0..STREAM_PORT_TRIES {
        let shell = ServerShell::bind("127.0.0.1:0".parse()?, config.clone()).await?;
        // A port that is free for datagrams may be taken for streams.
        if let Ok(listener) = tokio::net::TcpListener::bind(shell.local_address()?).await {
            let offer = StreamOffer { tcp: true, websocket: Some(certificate) };
            tokio::spawn(shell.door().serve(listener, offer));
            return Ok(shell);
        }
    }
    bail!("no port is free for datagrams and streams")
}

fn config(number: usize, server: SocketAddr, lane: LaneWish, transport: Transport) -> ClientConfig {
    let session_secret = SessionSecret::from_bytes(system_random());
    let claims = Claims {
        player: number as u64,
        seat: (number % SEATS) as u16,
        team: 0,
        role: Role::Player,
        protocol_hash: PROTOCOL,
        issued_unix_ms: 0,
        session_secret: session_secret.clone(),
        bytes_per_second_max: 0,
        inputs_per_second_max: 0,
        loadout_hash: [0; 32],
        user_data: Vec::new(),
    };
    let token = mint(&key(number / SEATS), system_random(), u64::MAX, &claims);
    ClientConfig {
        token_file: TokenFile { token, session_secret, addresses: vec![server] },
        feed: Feed::Snapshot,
        lane,
        protocol_hash: PROTOCOL,
        math_hash: None,
        resume_tick: None,
        transport: TransportWish::Only(transport),
        connect_sequence: 1,
    }
}

struct Player {
    client: Client,
    socket: UdpSocket,
    is_in: bool,
}

pub fn play_datagrams(plan: &Plan, lane: LaneWish, talk: Talk) -> Result<()> {
    let began = Instant::now();
    let now = move || Millis(began.elapsed().as_millis() as u64);
    let join = |number| {
        let config = config(number, plan.server, lane, Transport::Udp);
        let client = Client::new(config, now(), system_random());
        Ok(Player { client, socket: client_socket(plan.server)?, is_in: false })
    };
    let mut out = Vec::new();
    take_turns(plan, join, |Player { client, socket, is_in }| {
        let (now, mut buffer) = (now(), [0; 2_048]);
        loop {
            match socket.recv(&mut buffer) {
                Ok(len) => client.handle_datagram(now, plan.server, &mut buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        client.handle_timeout(now);
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::Accepted { .. } => *is_in = true,
                ClientEvent::Message { .. } => heard(),
                other => bail!("{other:?}"),
            }
        }
        if *is_in && talk == Talk::EveryTick {
            client.send_feed(now, &UP)?;
        }
        while client.poll_transmit(now, &mut out).is_some() {
            socket.send(&out)?;
        }
        Ok(())
    })
}

pub fn play_streams(plan: &Plan, transport: Transport) -> Result<()> {
    let server = plan.server;
    wait_each(plan, move |number| async move {
        let mut shell = ClientShell::connect(config(number, server, LaneWish::Auto, transport)).await?;
        let (mut ticks, mut is_in) = (ticks(), false);
        loop {
            let far = shell.now() + 1_000;
            tokio::select! {
                waited = shell.wait_until(far) => waited?,
                _ = ticks.tick() => if is_in {
                    let now = shell.now();
                    shell.client.send_feed(now, &UP)?;
                },
            }
            while let Some(event) = shell.client.poll_event() {
                match event {
                    ClientEvent::Accepted { .. } => is_in = true,
                    ClientEvent::Message { .. } => heard(),
                    other => bail!("{other:?}"),
                }
            }
            shell.flush()?;
        }
    })
}

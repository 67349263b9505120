//! renet with renet_netcode, encrypted, on its unreliable channel. It is polled once a tick, as its examples do.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use renet::{Bytes, ConnectionConfig, DefaultChannel, RenetClient, RenetServer, ServerEvent};
use renet_netcode::{
    ClientAuthentication, ConnectToken, NetcodeClientTransport, NetcodeServerTransport, ServerAuthentication,
    ServerConfig,
};

use crate::case::{Case, DOWN, Figures, Flow, Meter, UP, client_socket, server_socket};
use crate::players::{Plan, heard, take_turns};

/// Its own bound.
pub const SESSIONS_MAX: usize = 1_024;
const PROTOCOL: u64 = 7;
const KEY: [u8; 32] = [3; 32];

pub fn serve(case: Case) -> Result<Figures> {
    let socket = server_socket()?;
    let address = socket.local_addr()?;
    let config = ServerConfig {
        current_time: SystemTime::now().duration_since(UNIX_EPOCH)?,
        max_clients: case.sessions,
        protocol_id: PROTOCOL,
        public_addresses: vec![address],
        authentication: ServerAuthentication::Secure { private_key: KEY },
    };
    let mut transport = NetcodeServerTransport::new(config, socket)?;
    let mut server = RenetServer::new(ConnectionConfig::default());
    let mut meter = Meter::start(case, address, &[])?;
    let (mut sessions, mut updated) = (Vec::new(), Instant::now());
    loop {
        std::thread::sleep(meter.left());
        if let Flow::Over = meter.tick(sessions.len())? {
            return meter.figures();
        }
        let passed = since(&mut updated);
        server.update(passed);
        transport.update(passed, &mut server)?;
        while let Some(event) = server.get_event() {
            match event {
                ServerEvent::ClientConnected { client_id } => sessions.push(client_id),
                ServerEvent::ClientDisconnected { client_id, reason } => bail!("{client_id} left: {reason}"),
            }
        }
        for session in &sessions {
            while server.receive_message(*session, DefaultChannel::Unreliable).is_some() {
                meter.input();
            }
            server.send_message(*session, DefaultChannel::Unreliable, Bytes::from_static(&DOWN));
        }
        transport.send_packets(&mut server);
    }
}

struct Player {
    client: RenetClient,
    transport: NetcodeClientTransport,
    updated: Instant,
}

pub fn play(plan: &Plan) -> Result<()> {
    take_turns(plan, |number| player(number, plan.server), turn)
}

fn player(number: usize, server: SocketAddr) -> Result<Player> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let connect_token =
        ConnectToken::generate(now, PROTOCOL, 300, number as u64, 15, vec![server], None, &KEY)?;
    let authentication = ClientAuthentication::Secure { connect_token };
    // It sends by address, which a connected socket takes too.
    let transport = NetcodeClientTransport::new(now, authentication, client_socket(server)?)?;
    Ok(Player { client: RenetClient::new(ConnectionConfig::default()), transport, updated: Instant::now() })
}

fn turn(Player { client, transport, updated }: &mut Player) -> Result<()> {
    let passed = since(updated);
    client.update(passed);
    transport.update(passed, client)?;
    if client.is_connected() {
        while client.receive_message(DefaultChannel::Unreliable).is_some() {
            heard();
        }
        client.send_message(DefaultChannel::Unreliable, Bytes::from_static(&UP));
        transport.send_packets(client)?;
    }
    Ok(())
}

fn since(updated: &mut Instant) -> Duration {
    let now = Instant::now();
    let passed = now - *updated;
    *updated = now;
    passed
}

//! What hostile bytes may not do, as functions of bytes: coverage-guided fuzzing calls them (the package `fuzz`), and the
//! tests below replay what it found worth keeping, `tests/corpus`, one input in hex a line.
//!
//! Each takes any bytes and panics if a promise does not hold.

use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::connection::{Entry, Inbox, Reliable, Session};
use crate::handshake::{Accepted, CONNECT_LEN, ClientPart, SessionKeys};
use crate::limits::{EVENT_BYTES_MAX, MESSAGE_TO_SERVER_MAX};
use crate::message::{Frame, Inputs, ToClient, ToServer};
use crate::packet::{self, Side};
use crate::token::{
    BattleToken, Claims, MasterKey, Role, SessionSecret, TOKEN_LEN, TokenFile, inspect, mint, open,
};
use crate::wire::Reader;
use crate::{
    BattleId, Client, ClientConfig, ConnectionId, Counters, DenyReason, Epoch, Feed, HostedBattle, LaneWish,
    Millis, Server, ServerConfig, Transport, TransportWish,
};

/// A target: any bytes go in.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 5] =
    [("token", token), ("handshake", handshake), ("packet", packet), ("kcp", kcp), ("messages", messages)];

const BATTLE: BattleId = BattleId(9);
const SECRET: [u8; 32] = [3; 32];

/// Steps of time, each with some bytes: how many ms 1, length 2, bytes.
fn steps(data: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut reader = Reader(data);
    std::iter::from_fn(move || {
        let ms = u64::from(reader.u8().ok()?);
        let len = usize::from(reader.u16().ok()? % 1_300).min(reader.0.len());
        Some((ms * ms, reader.bytes(len).ok()?))
    })
}

fn genuine() -> (crate::token::BattleKey, BattleToken, Claims) {
    let key = MasterKey::from_bytes(1, [2; 32]).battle_key(BATTLE);
    let claims = Claims {
        player: 7,
        seat: 3,
        team: 1,
        role: Role::Player,
        protocol_hash: [1; 16],
        issued_unix_ms: 0,
        session_secret: SessionSecret::from_bytes(SECRET),
        bytes_per_second_max: 0,
        inputs_per_second_max: 0,
        loadout_hash: [0; 32],
        user_data: Vec::new(),
    };
    let token = mint(&key, [5; 16], 60_000, &claims);
    (key, token, claims)
}

/// Bytes as a token, as a change of a good token, and as a token file.
pub fn token(data: &[u8]) {
    let (key, good, claims) = genuine();
    assert_eq!(BattleToken::from_bytes(data).is_ok(), data.len() == TOKEN_LEN);
    if let Ok(token) = BattleToken::from_bytes(data) {
        let _ = inspect(&token);
        assert!(open(&key, &token).is_err() || token == good);
    }
    let mut changed = *good.as_bytes();
    changed.iter_mut().zip(data).for_each(|(byte, change)| *byte ^= change);
    let changed = BattleToken::from_bytes(&changed).expect("the length is right");
    assert_eq!(open(&key, &changed).is_ok_and(|(_, opened)| opened == claims), changed == good);
    if let Some(file) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<TokenFile>().ok()) {
        assert_eq!(file.to_string().parse(), Ok(file));
    }
}

/// A CONNECT that a server with the seed of `handshake` takes, with the address that it comes from.
fn genuine_connect() -> (SocketAddr, [u8; CONNECT_LEN]) {
    static CONNECT: OnceLock<[u8; CONNECT_LEN]> = OnceLock::new();
    let home = SocketAddr::from(([192, 0, 2, 1], 7));
    let connect = CONNECT.get_or_init(|| {
        let (mut server, mut client, mut out) = (server(), client(), Vec::new());
        client.poll_transmit(Millis(1_000), &mut out).expect("a HELLO");
        server.handle_datagram(Millis(1_000), home, &mut out);
        server.poll_transmit(Millis(1_000), &mut out).expect("a CHALLENGE");
        client.handle_datagram(Millis(1_000), node(), &mut out);
        client.poll_transmit(Millis(1_000), &mut out).expect("a CONNECT");
        out.as_slice().try_into().expect("the length of a CONNECT")
    });
    (home, *connect)
}

fn node() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 9))
}

fn server() -> Server {
    let config = ServerConfig { worker: 0, connections_max: 4, unix_offset_ms: 0, skew_ms: 0 };
    let mut server = Server::new(config, [7; 32]);
    let keys = vec![genuine().0];
    server.host(
        BATTLE,
        HostedBattle {
            keys,
            epoch: Epoch(1),
            protocol_hash: [1; 16],
            rate_hz: 30,
            math_hash: 0,
            hides: false,
        },
    );
    server
}

fn client() -> Client {
    let (_, token, claims) = genuine();
    let addresses = vec![node()];
    let config = ClientConfig {
        token_file: TokenFile { token, session_secret: claims.session_secret, addresses },
        feed: Feed::Snapshot,
        lane: LaneWish::Auto,
        protocol_hash: [1; 16],
        math_hash: None,
        resume_tick: None,
        transport: TransportWish::Auto,
        connect_sequence: 1,
    };
    Client::new(config, Millis(1_000), [8; 32])
}

/// Steps of datagrams to a server and a client that shake hands with nobody, each as it is and as a change of a good
/// CONNECT; all bytes as what is sealed in a handshake.
pub fn handshake(data: &[u8]) {
    let (home, connect) = genuine_connect();
    let (mut server, mut client) = (server(), client());
    let (mut now, mut out) = (Millis(1_000), Vec::new());
    for (ms, bytes) in steps(data) {
        now = now + ms.min(1_000);
        let before = server.counters().accepted;
        server.handle_datagram(now, home, &mut bytes.to_vec());
        let mut changed = connect;
        changed.iter_mut().zip(bytes).for_each(|(byte, change)| *byte ^= change);
        server.handle_datagram(now, home, &mut changed.clone());
        assert!(server.counters().accepted == before || changed == connect);
        server.handle_timeout(now);
        while server.poll_transmit(now, &mut out).is_some() {}
        client.handle_datagram(now, node(), &mut bytes.to_vec());
        client.handle_timeout(now);
        while client.poll_transmit(now, &mut out).is_some() {}
        assert!(!client.is_connected());
    }
    let counters = server.counters();
    assert!(counters.bytes_out <= counters.bytes_in);
    if let Some(part) = ClientPart::decode(data) {
        let mut again = Vec::new();
        part.encode(&mut again);
        assert_eq!(ClientPart::decode(&again), Some(part));
    }
    let _ = (Accepted::decode(data), DenyReason::decode(data));
}

fn keys() -> SessionKeys {
    SessionKeys::new(&SessionSecret::from_bytes(SECRET), &[], &[0; 32], &[1; 32])
}

/// Steps of items that a peer with the right keys seals in its packets: whatever they are, both sides bear them.
pub fn packet(data: &[u8]) {
    for (own, peer) in [(Side::Server, Side::Client), (Side::Client, Side::Server)] {
        let (mut now, id) = (Millis(1_000), ConnectionId(1));
        let mut session = Session::new(own, Transport::Udp, id, keys(), LaneWish::Auto, now);
        let (mut inbox, mut counters, mut out) = (Inbox::<()>::new(), Counters::default(), Vec::new());
        let _ = session.send_reliable(now, &[1; 3_000]);
        let key = if own == Side::Server { keys().client_to_server } else { keys().server_to_client };
        for (number, (ms, bytes)) in steps(data).enumerate() {
            now = now + ms;
            let number = number as u64;
            let at = packet::start(&mut out, peer, id, number);
            out.extend_from_slice(&bytes[..bytes.len().min(packet::ITEMS_MAX)]);
            packet::seal(&mut out, &key, number, at);
            // What does not parse closes the session, which is then silent; both are fine.
            let _ = session.receive(now, &mut out, &mut inbox, &mut counters, |_| true);
            let _ = session.service(now, &mut inbox, &mut counters);
            for _ in 0..64 {
                if !session.poll_packet(now, &mut out) {
                    break;
                }
            }
            while let Some(entry) = inbox.pop() {
                if let Entry::Message { start, end, .. } = entry {
                    let len = inbox.bytes_of(start, end).len();
                    assert!(len <= EVENT_BYTES_MAX);
                }
            }
        }
        // The same bytes without the key open nothing.
        let mut forged = data.to_vec();
        assert!(session.receive(now, &mut forged, &mut inbox, &mut counters, |_| true).is_err());
    }
}

/// Steps of KCP blocks to a lane that has something to say.
pub fn kcp(data: &[u8]) {
    let mut now = Millis(0);
    let mut lane = Reliable::new(Side::Server, Transport::Udp, now, MESSAGE_TO_SERVER_MAX);
    lane.send(now, &[1; 5_000]).expect("there is room");
    let waiting = lane.waiting_bytes();
    for (ms, block) in steps(data) {
        now = now + ms;
        let _ = lane.input(now, block);
        let received = lane.receive(|message| assert!(message.len() <= MESSAGE_TO_SERVER_MAX));
        lane.flush_if_due(now);
        let mut said = 0;
        while let Some(block) = lane.peek_block() {
            said += block.len();
            lane.pop_block(now);
        }
        assert!(said <= 64 * 1024, "{said} bytes at once");
        // The queue becomes segments, which count as whole ones.
        assert!(lane.waiting_bytes() <= waiting + 6 * 1_200, "{}", lane.waiting_bytes());
        if received.is_err() {
            return;
        }
    }
}

/// Bytes as a message of each side: what parses is what it encodes to.
pub fn messages(data: &[u8]) {
    let mut again = Vec::new();
    match ToServer::parse(data) {
        Ok(ToServer::Inputs(inputs)) => {
            let run: Vec<_> = inputs.run().map(|(_, bytes)| bytes).collect();
            if run.iter().all(|bytes| bytes.len() <= crate::message::INPUT_LEN_MAX) {
                let Inputs { seat, acknowledged, newest_tick, .. } = inputs;
                Inputs::encode(&mut again, seat, acknowledged, newest_tick, run.into_iter());
                assert_eq!(again, data);
            }
        }
        Ok(ToServer::Ask(ask)) => {
            ask.encode(&mut again);
            assert_eq!(again, data);
        }
        Ok(ToServer::Desync(desync)) => {
            desync.encode(&mut again);
            assert_eq!(again, data);
        }
        Err(_) => {}
    }
    match ToClient::parse(data) {
        Ok(ToClient::Frame(frame)) => {
            let run: Vec<_> = frame.records().map(|(_, bytes)| bytes).collect();
            Frame::encode(
                &mut again,
                frame.epoch,
                frame.tick,
                frame.state_hash,
                frame.report,
                run.into_iter(),
            );
        }
        Ok(ToClient::Snapshot(snapshot)) => snapshot.encode(&mut again),
        Ok(ToClient::Start(start)) => start.encode(&mut again),
        Ok(ToClient::Keyframe(keyframe)) => keyframe.encode(&mut again),
        Ok(ToClient::End(end)) => end.encode(&mut again),
        Err(_) => return,
    }
    assert_eq!(again, data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Random, seed_from_environment};

    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let path = format!("{}/tests/corpus/{target}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("each target has a corpus");
        let byte =
            |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).expect("ASCII"), 16).expect("hex");
        text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
    }

    #[test]
    fn the_corpus_of_every_target_holds_what_was_promised() {
        for (name, target) in TARGETS {
            let corpus = corpus(name);
            assert!(corpus.len() > 1, "{name}");
            corpus.iter().for_each(|input| target(input));
        }
    }

    #[test]
    fn changes_of_the_corpus_hold_what_was_promised() {
        let seed = seed_from_environment(29);
        eprintln!("SEED={seed}");
        let mut random = Random::new(seed);
        for (name, target) in TARGETS {
            let corpus = corpus(name);
            for _ in 0..500 {
                let mut input = corpus[random.below(corpus.len() as u64) as usize].clone();
                for _ in 0..random.below(6) {
                    let at = random.below(input.len() as u64 + 1) as usize;
                    match input.get_mut(at) {
                        Some(byte) => *byte = random.next_u64() as u8,
                        None => input.push(random.next_u64() as u8),
                    }
                }
                target(&input);
            }
        }
    }
}

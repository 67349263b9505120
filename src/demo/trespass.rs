//! Trespassers: bad tokens and random datagrams, sent on purpose at a house in full play. Every one of them must be
//! refused; what was refused is read from the answers and, where the node keeps silent, from its counters.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tiltyard_battle::NodeReport;
use tiltyard_client::{BattleSession, Idle, PlayerSettings, Report};
use tiltyard_engine::{Game, Registry};
use tiltyard_netcode::token::{BattleToken, Claims, MasterKey, Role, SessionSecret, TokenFile, mint};
use tiltyard_netcode::{BattleId, DenyReason, LaneWish, Transport, TransportWish, system_random};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

use crate::house::House;
use crate::stop::Stop;
use crate::time::now_unix_ms;

/// How long a battle is waited for.
const BATTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer is waited for, and a silent refusal's counter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a forged token is pressed: nothing ever answers it.
const PRESS: Duration = Duration::from_millis(600);
/// How many random datagrams are sent.
pub(super) const DATAGRAMS: u64 = 64;
/// Where a token's byte is altered: within its sealed part.
const FLIPPED_BYTE: usize = 133;
/// Counters of datagrams that were dropped for being none of ours.
const DROPPED: [&str; 6] =
    ["short", "long", "unknown_kind", "bad_handshake", "wrong_side", "unknown_connection"];

/// What was refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    /// A token whose time is over.
    pub(super) expired: u64,
    /// A token with one bit flipped.
    pub(super) tampered: u64,
    /// A token for a battle that is not there.
    pub(super) other_battle: u64,
    /// A token of another protocol hash.
    pub(super) other_protocol: u64,
    /// Random datagrams, dropped and counted.
    pub(super) random_datagrams: u64,
}

impl Refusals {
    /// All of them.
    pub(super) fn sum(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }

    /// Each reason with its count.
    pub(super) fn by_reason(&self) -> [(&'static str, u64); 5] {
        [
            ("expired", self.expired),
            ("tampered", self.tampered),
            ("other_battle", self.other_battle),
            ("other_protocol", self.other_protocol),
            ("random_datagrams", self.random_datagrams),
        ]
    }

    /// The reasons for which nothing was refused, though it was tried.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        self.by_reason().into_iter().filter(|(_, count)| *count == 0).map(|(reason, _)| reason).collect()
    }
}

/// Waits for a battle and tries to get into it in every wrong way. Nobody is let in, or this is an error.
pub(super) async fn trespass<G: Game>(
    house: &House<G>,
    master: &MasterKey,
    stop: &Stop,
) -> anyhow::Result<Refusals> {
    let Some((battle, node, address)) = wait_for_battle(house, stop).await else {
        return Ok(Refusals::default());
    };
    let battle = BattleId(battle.0);
    let protocol_hash = Registry::of::<G>()?.protocol_hash::<G>().0;
    let now = now_unix_ms()?;
    let forge =
        |battle, expires_unix_ms, protocol_hash| token(master, battle, expires_unix_ms, protocol_hash);
    let (late, soon) = (now.saturating_sub(30_000), now + 60_000);
    let mut refusals = Refusals::default();

    let report = knock::<G>(forge(battle, late, protocol_hash), address, ANSWER_TIMEOUT).await?;
    refusals.expired += u64::from(matches!(report.refused(), Some(DenyReason::Expired { .. })));

    let elsewhere = BattleId(!battle.0);
    let report = knock::<G>(forge(elsewhere, soon, protocol_hash), address, ANSWER_TIMEOUT).await?;
    refusals.other_battle += u64::from(report.refused() == Some(DenyReason::NotHere));

    let report =
        knock::<G>(forge(battle, soon, protocol_hash.map(|byte| !byte)), address, ANSWER_TIMEOUT).await?;
    refusals.other_protocol += u64::from(matches!(report.refused(), Some(DenyReason::ProtocolHash { .. })));

    let forged = |house: &House<G>| count(house, node, &["forged_token"]);
    let before = forged(house);
    let (good, secret) = forge(battle, soon, protocol_hash);
    let mut bytes = *good.as_bytes();
    bytes[FLIPPED_BYTE] ^= 1;
    let tampered = BattleToken::from_bytes(&bytes).context("altering a token")?;
    knock::<G>((tampered, secret), address, PRESS).await?;
    refusals.tampered = u64::from(waited_for(|| forged(house) > before).await);

    let dropped = |house: &House<G>| count(house, node, &DROPPED);
    let before = dropped(house);
    throw_dice(address).await?;
    waited_for(|| dropped(house) >= before + DATAGRAMS).await;
    refusals.random_datagrams = (dropped(house) - before).min(DATAGRAMS);
    Ok(refusals)
}

async fn wait_for_battle<G: Game>(
    house: &House<G>,
    stop: &Stop,
) -> Option<(tiltyard_cluster::BattleId, usize, SocketAddr)> {
    let until = Instant::now() + BATTLE_TIMEOUT;
    while Instant::now() < until && !stop.is_asked() {
        if let Some(running) = house.running().first() {
            return Some(*running);
        }
        sleep(Duration::from_millis(20)).await;
    }
    None
}

/// A token as the lobby would mint it, for seat 0 and a player who does not exist.
fn token(
    master: &MasterKey,
    battle: BattleId,
    expires_unix_ms: u64,
    protocol_hash: [u8; 16],
) -> (BattleToken, SessionSecret) {
    let secret = SessionSecret::from_bytes(system_random());
    let claims = Claims {
        player: u64::MAX,
        seat: 0,
        team: 0,
        role: Role::Player,
        protocol_hash,
        issued_unix_ms: expires_unix_ms.saturating_sub(60_000),
        session_secret: secret.clone(),
        bytes_per_second_max: 0,
        inputs_per_second_max: 0,
        loadout_hash: [0; 32],
        user_data: Vec::new(),
    };
    (mint(&master.battle_key(battle), system_random(), expires_unix_ms, &claims), secret)
}

/// Tries a token and answers what became of it; being let in is an error.
async fn knock<G: Game>(
    (token, session_secret): (BattleToken, SessionSecret),
    address: SocketAddr,
    time: Duration,
) -> anyhow::Result<Report> {
    let file = TokenFile { token, session_secret, addresses: vec![address] };
    let settings = PlayerSettings {
        lane: LaneWish::Auto,
        transport: TransportWish::Only(Transport::Udp),
        reconnect_for_ms: 0,
        ..PlayerSettings::default()
    };
    let session = BattleSession::<G>::connect(file, settings, Box::new(Idle)).await;
    let report = session.context("opening a socket")?.run_for(time).await.context("the socket")?;
    ensure!(report.place.is_none(), "a bad token was let in");
    Ok(report)
}

/// Sends datagrams of random bytes and random lengths.
async fn throw_dice(address: SocketAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("opening a socket")?;
    for _ in 0..DATAGRAMS {
        let bytes: [u8; 1024] = system_random();
        let length = 1 + usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % 1_000;
        socket.send_to(&bytes[2..2 + length], address).await.context("sending random bytes")?;
        // Slower than the socket's buffer fills, so that each is seen and counted.
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn count<G: Game>(house: &House<G>, node: usize, names: &[&str]) -> u64 {
    let reports = house.reports();
    let of = |report: &NodeReport| names.iter().filter_map(|name| report.sessions.get(name)).sum();
    reports.get(node).map_or(0, of)
}

/// Whether something came true in time. Nodes tell their counters a few times a second.
async fn waited_for(is_true: impl Fn() -> bool) -> bool {
    let until = Instant::now() + ANSWER_TIMEOUT;
    while !is_true() {
        if Instant::now() >= until {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
    true
}

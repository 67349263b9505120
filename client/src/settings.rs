//! How a player takes part in a battle, and what its session is set up with for that.

use tiltyard_engine::{Game, Registry, math};
use tiltyard_netcode::token::TokenFile;
use tiltyard_netcode::{ClientConfig, Feed, LaneWish, TransportWish};

use crate::decisions::{LEAD_TICKS, Pace};

/// How a player takes part in a battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayerSettings {
    /// The feed to take.
    pub feed: Feed,
    /// How feeds and inputs shall travel.
    pub lane: LaneWish,
    /// What may carry the session's packets.
    pub transport: TransportWish,
    /// When inputs are decided.
    pub pace: Pace,
    /// How long a node that does not answer is tried before the first session, milliseconds; each address is asked for
    /// three seconds at least.
    pub connect_for_ms: u64,
    /// How long a broken session is tried to be taken up again, milliseconds; 0: not at all.
    pub reconnect_for_ms: u64,
    /// Whether the player sees the effect of its inputs at once, by [`Prediction`](crate::Prediction). Takes [`Pace::Prompt`], and computes
    /// a round trip's worth of ticks anew in every tick.
    pub predicts: bool,
}

impl Default for PlayerSettings {
    /// Snapshots, lane by policy, repeatable decisions, ten seconds to join and half a minute to come
    /// back, nothing predicted.
    fn default() -> Self {
        Self {
            feed: Feed::Snapshot,
            lane: LaneWish::Auto,
            transport: TransportWish::Auto,
            pace: Pace::Repeatable { lead_ticks: LEAD_TICKS },
            connect_for_ms: 10_000,
            reconnect_for_ms: 30_000,
            predicts: false,
        }
    }
}

/// What the session of a player of game `G` is set up with. A `connect_sequence` of 0 is replaced by a shell with
/// a clock.
///
/// # Panics
/// If `Game::components` has a mistake; [`Registry::of`] tells that as an error.
#[must_use]
pub fn client_config<G: Game>(token_file: TokenFile, settings: &PlayerSettings) -> ClientConfig {
    let registry = Registry::of::<G>().unwrap_or_else(|problem| panic!("{}: {problem}", G::NAME));
    ClientConfig {
        token_file,
        feed: settings.feed,
        lane: settings.lane,
        transport: settings.transport,
        protocol_hash: registry.protocol_hash::<G>().0,
        // Only who simulates must count as the node does.
        math_hash: (settings.feed == Feed::Frame).then(math::self_test_hash),
        resume_tick: None,
        connect_sequence: 0,
    }
}

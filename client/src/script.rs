//! Scripts: who decides what a seat does.

use tiltyard_engine::rng::Rng;
use tiltyard_engine::{Battle, Game, Seat, Tick};

/// What a script sees when it decides.
pub struct View<'a, G: Game> {
    /// What the player sees: the predicted battle of a player that predicts, else the mirrored one in the newest state
    /// that the client has.
    pub battle: &'a Battle<G>,
    /// The seat to decide for.
    pub seat: Seat,
    /// The tick that the input is for; later than the battle's.
    pub tick: Tick,
    /// Random numbers of this battle, seat and tick: the same ones whenever they are asked for.
    pub rng: Rng,
}

/// Decides what a seat does, tick by tick.
pub trait Script<G: Game>: Send {
    /// Sees a new state as it comes in. With the frame feed that is every tick, with its events; snapshots have none.
    fn see(&mut self, _battle: &Battle<G>, _seat: Seat) {}

    /// The input for the view's tick; nothing leaves the seat to [`Game::missing`].
    fn decide(&mut self, view: &mut View<'_, G>) -> Option<G::Input>;
}

/// Plays as the game's scripted player.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bot;

impl<G: Game> Script<G> for Bot {
    fn decide(&mut self, view: &mut View<'_, G>) -> Option<G::Input> {
        Some(G::bot(view.battle.world(), view.seat, &mut view.rng))
    }
}

/// Watches and never says anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle;

impl<G: Game> Script<G> for Idle {
    fn decide(&mut self, _: &mut View<'_, G>) -> Option<G::Input> {
        None
    }
}

/// The scripts that every game has, by the names that people type.
pub const SCRIPTS: [&str; 2] = ["bot", "idle"];

/// The script of a name in [`SCRIPTS`].
#[must_use]
pub fn script<G: Game>(name: &str) -> Option<Box<dyn Script<G>>> {
    match name {
        "bot" => Some(Box::new(Bot)),
        "idle" => Some(Box::new(Idle)),
        _ => None,
    }
}

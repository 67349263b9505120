//! What is state in skirmish: puppets, flyers, obstacles, score and rules.

use glam::Vec2;

use crate::kit::cooldown::Cooldown;
use crate::kit::flyer::Flight;
use crate::kit::life::Life;
use crate::kit::motion::{Position, Velocity};
use crate::space::Rect;
use crate::{ActorId, Team};

/// A puppet's radius in metres.
pub const PUPPET_RADIUS: f32 = 0.5;
/// A flyer's radius in metres.
pub const FLYER_RADIUS: f32 = 0.125;

/// The most teams; a seat of a team above joins the first ones again.
pub const TEAMS: usize = 7;
/// The team of flyers that are nobody's.
pub const NO_TEAM: u8 = u8::MAX;
/// The group bit of walls and obstacles; below it each team has a bit.
pub const SOLID: u8 = 1 << TEAMS;

crate::record! {
    /// What a player says each tick. The default is to stand still.
    pub struct Input {
        /// The wished movement along x, −1 to 1 of full speed; longer than 1 in total counts as 1.
        pub move_x: f32,
        /// The wished movement along y, −1 to 1 of full speed.
        pub move_y: f32,
        /// Where to aim: an angle in radians, −π to π, from the x axis towards the y axis.
        pub aim: f32,
        /// What is pressed: a sum of [`FIRE`] and [`BLAST`].
        pub buttons: u32,
    }

    /// Where a puppet aims.
    pub struct Facing {
        /// The angle in radians.
        pub angle: f32 => grid(4096),
    }

    /// A puppet's weapon and ability.
    pub struct Arms {
        /// When it may fire again.
        pub weapon: Cooldown,
        /// When it may blast again.
        pub blast: Cooldown,
    }

    /// What a puppet has done; both stop at 65,535.
    pub struct Tally {
        /// Enemies it has killed.
        pub kills: u16,
        /// How often it died.
        pub deaths: u16,
    }

    /// An obstacle's extent.
    pub struct Block {
        /// The corner with the lowest coordinates, in metres.
        pub min: Vec2 => grid(4096),
        /// The corner with the highest coordinates, in metres.
        pub max: Vec2 => grid(4096),
    }

    /// Kills of each team.
    pub struct Score {
        /// One count a team.
        pub kills: [u32; 7],
    }

    /// What a tick tells besides state. Bounded by [`EVENTS_MAX`](crate::EVENTS_MAX) a tick.
    pub struct Event {
        /// Where it happened, in metres.
        pub at: Vec2,
        /// Whom it happened to.
        pub who: ActorId,
        /// Whose doing it was; nobody's if it was a stray flyer's.
        pub by: ActorId,
        /// How much damage it was, where there is damage.
        pub amount: i16,
        code: u16,
    }
}

/// Button: fire a flyer in the direction of aim.
pub const FIRE: u32 = 1;
/// Button: a blast around oneself.
pub const BLAST: u32 = 2;

crate::kind! {
    /// A player's body, or a minion's. The first ones stand in seat order; none is ever taken away.
    pub struct Puppet {
        /// Where it is.
        pub position: Position,
        /// How it moves.
        pub velocity: Velocity,
        /// Where it aims.
        pub facing: Facing,
        /// Whether it lives, and for whom it fights.
        pub life: Life,
        /// Its weapon and ability.
        pub arms: Arms,
        /// What it has done.
        pub tally: Tally,
    }

    /// A shot, or a stray that roams the arena.
    pub struct Flyer {
        /// Where it is.
        pub position: Position,
        /// How it moves.
        pub velocity: Velocity,
        /// Whose it is and when it ends.
        pub flight: Flight,
    }

    /// A rectangle that stands in everybody's way.
    pub struct Obstacle {
        /// Its extent.
        pub block: Block,
    }
}

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A puppet was hurt and lives.
    Hit,
    /// A puppet died.
    Death,
    /// A puppet is back.
    Respawn,
    /// A puppet made a blast.
    Blast,
}

impl Event {
    pub(super) fn new(kind: EventKind, at: Vec2, who: ActorId, by: ActorId, amount: i16) -> Self {
        Self { at, who, by, amount, code: kind as u16 }
    }

    /// What it tells; nothing for a code that this build does not know.
    #[must_use]
    pub fn kind(&self) -> Option<EventKind> {
        let known = [EventKind::Hit, EventKind::Death, EventKind::Respawn, EventKind::Blast];
        known.get(usize::from(self.code)).copied()
    }
}

impl Block {
    /// The extent as a rectangle.
    #[must_use]
    pub fn rect(&self) -> Rect {
        Rect::new(self.min, self.max)
    }
}

/// The team that a seat of any team fights for here.
pub(super) fn team_of(team: Team) -> u8 {
    team.0 % TEAMS as u8
}

/// The groups that the flyers of a team touch: walls, obstacles and everybody else's puppets.
pub(super) fn touches_of(team: u8) -> u8 {
    if team == NO_TEAM { u8::MAX } else { u8::MAX ^ group_of(team) }
}

/// A team's group bit.
pub(super) fn group_of(team: u8) -> u8 {
    1 << (team % TEAMS as u8)
}

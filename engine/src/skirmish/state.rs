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
    /// What a player says each tick, in six bytes. The default is to stand still. See [`Input::new`].
    pub struct Input {
        /// The wished movement along x in 127ths of full speed; −128 is refused.
        pub move_x: i8,
        /// The wished movement along y in 127ths of full speed. A movement longer than 127 in total counts as 127.
        pub move_y: i8,
        /// Where to aim: an angle in 4,096ths of a radian, from −[`AIM_MAX`] to [`AIM_MAX`], from the x axis towards
        /// the y axis. That is the grid of [`Facing`], so that a held aim can be read from there.
        pub aim: i16,
        /// What is pressed: a sum of [`FIRE`] and [`BLAST`].
        pub buttons: u16,
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

/// The largest [`Input::aim`]: half a turn.
pub const AIM_MAX: i16 = 12_868;
/// Steps of aim in a radian.
const AIM_STEPS: f32 = 4096.0;
/// Steps of movement in full speed.
const MOVE_STEPS: f32 = 127.0;

/// Button: fire a flyer in the direction of aim.
pub const FIRE: u16 = 1;
/// Button: a blast around oneself.
pub const BLAST: u16 = 2;

impl Input {
    /// The input that comes nearest to a movement (each axis −1 to 1 of full speed), an angle of aim (−π to π) and
    /// buttons. What is beyond its bounds counts as the bound, and NaN as 0.
    #[must_use]
    pub fn new(movement: Vec2, aim: f32, buttons: u16) -> Self {
        // Conversions from float to integer saturate.
        let step = |along: f32| ((along * MOVE_STEPS).round_ties_even() as i8).max(-i8::MAX);
        let aim = ((aim * AIM_STEPS).round_ties_even() as i16).clamp(-AIM_MAX, AIM_MAX);
        Self { move_x: step(movement.x), move_y: step(movement.y), aim, buttons }
    }

    /// The wished movement in full speeds, each axis −1 to 1.
    #[inline]
    #[must_use]
    pub fn movement(&self) -> Vec2 {
        Vec2::new(f32::from(self.move_x), f32::from(self.move_y)) / MOVE_STEPS
    }

    /// Where to aim, in radians.
    #[inline]
    #[must_use]
    pub fn angle(&self) -> f32 {
        f32::from(self.aim) / AIM_STEPS
    }
}

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

//! Map and rules of a battle: as they are chosen, and as the ticks use them.

use crate::rng::Rng;
use crate::space::Rect;
use crate::{Mode, Terms};

crate::record! {
    /// Map and rules, as they are chosen. Values out of their bounds count as the nearest possible ones.
    pub struct Setup {
        /// Half the side of the square arena in metres, 8 to 16,384.
        pub arena_half: f32,
        /// How many obstacles to place, 0 to 16,384; fewer stand where there is no room.
        pub obstacles: u32,
        /// Puppets without a seat that wander and shoot, 0 to 16,384, shared by the teams.
        pub minions: u32,
        /// Flyers that are nobody's, bounce for ever and start anew elsewhere when they hit, 0 to 30,720.
        pub strays: u32,
        /// How large the teams' bases are: 0 is a point at the arena's edge, 1 the whole arena.
        pub spread: f32,
        /// Kills that win; 0 for no limit but time.
        pub score_limit: u32,
        /// A puppet's full speed in m/s, 0 to 100.
        pub speed: f32,
        /// How fast it gets there, in m/s², 0 to 10,000.
        pub acceleration: f32,
        /// Health at the start, 1 to 32,767.
        pub health: u32,
        /// Seconds from death to return, up to 3,600.
        pub return_seconds: f32,
        /// A flyer's speed in m/s, 0 to 200.
        pub flyer_speed: f32,
        /// Seconds that a flyer lives, up to 3,600.
        pub flyer_seconds: f32,
        /// Damage of a flyer, 0 to 32,767.
        pub flyer_damage: u32,
        /// How often a flyer bounces before a wall stops it; 255 for always.
        pub flyer_bounces: u32,
        /// Seconds from shot to shot, up to 3,600.
        pub weapon_seconds: f32,
        /// How far a blast reaches in metres, 0 to 1,000.
        pub blast_radius: f32,
        /// A blast's damage in its middle, 0 to 32,767.
        pub blast_damage: u32,
        /// A blast's damage at its edge, 0 to 32,767.
        pub blast_edge_damage: u32,
        /// Seconds from blast to blast, up to 3,600.
        pub blast_seconds: f32,
    }

    /// The rules as the ticks use them, and scripted players and the outcome see them: bounded, times in ticks.
    pub struct Rules {
        /// Half the side of the square arena in metres.
        pub half: f32,
        /// Seconds a tick.
        pub seconds: f32,
        /// The size of the bases, 0 to 1.
        pub spread: f32,
        /// A puppet's full speed in m/s.
        pub speed: f32,
        /// The most that a puppet's velocity changes in a tick, in m/s.
        pub change_max: f32,
        /// A flyer's speed in m/s.
        pub flyer_speed: f32,
        /// How far a blast reaches in metres.
        pub blast_radius: f32,
        /// Ticks that a flyer lives.
        pub flyer_ticks: u32,
        /// Ticks from shot to shot.
        pub weapon_ticks: u32,
        /// Ticks from blast to blast.
        pub blast_ticks: u32,
        /// Ticks from death to return.
        pub return_ticks: u32,
        /// Kills that win; 0 for no limit.
        pub score_limit: u32,
        /// How many teams fight.
        pub teams: u32,
        /// Health at the start.
        pub health: i16,
        /// Damage of a flyer.
        pub flyer_damage: i16,
        /// A blast's damage in its middle.
        pub blast_damage: i16,
        /// A blast's damage at its edge.
        pub blast_edge_damage: i16,
        /// How often a flyer bounces.
        pub flyer_bounces: u32,
    }
}

/// The most obstacles, minions and strays a setup gets, so that all of them fit into one battle.
pub(super) const OBSTACLES_MAX: u32 = 16_384;
/// See [`OBSTACLES_MAX`]; together with as many strays and every seat they stay below the actors of a battle.
pub(super) const MINIONS_MAX: u32 = 16_384;
/// See [`OBSTACLES_MAX`].
pub(super) const STRAYS_MAX: u32 = 30_720;

/// Square metres of arena for each puppet: a 5v5 fights on 40 m × 40 m.
const AREA_PER_PUPPET: f32 = 160.0;

impl Setup {
    /// The stock rules in an arena that fits so many puppets.
    #[must_use]
    pub fn for_puppets(puppets: u32) -> Self {
        Self {
            arena_half: ((puppets.max(2) as f32 * AREA_PER_PUPPET).sqrt() * 0.5).ceil(),
            obstacles: (puppets * 3 / 10).max(4),
            minions: 0,
            strays: 0,
            spread: 0.25,
            score_limit: 0,
            speed: 6.0,
            acceleration: 40.0,
            health: 100,
            return_seconds: 3.0,
            flyer_speed: 24.0,
            flyer_seconds: 1.2,
            flyer_damage: 20,
            flyer_bounces: 0,
            weapon_seconds: 0.3,
            blast_radius: 5.0,
            blast_damage: 60,
            blast_edge_damage: 10,
            blast_seconds: 6.0,
        }
    }
}

impl Rules {
    pub(super) fn of(setup: &Setup, terms: &Terms, teams: u32) -> Self {
        let ticks = |seconds: f32| terms.rate.ticks_in_ms((seconds.clamp(0.0, 3600.0) * 1000.0) as u32);
        let points = |points: u32| points.min(i16::MAX as u32) as i16;
        let seconds = terms.rate.seconds_per_tick();
        Self {
            // Whole sixteenths, so that walls lie on the grid of positions.
            half: (setup.arena_half.clamp(8.0, 16_384.0) * 16.0).ceil() / 16.0,
            seconds,
            spread: setup.spread.clamp(0.0, 1.0),
            speed: setup.speed.clamp(0.0, 100.0),
            change_max: setup.acceleration.clamp(0.0, 10_000.0) * seconds,
            flyer_speed: setup.flyer_speed.clamp(0.0, 200.0),
            blast_radius: setup.blast_radius.clamp(0.0, 1000.0),
            flyer_ticks: ticks(setup.flyer_seconds),
            weapon_ticks: ticks(setup.weapon_seconds),
            blast_ticks: ticks(setup.blast_seconds),
            return_ticks: ticks(setup.return_seconds),
            score_limit: setup.score_limit,
            teams,
            health: points(setup.health.max(1)),
            flyer_damage: points(setup.flyer_damage),
            blast_damage: points(setup.blast_damage),
            blast_edge_damage: points(setup.blast_edge_damage),
            flyer_bounces: setup.flyer_bounces.min(255),
        }
    }

    /// The arena.
    #[must_use]
    pub fn bounds(&self) -> Rect {
        Rect::around(glam::Vec2::ZERO, glam::Vec2::splat(self.half))
    }

    /// How far a flyer goes in a tick at most, in metres.
    #[must_use]
    pub fn flyer_step(&self) -> f32 {
        self.flyer_speed * self.seconds
    }
}

/// The modes that players can queue for.
pub(super) fn modes() -> Vec<Mode<Setup>> {
    let mode = |name, teams: u8, seats_per_team: u16, seconds, score_limit| {
        let puppets = u32::from(teams) * u32::from(seats_per_team);
        let setup = Setup { score_limit, ..Setup::for_puppets(puppets) };
        Mode { name, teams, seats_per_team, seconds, setup }
    };
    vec![
        mode("skirmish", 2, 5, 180, 60),
        mode("duel", 2, 1, 120, 10),
        mode("melee", 4, 3, 180, 40),
        mode("war", 2, 50, 300, 500),
    ]
}

/// Half of the time a mode's setup; else one with a few numbers changed, some of them to what is out of bounds. The
/// arena is small enough for its puppets to meet, and there is not more in it than a fuzz can step quickly.
pub(super) fn random(mut setup: Setup, rng: &mut Rng) -> Setup {
    let float = |most: f32, rng: &mut Rng| match rng.below(8) {
        0 => 0.0,
        1 => -1.0,
        2 => 1e30,
        _ => rng.range(0.0, most),
    };
    let count = |most: u32, rng: &mut Rng| if rng.one_in(8) { u32::MAX } else { rng.below(most) };
    if rng.one_in(2) {
        return setup;
    }
    for _ in 0..=rng.below(5) {
        match rng.below(18) {
            0 => setup.arena_half = rng.range(0.0, 60.0),
            1 => setup.obstacles = rng.below(80),
            2 => setup.minions = rng.below(40),
            3 => setup.strays = rng.below(100),
            4 => setup.spread = float(1.0, rng),
            5 => setup.score_limit = rng.below(20),
            6 => setup.speed = float(40.0, rng),
            7 => setup.acceleration = float(400.0, rng),
            8 => setup.health = count(300, rng),
            9 => setup.return_seconds = float(5.0, rng),
            10 => setup.flyer_speed = float(200.0, rng),
            11 => setup.flyer_seconds = float(4.0, rng),
            12 => setup.flyer_damage = count(100, rng),
            13 => setup.flyer_bounces = rng.below(300),
            14 => setup.weapon_seconds = float(1.0, rng),
            15 => setup.blast_radius = float(50.0, rng),
            16 => (setup.blast_damage, setup.blast_edge_damage) = (count(200, rng), count(200, rng)),
            _ => setup.blast_seconds = float(6.0, rng),
        }
    }
    setup
}

/// The battles that the game is measured by: puppets and flyers, the arena scaled so that their density stays.
///
/// Puppets above a thousand are minions. Of two scripted players' shots one is in flight at a time, and nearly one of
/// each minion; all other flyers are strays.
pub(super) fn scenes() -> Vec<Mode<Setup>> {
    let scene = |name, puppets: u32, flyers: u32| {
        let seats = puppets.min(1000);
        let setup = Setup {
            minions: puppets - seats,
            strays: flyers - seats / 2 - (puppets - seats),
            spread: 1.0,
            flyer_seconds: 1.0,
            weapon_seconds: 1.0,
            ..Setup::for_puppets(puppets)
        };
        Mode { name, teams: 2, seats_per_team: (seats / 2) as u16, seconds: 3600, setup }
    };
    vec![
        scene("10x30", 10, 30),
        scene("100x300", 100, 300),
        scene("1000x3000", 1_000, 3_000),
        scene("10000x30000", 10_000, 30_000),
    ]
}

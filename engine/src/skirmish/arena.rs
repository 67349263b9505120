//! The arena: where obstacles stand, where teams begin, and the indices over both.

use glam::Vec2;

use super::setup::{OBSTACLES_MAX, Rules, Setup};
use super::state::{Block, FLYER_RADIUS, PUPPET_RADIUS, SOLID};
use crate::kit::flyer::SKIN;
use crate::kit::impact::Impact;
use crate::kit::motion::keep_within;
use crate::math;
use crate::rng::Rng;
use crate::space::{Blocks, Rect};

/// The narrowest way between two obstacles; half of it is left to the walls. Wider than a puppet, so that leaving
/// one obstacle never leads into another or into a wall.
const GAP: f32 = 2.5;
/// The shortest and the longest side of an obstacle, in metres.
const SIDES: (f32, f32) = (1.5, 7.0);

/// What stands still, indexed, and the search for impacts over it. Follows from rules and obstacles alone.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) rules: Rules,
    rows: Vec<Block>,
    pub(super) bounds: Rect,
    pub(super) blocks: Blocks,
    pub(super) impact: Impact,
    /// How far a puppet's centre is from the middle of a flyer's movement at most when they touch.
    pub(super) reach: f32,
}

impl Arena {
    pub(super) fn new(rules: &Rules, rows: &[Block]) -> Self {
        let bounds = rules.bounds();
        let rects: Vec<Rect> = rows.iter().map(Block::rect).collect();
        let half_step = rules.flyer_step() * 0.5;
        let solid_reach = FLYER_RADIUS + half_step;
        let reach = PUPPET_RADIUS + solid_reach;
        let blocks = Blocks::new(bounds, 2.0, solid_reach.max(PUPPET_RADIUS + SKIN), &rects);
        let mut impact = Impact::new(bounds, (2.01 * reach).max(2.0), 8.0);
        for rect in &rects {
            impact.stand(&rect.grown(solid_reach), SOLID);
        }
        // Walls reach outwards too: the middle of a flyer's movement may lie behind one.
        let (inner, outer) = (bounds.grown(-solid_reach), bounds.grown(rules.half));
        for wall in [
            Rect::new(outer.min, Vec2::new(outer.max.x, inner.min.y)),
            Rect::new(Vec2::new(outer.min.x, inner.max.y), outer.max),
            Rect::new(outer.min, Vec2::new(inner.min.x, outer.max.y)),
            Rect::new(Vec2::new(inner.max.x, outer.min.y), outer.max),
        ] {
            impact.stand(&wall, SOLID);
        }
        Self { rules: *rules, rows: rows.to_vec(), bounds, blocks, impact, reach }
    }

    /// The arena of these rules and obstacles: the one at hand if it is that one, else a new one. The comparison is
    /// what makes it safe to keep an arena from tick to tick.
    pub(super) fn fit<'a>(kept: &'a mut Option<Self>, rules: &Rules, rows: &[Block]) -> &'a mut Self {
        let fits = kept.as_ref().is_some_and(|arena| {
            bytemuck::bytes_of(&arena.rules) == bytemuck::bytes_of(rules)
                && bytemuck::cast_slice::<Block, u8>(&arena.rows) == bytemuck::cast_slice::<Block, u8>(rows)
        });
        if !fits {
            *kept = None;
        }
        kept.get_or_insert_with(|| Self::new(rules, rows))
    }

    /// The arena that the tick's first system has fitted.
    pub(super) fn of_tick(kept: &mut Option<Self>) -> &mut Self {
        kept.as_mut().expect("the first system of a tick fits the arena")
    }

    /// Where a puppet at `place` is let stand: within the walls, out of the obstacles.
    #[inline]
    pub(super) fn settle(&self, place: Vec2) -> Vec2 {
        let place = keep_within(place, &self.bounds, PUPPET_RADIUS);
        self.blocks.push_out(place, PUPPET_RADIUS + SKIN)
    }

    /// Somewhere in a team's base where a puppet can stand.
    pub(super) fn place_in_base(&self, team: u8, rng: &mut Rng) -> Vec2 {
        let base = base_of(&self.rules, team);
        let place = Vec2::new(rng.range(base.min.x, base.max.x), rng.range(base.min.y, base.max.y));
        self.settle(place)
    }

    /// Somewhere in the arena where a flyer can begin.
    pub(super) fn place_for_stray(&self, rng: &mut Rng) -> Vec2 {
        let inner = self.rules.half - PUPPET_RADIUS;
        self.settle(Vec2::new(rng.signed() * inner, rng.signed() * inner))
    }
}

/// A team's base: the teams' middles lie evenly around the arena's, first team left, and move inwards as bases grow.
pub(super) fn base_of(rules: &Rules, team: u8) -> Rect {
    let turn = math::PI + math::TAU * f32::from(team) / rules.teams.max(1) as f32;
    let room = (rules.half - PUPPET_RADIUS) * (1.0 - rules.spread);
    let half = (rules.half - PUPPET_RADIUS) * rules.spread;
    Rect::around(math::direction(turn) * room, Vec2::splat(half))
}

/// Places obstacles: the arena is cut into equal lots; pairs of lots that lie opposite each other through the middle
/// get the same obstacle, mirrored, so that no side is better. The middle stays open.
pub(super) fn obstacles(setup: &Setup, rules: &Rules, rng: &mut Rng) -> Vec<Block> {
    let wanted = setup.obstacles.min(OBSTACLES_MAX);
    let columns_max = ((2.0 * rules.half / (GAP + SIDES.0)) as u32).max(1);
    // Room for a few more than wanted, so that some lots stay empty.
    let columns_wanted = math::sqrt(wanted as f32 * 1.3) as u32 + 1;
    // An odd number has a middle lot, which is nobody's.
    let columns = (columns_wanted | 1).min((columns_max - 1) | 1);
    let lot = 2.0 * rules.half / columns as f32;
    let pairs = columns * columns / 2;
    let mut left = (wanted / 2).min(pairs);
    let mut blocks = Vec::with_capacity(left as usize * 2);
    for pair in 0..pairs {
        // Chooses exactly `left` of the pairs that remain, each as likely.
        if rng.below(pairs - pair) >= left {
            continue;
        }
        left -= 1;
        let corner =
            Vec2::new((pair % columns) as f32, (pair / columns) as f32) * lot - Vec2::splat(rules.half);
        let side_max = SIDES.1.min(lot - GAP);
        let side = Vec2::new(rng.range(SIDES.0, side_max), rng.range(SIDES.0, side_max));
        let room = Vec2::splat(lot - GAP) - side;
        let min = corner + Vec2::splat(GAP * 0.5) + Vec2::new(rng.unit(), rng.unit()) * room;
        let (min, max) = (on_grid(min), on_grid(min + side));
        blocks.push(Block { min, max });
        blocks.push(Block { min: on_grid(-max), max: on_grid(-min) });
    }
    blocks
}

fn on_grid(point: Vec2) -> Vec2 {
    Vec2::new(crate::snap(point.x, 4096.0), crate::snap(point.y, 4096.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Terms, TickRate};

    fn rules(setup: &Setup) -> Rules {
        Rules::of(setup, &Terms { seed: 0, rate: TickRate::DEFAULT, ticks_max: 100 }, 2)
    }

    #[test]
    fn obstacles_leave_ways_between_them_and_along_the_walls() {
        for seed in 0..50 {
            for puppets in [2, 10, 100, 1000] {
                let setup = Setup::for_puppets(puppets);
                let rules = rules(&setup);
                let blocks = obstacles(&setup, &rules, &mut Rng::new(seed, 0, 0, 0));
                assert_eq!(blocks.len() as u32, setup.obstacles / 2 * 2, "seed {seed}, {puppets} puppets");
                for (index, block) in blocks.iter().enumerate() {
                    let rect = block.rect();
                    assert!(rules.bounds().grown(-GAP * 0.49).contains(rect.min), "{rect:?}");
                    assert!(rules.bounds().grown(-GAP * 0.49).contains(rect.max), "{rect:?}");
                    let wide = rect.grown(GAP * 0.49);
                    assert!(
                        blocks[..index].iter().all(|other| !other.rect().grown(GAP * 0.49).overlaps(&wide))
                    );
                }
            }
        }
    }

    #[test]
    fn an_arena_is_fair_by_point_symmetry() {
        let setup = Setup::for_puppets(10);
        let blocks = obstacles(&setup, &rules(&setup), &mut Rng::new(3, 0, 0, 0));
        for block in &blocks {
            assert!(blocks.contains(&Block { min: on_grid(-block.max), max: on_grid(-block.min) }));
        }
    }

    #[test]
    fn puppets_settle_outside_of_obstacles_and_inside_of_walls() {
        let setup = Setup::for_puppets(10);
        let rules = rules(&setup);
        for seed in 0..20 {
            let mut rng = Rng::new(seed, 0, 0, 0);
            let arena = Arena::new(&rules, &obstacles(&setup, &rules, &mut rng));
            for _ in 0..2000 {
                let place = on_grid(arena.settle(Vec2::new(rng.signed(), rng.signed()) * rules.half * 1.2));
                assert!(arena.bounds.grown(-PUPPET_RADIUS).contains(place));
                let free = |rect: &Rect| rect.distance_squared(place) >= PUPPET_RADIUS * PUPPET_RADIUS;
                assert!(arena.blocks.rects().iter().all(free), "seed {seed}: {place}");
            }
        }
    }

    #[test]
    fn bases_lie_apart_and_inside() {
        let setup = Setup::for_puppets(10);
        let rules = rules(&setup);
        let (left, right) = (base_of(&rules, 0), base_of(&rules, 1));
        assert!(left.center().x < 0.0 && right.center().x > 0.0 && !left.overlaps(&right));
        for base in [left, right] {
            assert!(rules.bounds().contains(base.min) && rules.bounds().contains(base.max));
        }
    }
}

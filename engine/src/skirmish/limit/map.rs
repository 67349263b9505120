//! What stands still: walls and obstacles, and how far off they are.
//!
//! A field names for each cell the obstacle nearest to it and tells how far off all others are at least. A ray that
//! is tested against the one, and goes on by the distance of the others, again and again, misses nothing; that is how
//! a flyer learns for how many ticks it need not ask.

use glam::Vec2;

use super::super::state::{FLYER_RADIUS, PUPPET_RADIUS};
use super::super::{Block, Rules, arena};
use crate::rng::Rng;
use crate::space::{Rect, push_circle_out, segment_rect};

/// How far off a surface something is set, in metres.
const SKIN: f32 = 1.0 / 1024.0;
/// The most cells of an index.
const CELLS_MAX: f32 = 1_048_576.0;
/// Steps of the field a metre, and the furthest distance that it tells, in metres.
const FIELD: (f32, f32) = (8.0, 24.0);
/// The most ticks that a flyer is promised.
const PROMISE_TICKS: f32 = 64.0;
/// The most steps of a ray through the field.
const RAY_STEPS: u32 = 12;

/// Square cells over a square arena; what lies outside belongs to the nearest edge cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells {
    half: f32,
    inverse: f32,
    size: f32,
    last: f32,
    pub(super) columns: u32,
}

impl Cells {
    pub(super) fn new(half: f32, size: f32) -> Self {
        let mut size = size;
        loop {
            let columns = (2.0 * half / size).floor() + 1.0;
            if columns * columns <= CELLS_MAX {
                return Self {
                    half,
                    inverse: 1.0 / size,
                    size,
                    last: columns - 1.0,
                    columns: columns as u32,
                };
            }
            size *= 2.0;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.columns as usize * self.columns as usize
    }

    /// The column of an x, or the row of a y: never falls as the coordinate grows. Adding 2²³ leaves the whole part
    /// in the low bits, and a loop of this is vectorised.
    #[inline(always)]
    pub(super) fn along(&self, coordinate: f32) -> u32 {
        let cells = (coordinate + self.half) * self.inverse - 0.5;
        let cells = if cells > 0.0 { cells } else { 0.0 };
        let cells = if cells < self.last { cells } else { self.last };
        (cells + 8_388_608.0).to_bits() & 0x7f_ffff
    }

    #[inline(always)]
    pub(super) fn of(&self, point: Vec2) -> u32 {
        self.along(point.y) * self.columns + self.along(point.x)
    }

    /// The extent of a row or column, wider by what rounding may do; edge cells go on for ever.
    fn extent(&self, cell: u32) -> (f32, f32) {
        let slack = self.half * 1e-5 + self.size * 1e-3;
        let low = if cell == 0 { f32::MIN } else { cell as f32 * self.size - self.half - slack };
        let high = if cell + 1 == self.columns {
            f32::MAX
        } else {
            (cell + 1) as f32 * self.size - self.half + slack
        };
        (low, high)
    }
}

/// What stands still.
#[derive(Debug)]
pub(super) struct Map {
    rules: Rules,
    /// Where centres of puppets are.
    room: Rect,
    /// Where centres of flyers are.
    sky: Rect,
    obstacles: Vec<Rect>,
    field: Vec<Near>,
    /// Of each cell of the field whether a puppet in it may touch an obstacle: small, since all puppets ask it.
    close: Vec<bool>,
    field_cells: Cells,
    /// Obstacles of each cell, as runs of `rects`.
    starts: Vec<u32>,
    rects: Vec<Rect>,
    cells: Cells,
    /// What a flyer keeps from an obstacle on a ray for it to be free: its radius, and how far it may stray from the
    /// ray by rounding in as many ticks as it is promised.
    keep: f32,
    stray: f32,
}

/// What stands near a cell. Distances are in steps of the field, rounded down.
#[derive(Clone, Copy, Debug)]
struct Near {
    /// The nearest obstacle's number, [`NOBODY`] if all are far.
    nearest: u16,
    /// How far off it is at least.
    nearest_steps: u8,
    /// How far off all others are at least.
    others_steps: u8,
}

/// No obstacle; there are never so many.
const NOBODY: u16 = u16::MAX;

/// Where a flyer meets something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meeting {
    pub(super) at: f32,
    pub(super) place: Vec2,
    pub(super) normal: Vec2,
}

impl Map {
    pub(super) fn new(rules: &Rules, blocks: &[Block]) -> Self {
        let half = rules.half;
        let bounds = rules.bounds();
        let all: Vec<Rect> = blocks.iter().map(|block| Rect::new(block.min, block.max)).collect();
        let cells = Cells::new(half, 4.0);
        let (mut starts, mut rects) = (vec![0; cells.count() + 1], Vec::new());
        let reach = PUPPET_RADIUS + 2.0 * SKIN + half * 1e-5;
        let mut lists: Vec<Vec<Rect>> = vec![Vec::new(); cells.count()];
        for rect in &all {
            let wide = rect.grown(reach);
            for row in cells.along(wide.min.y)..=cells.along(wide.max.y) {
                for column in cells.along(wide.min.x)..=cells.along(wide.max.x) {
                    lists[(row * cells.columns + column) as usize].push(*rect);
                }
            }
        }
        for (cell, list) in lists.iter().enumerate() {
            rects.extend_from_slice(list);
            starts[cell + 1] = rects.len() as u32;
        }
        let field_cells = Cells::new(half, 2.0);
        let furthest = (FIELD.0 * FIELD.1) as u8;
        let far = Near { nearest: NOBODY, nearest_steps: furthest, others_steps: furthest };
        let mut field = vec![far; field_cells.count()];
        for (number, rect) in (0_u16..).zip(&all) {
            let wide = rect.grown(FIELD.1);
            for row in field_cells.along(wide.min.y)..=field_cells.along(wide.max.y) {
                let (low, high) = field_cells.extent(row);
                let y = (rect.min.y - high).max(low - rect.max.y).max(0.0);
                for column in field_cells.along(wide.min.x)..=field_cells.along(wide.max.x) {
                    let (left, right) = field_cells.extent(column);
                    let x = (rect.min.x - right).max(left - rect.max.x).max(0.0);
                    let steps = ((x * x + y * y).sqrt() * FIELD.0).floor().min(FIELD.0 * FIELD.1) as u8;
                    let near = &mut field[(row * field_cells.columns + column) as usize];
                    if steps < near.nearest_steps {
                        *near =
                            Near { nearest: number, nearest_steps: steps, others_steps: near.nearest_steps };
                    } else {
                        near.others_steps = steps.min(near.others_steps);
                    }
                }
            }
        }
        // A tick's rounding: to the grid, and of a sum as large as the arena.
        let stray = PROMISE_TICKS * (1.0 / 4096.0 + half / 4_194_304.0);
        Self {
            rules: *rules,
            room: bounds.grown(-PUPPET_RADIUS),
            sky: bounds.grown(-FLYER_RADIUS),
            obstacles: all,
            // A circle that reaches four steps and a little touches nothing that is five steps off.
            close: field.iter().map(|near| near.nearest_steps < 5).collect(),
            field,
            field_cells,
            starts,
            rects,
            cells,
            keep: FLYER_RADIUS + stray,
            stray,
        }
    }

    /// Whether an obstacle may be within a puppet's reach.
    #[inline(always)]
    pub(super) fn is_close(&self, point: Vec2) -> bool {
        self.close[self.field_cells.of(point) as usize]
    }

    /// The nearest place within the walls.
    #[inline(always)]
    pub(super) fn within(&self, place: Vec2) -> Vec2 {
        self.room.closest(place)
    }

    /// The place itself, or the one just outside of an obstacle.
    pub(super) fn out_of_obstacles(&self, place: Vec2) -> Vec2 {
        let cell = self.cells.of(place) as usize;
        let mut place = place;
        for rect in &self.rects[self.starts[cell] as usize..self.starts[cell + 1] as usize] {
            if let Some(out) = push_circle_out(rect, place, PUPPET_RADIUS + SKIN) {
                place = out;
            }
        }
        place
    }

    /// Somewhere in a team's base.
    pub(super) fn place_in_base(&self, team: u8, rng: &mut Rng) -> Vec2 {
        let base = arena::base_of(&self.rules, team);
        let place = Vec2::new(rng.range(base.min.x, base.max.x), rng.range(base.min.y, base.max.y));
        self.out_of_obstacles(self.within(place))
    }

    /// Somewhere in the arena.
    pub(super) fn place_for_stray(&self, rng: &mut Rng) -> Vec2 {
        let inner = self.rules.half - PUPPET_RADIUS;
        let place = Vec2::new(rng.signed() * inner, rng.signed() * inner);
        self.out_of_obstacles(self.within(place))
    }

    /// The first wall or obstacle that a flyer meets.
    pub(super) fn meeting(&self, from: Vec2, delta: Vec2) -> Option<Meeting> {
        let to = from + delta;
        let mut first = if self.sky.contains(to) { None } else { self.wall(from, delta) };
        let span = Rect::new(from.min(to), from.max(to));
        let reach = span.grown(2.0 * FLYER_RADIUS);
        let columns = self.cells.along(reach.min.x)..=self.cells.along(reach.max.x);
        for row in self.cells.along(reach.min.y)..=self.cells.along(reach.max.y) {
            for column in columns.clone() {
                let cell = (row * self.cells.columns + column) as usize;
                for rect in &self.rects[self.starts[cell] as usize..self.starts[cell + 1] as usize] {
                    let wide = rect.grown(FLYER_RADIUS);
                    if !wide.overlaps(&span) {
                        continue;
                    }
                    let Some(hit) = segment_rect(from, delta, &wide) else { continue };
                    if first.is_some_and(|first: Meeting| first.at <= hit.at) {
                        continue;
                    }
                    first = Some(if hit.normal == Vec2::ZERO {
                        let place = push_circle_out(rect, from, FLYER_RADIUS + SKIN).unwrap_or(from);
                        let normal = (place - rect.closest(place)).normalize_or(Vec2::X);
                        Meeting { at: 0.0, place, normal }
                    } else {
                        let place = from + delta * hit.at + hit.normal * SKIN;
                        Meeting { at: hit.at, place, normal: hit.normal }
                    });
                }
            }
        }
        first
    }

    /// The wall that a flyer meets whose movement ends behind one; of two met at once the one in x.
    fn wall(&self, from: Vec2, delta: Vec2) -> Option<Meeting> {
        let axis = |from: f32, delta: f32, low: f32, high: f32| {
            let to = from + delta;
            let (edge, back) = if to > high {
                (high, -1.0)
            } else if to < low {
                (low, 1.0)
            } else {
                return (f32::INFINITY, 0.0);
            };
            (if delta == 0.0 { 0.0 } else { ((edge - from) / delta).clamp(0.0, 1.0) }, back)
        };
        let (x, left_or_right) = axis(from.x, delta.x, self.sky.min.x, self.sky.max.x);
        let (y, up_or_down) = axis(from.y, delta.y, self.sky.min.y, self.sky.max.y);
        let (at, normal) =
            if x <= y { (x, Vec2::new(left_or_right, 0.0)) } else { (y, Vec2::new(0.0, up_or_down)) };
        if at == f32::INFINITY {
            return None;
        }
        let place = self.sky.grown(-SKIN).closest(from + delta * at);
        Some(Meeting { at, place, normal })
    }

    /// Begins the question for how many ticks a flyer surely meets neither wall nor obstacle.
    pub(super) fn ask(&self, row: u32, from: Vec2, delta: Vec2) -> Question {
        let step = delta.length();
        let wall = |from: f32, delta: f32| {
            let room = self.sky.max.x - self.stray - from * 1.0_f32.copysign(delta);
            if delta == 0.0 { PROMISE_TICKS } else { room / delta.abs() }
        };
        let ticks_max = wall(from.x, delta.x).min(wall(from.y, delta.y)).min(PROMISE_TICKS);
        // Who stands still, or is at a wall, is told nothing.
        let wanted = if step > 1e-3 && ticks_max >= 1.0 { ticks_max * step } else { 0.0 };
        let ray = Ray::new(from, delta * (1.0 / step.max(1e-3)));
        Question { row, ray, step, wanted, gone: 0.0, tested: NOBODY }
    }

    /// Goes on with all questions by turns, so that none waits for the memory of another, until each has its answer.
    pub(super) fn answer(&self, questions: &mut [Question]) {
        for batch in questions.chunks_mut(BATCH) {
            for _ in 0..RAY_STEPS {
                let mut open = false;
                for question in &mut *batch {
                    if question.gone < question.wanted {
                        self.go_on(question);
                        open = true;
                    }
                }
                if !open {
                    break;
                }
            }
        }
    }

    #[inline]
    fn go_on(&self, question: &mut Question) {
        let Question { ray, tested, gone, wanted, .. } = question;
        let near = self.field[self.field_cells.of(ray.from + ray.direction * *gone) as usize];
        if near.nearest != *tested && near.nearest != NOBODY {
            *tested = near.nearest;
            *wanted = wanted.min(ray.meets(&self.obstacles[usize::from(*tested)].grown(self.keep)));
        }
        *gone += (f32::from(near.others_steps) * (1.0 / FIELD.0) - self.keep).max(0.0);
    }
}

/// Rays that go on by turns.
const BATCH: usize = 16;

/// A flyer that asks for how many ticks it is free.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) row: u32,
    ray: Ray,
    /// How far it flies in a tick.
    step: f32,
    /// How far it has to be free: to the wall, to the promise's end, or to an obstacle in its way.
    wanted: f32,
    /// How far it is free for sure.
    gone: f32,
    /// The obstacle that was tested last.
    tested: u16,
}

impl Question {
    /// The answer in ticks: a little less, for the rounding of the division.
    pub(super) fn ticks(&self) -> u32 {
        if self.wanted > 0.0 { (self.gone.min(self.wanted) * 0.9999 / self.step) as u32 } else { 0 }
    }
}

/// A ray, prepared for many rectangles.
#[derive(Clone, Copy, Debug)]
struct Ray {
    from: Vec2,
    direction: Vec2,
    inverse: Vec2,
}

impl Ray {
    fn new(from: Vec2, direction: Vec2) -> Self {
        // Nearly parallel to an axis is as good as parallel: it is turned by less than flyers stray anyway.
        let divisor = |value: f32| 1.0 / if value.abs() < 1e-6 { 1e-6_f32.copysign(value) } else { value };
        Self { from, direction, inverse: Vec2::new(divisor(direction.x), divisor(direction.y)) }
    }

    /// How far off it enters a rectangle; infinitely far if it does not.
    #[inline]
    fn meets(&self, rect: &Rect) -> f32 {
        let (a, b) = ((rect.min - self.from) * self.inverse, (rect.max - self.from) * self.inverse);
        let (enter, leave) = (a.min(b).max_element(), a.max(b).min_element());
        if leave >= enter.max(0.0) { enter.max(0.0) } else { f32::INFINITY }
    }
}

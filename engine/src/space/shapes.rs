//! Rectangles, circles, segments: how they touch, and when.

use glam::Vec2;

/// An axis-parallel rectangle, its edges included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// The corner with the lowest coordinates, in metres.
    pub min: Vec2,
    /// The corner with the highest coordinates, in metres.
    pub max: Vec2,
}

impl Rect {
    /// The rectangle between two corners.
    #[inline]
    #[must_use]
    pub const fn new(min: Vec2, max: Vec2) -> Self {
        Self { min, max }
    }

    /// The rectangle around a centre that reaches `half` to each side.
    #[inline]
    #[must_use]
    pub fn around(center: Vec2, half: Vec2) -> Self {
        Self { min: center - half, max: center + half }
    }

    /// The middle.
    #[inline]
    #[must_use]
    pub fn center(&self) -> Vec2 {
        (self.min + self.max) * 0.5
    }

    /// Whether a point lies in it or on its edge.
    #[inline]
    #[must_use]
    pub fn contains(&self, point: Vec2) -> bool {
        (point.x >= self.min.x) & (point.x <= self.max.x) & (point.y >= self.min.y) & (point.y <= self.max.y)
    }

    /// Whether two rectangles have a point in common.
    #[inline]
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        (self.min.x <= other.max.x)
            & (other.min.x <= self.max.x)
            & (self.min.y <= other.max.y)
            & (other.min.y <= self.max.y)
    }

    /// The rectangle grown by `margin` on every side.
    #[inline]
    #[must_use]
    pub fn grown(&self, margin: f32) -> Self {
        Self { min: self.min - Vec2::splat(margin), max: self.max + Vec2::splat(margin) }
    }

    /// The point of the rectangle that is nearest to `point`.
    #[inline]
    #[must_use]
    pub fn closest(&self, point: Vec2) -> Vec2 {
        point.max(self.min).min(self.max)
    }

    /// The squared distance to a point, 0 inside.
    #[inline]
    #[must_use]
    pub fn distance_squared(&self, point: Vec2) -> f32 {
        (point - self.closest(point)).length_squared()
    }
}

/// Where a circle's centre has to go so that the circle no longer overlaps the rectangle; nothing if it does not.
///
/// From outside it goes straight away from the nearest point; from inside through the nearest edge, and of two
/// equally near ones x before y, low before high. Touching is no overlap.
#[inline]
#[must_use]
pub fn push_circle_out(rect: &Rect, center: Vec2, radius: f32) -> Option<Vec2> {
    let closest = rect.closest(center);
    let away = center - closest;
    let squared = away.length_squared();
    if squared >= radius * radius {
        return None;
    }
    if squared > 0.0 {
        return Some(closest + away * (radius / squared.sqrt()));
    }
    let (low, high) = (center - rect.min, rect.max - center);
    let nearest = low.x.min(high.x).min(low.y).min(high.y);
    let out = if low.x == nearest {
        Vec2::new(rect.min.x - radius, center.y)
    } else if high.x == nearest {
        Vec2::new(rect.max.x + radius, center.y)
    } else if low.y == nearest {
        Vec2::new(center.x, rect.min.y - radius)
    } else {
        Vec2::new(center.x, rect.max.y + radius)
    };
    Some(out)
}

/// When a point that moves from `from` by `delta` first touches a circle: 0 at the start, 1 at the end.
///
/// A start inside is a touch at 0. A moving circle is the same with both radii added.
#[inline]
#[must_use]
pub fn segment_circle(from: Vec2, delta: Vec2, center: Vec2, radius: f32) -> Option<f32> {
    let to_start = from - center;
    let outside = to_start.length_squared() - radius * radius;
    if outside <= 0.0 {
        return Some(0.0);
    }
    let approach = to_start.dot(delta);
    if approach >= 0.0 {
        return None;
    }
    let squared = delta.length_squared();
    let discriminant = approach * approach - squared * outside;
    if discriminant < 0.0 {
        return None;
    }
    let at = (-approach - discriminant.sqrt()) / squared;
    if at <= 1.0 { Some(at.max(0.0)) } else { None }
}

/// Where a segment enters a rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RectHit {
    /// When, from 0 at the segment's start to 1 at its end.
    pub at: f32,
    /// The outward unit normal of the edge that was met; zero when the segment starts inside.
    pub normal: Vec2,
}

/// When and where a point that moves from `from` by `delta` first touches a rectangle.
///
/// A start inside is a touch at 0 without a normal. Of two edges met at once the one in x is named.
#[inline]
#[must_use]
pub fn segment_rect(from: Vec2, delta: Vec2, rect: &Rect) -> Option<RectHit> {
    if rect.contains(from) {
        return Some(RectHit { at: 0.0, normal: Vec2::ZERO });
    }
    let (enter_x, leave_x) = slab(from.x, delta.x, rect.min.x, rect.max.x)?;
    let (enter_y, leave_y) = slab(from.y, delta.y, rect.min.y, rect.max.y)?;
    let at = enter_x.max(enter_y);
    if at > leave_x.min(leave_y) || !(0.0..=1.0).contains(&at) {
        return None;
    }
    let normal = if enter_x >= enter_y {
        Vec2::new(-1.0_f32.copysign(delta.x), 0.0)
    } else {
        Vec2::new(0.0, -1.0_f32.copysign(delta.y))
    };
    Some(RectHit { at, normal })
}

/// When a moving coordinate enters and leaves an interval; nothing if it stands outside.
#[inline]
fn slab(from: f32, delta: f32, low: f32, high: f32) -> Option<(f32, f32)> {
    if delta == 0.0 {
        return if (low..=high).contains(&from) { Some((f32::NEG_INFINITY, f32::INFINITY)) } else { None };
    }
    let (a, b) = ((low - from) / delta, (high - from) / delta);
    Some((a.min(b), a.max(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use glam::vec2;

    const UNIT: Rect = Rect::new(vec2(-1.0, -1.0), vec2(1.0, 1.0));

    #[test]
    fn edges_belong_to_a_rectangle() {
        assert!(UNIT.contains(vec2(1.0, 1.0)));
        assert!(!UNIT.contains(vec2(1.0_f32.next_up(), 1.0)));
        assert!(UNIT.overlaps(&Rect::new(vec2(1.0, -3.0), vec2(2.0, -1.0))));
        assert!(!UNIT.overlaps(&Rect::new(vec2(1.0_f32.next_up(), 0.0), vec2(2.0, 0.0))));
        assert_eq!(UNIT.distance_squared(vec2(4.0, 5.0)), 25.0);
    }

    #[test]
    fn circles_are_pushed_out_the_short_way() {
        assert_eq!(push_circle_out(&UNIT, vec2(1.5, 0.0), 0.5), None);
        assert_eq!(push_circle_out(&UNIT, vec2(1.25, 0.0), 0.5), Some(vec2(1.5, 0.0)));
        assert_eq!(push_circle_out(&UNIT, vec2(0.9, 0.0), 0.5), Some(vec2(1.5, 0.0)));
        assert_eq!(push_circle_out(&UNIT, vec2(0.0, -0.9), 0.5), Some(vec2(0.0, -1.5)));
        assert_eq!(push_circle_out(&UNIT, vec2(0.0, 0.0), 0.5), Some(vec2(-1.5, 0.0)));
        let corner = push_circle_out(&UNIT, vec2(1.3, 1.4), 1.0).unwrap();
        assert!((corner - vec2(1.6, 1.8)).length() < 1e-6);
    }

    #[test]
    fn pushed_out_circles_overlap_no_longer() {
        let mut rng = Rng::new(11, 0, 0, 0);
        for _ in 0..20_000 {
            let center = vec2(rng.signed() * 2.0, rng.signed() * 2.0);
            let radius = rng.range(0.01, 1.0);
            let moved = push_circle_out(&UNIT, center, radius).unwrap_or(center);
            assert!(UNIT.distance_squared(moved).sqrt() >= radius - 1e-6, "{center} {radius}");
        }
    }

    #[test]
    fn segments_touch_circles_when_sampling_says_so() {
        let mut rng = Rng::new(12, 0, 0, 0);
        for _ in 0..4_000 {
            let from = vec2(rng.signed(), rng.signed()) * 3.0;
            let delta = vec2(rng.signed(), rng.signed()) * 4.0;
            let (center, radius) = (vec2(rng.signed(), rng.signed()), rng.range(0.1, 1.0));
            let inside = |at: f32| (from + delta * at - center).length() - radius;
            match segment_circle(from, delta, center, radius) {
                Some(at) => {
                    assert!((0.0..=1.0).contains(&at));
                    assert!(inside(at) < 1e-3);
                    assert!((0..100).all(|step| inside(at * step as f32 / 100.0) > -1e-3 || at == 0.0));
                }
                None => assert!((0..=100).all(|step| inside(step as f32 / 100.0) > -1e-3)),
            }
        }
        assert_eq!(segment_circle(vec2(0.0, 0.0), Vec2::ZERO, vec2(2.0, 0.0), 1.0), None);
        assert_eq!(segment_circle(vec2(0.0, 0.0), vec2(1.0, 0.0), vec2(2.0, 0.0), 1.0), Some(1.0));
    }

    #[test]
    fn segments_touch_rectangles_when_sampling_says_so() {
        let mut rng = Rng::new(13, 0, 0, 0);
        for round in 0..4_000 {
            let from = vec2(rng.signed(), rng.signed()) * 3.0;
            let mut delta = vec2(rng.signed(), rng.signed()) * 4.0;
            match round % 4 {
                0 => delta.x = 0.0,
                1 => delta.y = 0.0,
                _ => {}
            }
            match segment_rect(from, delta, &UNIT) {
                Some(RectHit { at, normal }) => {
                    assert!(UNIT.grown(1e-4).contains(from + delta * at));
                    assert!((0..100).all(|step| at == 0.0
                        || !UNIT.grown(-1e-3).contains(from + delta * (at * step as f32 / 100.0))));
                    assert!(normal == Vec2::ZERO || normal.dot(delta) < 0.0);
                }
                None => assert!((0..=100).all(|step| !UNIT.contains(from + delta * (step as f32 / 100.0)))),
            }
        }
    }
}

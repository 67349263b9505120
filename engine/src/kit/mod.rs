//! Building blocks for games: records and plain functions over columns. Take what fits; skirmish is made of them.
//!
//! | block | what it gives |
//! |---|---|
//! | [`motion`] | position and velocity; integration, acceleration towards a wish, bounds |
//! | [`flyer`] | flight with a lifetime; bouncing off walls and blocks |
//! | [`impact`] | who among thousands of flyers touches whom, exactly and first |
//! | [`area`] | damage around a point that falls off with distance |
//! | [`life`] | health, death, return |
//! | [`cooldown`] | when something may be done again |
//! | [`past`] | where somebody was a moment ago, for shots that hit at once |
//! | [`timer`] | many timers per actor, cancelled by key or alone |
//! | [`reach`] | what is near enough to be seen, without flicker at the edge |
//! | [`ai`] | leading a shot, dodging one, steering round blocks |
//!
//! Lengths are metres, speeds metres per second, angles radians, times ticks. Nothing here allocates once its
//! buffers are warm, and nothing depends on anything but its arguments.

pub mod ai;
pub mod area;
pub mod cooldown;
pub mod flyer;
pub mod impact;
pub mod life;
pub mod motion;
pub mod past;
pub mod reach;
pub mod timer;

//! The predictor: keeps a [`Prediction`] as long as there is something to predict from, and holds off what goes wrong in
//! it. A state from outside that is sound may still be more than the game's systems bear: if they panic over it, nothing
//! is predicted any more, and the mirror is what the player sees.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tiltyard_engine::{Game, Seat};
use tiltyard_netcode::Millis;

use crate::mirror::Mirror;
use crate::prediction::{Prediction, PredictionReport};

/// A player's prediction, if it wants one.
pub(crate) struct Predictor<G: Game> {
    prediction: Option<Prediction<G>>,
    /// What earlier predictions came to; nothing of a player that does not predict.
    earlier: Option<PredictionReport>,
}

impl<G: Game> Predictor<G> {
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self { prediction: None, earlier: is_wanted.then(PredictionReport::default) }
    }

    /// A new state is there, from which the prediction goes on.
    pub(crate) fn confirm(&mut self, seat: Seat, mirror: &Mirror<G>) {
        if self.earlier.as_ref().is_none_or(|report| report.faults > 0) {
            return;
        }
        self.guarded(|prediction| {
            if prediction.is_none() && seat.index() < mirror.battle().spec().roster.len() {
                *prediction = Prediction::new(mirror, seat).ok();
            }
            if let Some(prediction) = prediction {
                prediction.confirm(mirror);
            }
        });
    }

    /// Takes what the player says for a tick.
    pub(crate) fn say(&mut self, tick: u32, input: G::Input) {
        if let Some(prediction) = &mut self.prediction {
            prediction.say(tick, input);
        }
    }

    /// Predicts up to `tick`.
    pub(crate) fn predict(&mut self, now: Millis, tick: u32) {
        self.guarded(|prediction| {
            if let Some(prediction) = prediction {
                prediction.predict(now, tick);
            }
        });
    }

    /// There is nothing any more that the prediction goes on from; how well it went stays.
    pub(crate) fn forget(&mut self) {
        if let (Some(report), Some(prediction)) = (&mut self.earlier, self.prediction.take()) {
            report.merge(prediction.report());
        }
    }

    pub(crate) fn prediction(&self) -> Option<&Prediction<G>> {
        self.prediction.as_ref()
    }

    /// How well it went; nothing of a player that does not predict.
    pub(crate) fn report(&self) -> Option<PredictionReport> {
        let mut report = self.earlier.clone()?;
        if let Some(prediction) = &self.prediction {
            report.merge(prediction.report());
        }
        Some(report)
    }

    fn guarded(&mut self, mut act: impl FnMut(&mut Option<Prediction<G>>)) {
        if catch_unwind(AssertUnwindSafe(|| act(&mut self.prediction))).is_err() {
            self.forget();
            if let Some(report) = &mut self.earlier {
                report.faults += 1;
            }
        }
    }
}

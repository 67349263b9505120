//! What the snapshot feed sends: the state of the newest tick against baselines that clients acknowledged.
//!
//! One encode per (tick, baseline) serves all seats of the view that share the baseline; there is one view, the full
//! one, today.

use tiltyard_engine::{Battle, Game, Save, Tick, snapshot};

/// How many ticks back a baseline may lie: a little more than a second at 30 Hz.
pub(crate) const BASELINES_KEPT: u32 = 32;

/// Saved states of the last ticks, and the snapshots encoded in this one.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// The state of tick `t` lies at `t % BASELINES_KEPT`.
    saves: Vec<Save>,
    newest: Option<Tick>,
    encoded: Vec<Encoded>,
    bodies: Vec<u8>,
}

#[derive(Debug)]
struct Encoded {
    baseline: Option<Tick>,
    body: std::ops::Range<usize>,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            saves: vec![Save::default(); BASELINES_KEPT as usize],
            newest: None,
            encoded: Vec::new(),
            bodies: Vec::new(),
        }
    }
}

impl Snapshots {
    /// Saves the battle's state as the newest one. Called in every tick in which somebody takes snapshots.
    pub(crate) fn take<G: Game>(&mut self, battle: &Battle<G>) {
        battle.save(&mut self.saves[(battle.tick().0 % BASELINES_KEPT) as usize]);
        self.newest = Some(battle.tick());
        self.encoded.clear();
        self.bodies.clear();
    }

    /// The newest state's snapshot against the state of `wanted`, if that is kept, else against nothing. Returns the
    /// baseline that it is against, and the body.
    ///
    /// # Panics
    /// If no state was taken.
    pub(crate) fn body<G: Game>(
        &mut self,
        battle: &Battle<G>,
        wanted: Option<Tick>,
    ) -> (Option<Tick>, &[u8]) {
        let newest = self.newest.expect("a state was taken in this tick");
        let baseline = wanted.filter(|tick| *tick < newest && self.saved(*tick).is_some());
        let found = self.encoded.iter().position(|encoded| encoded.baseline == baseline);
        let index = match found {
            Some(index) => index,
            None => {
                let start = self.bodies.len();
                let mut bodies = std::mem::take(&mut self.bodies);
                let now = self.saved(newest).expect("the newest state is kept");
                let base = baseline.and_then(|tick| self.saved(tick));
                snapshot::encode(battle.world().registry(), now, base, &mut bodies);
                self.bodies = bodies;
                self.encoded.push(Encoded { baseline, body: start..self.bodies.len() });
                self.encoded.len() - 1
            }
        };
        (baseline, &self.bodies[self.encoded[index].body.clone()])
    }

    fn saved(&self, tick: Tick) -> Option<&Save> {
        let save = &self.saves[(tick.0 % BASELINES_KEPT) as usize];
        (save.tick() == tick && !save.is_empty()).then_some(save)
    }
}

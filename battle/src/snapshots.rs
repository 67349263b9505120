//! What the snapshot feed sends: the newest state, as far as a client's view goes, against one that it acknowledged.
//!
//! Saved states are of everything; of each view only the rows that it saw are kept, and its part of a saved state is
//! selected when it is needed. One encode per (tick, baseline, view) serves all clients that share the three.

use tiltyard_engine::{
    ActorId, Audience, Battle, Game, Lookout, Save, Seat, Seen, StateHash, Tick, snapshot, view_hash,
};

/// How many ticks back a baseline may lie: a little more than a second at 30 Hz.
pub(crate) const BASELINES_KEPT: u32 = 32;

/// Saved states of the last ticks, and what views saw of them.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// The state of tick `t` lies at `t % BASELINES_KEPT`.
    saves: Vec<Save>,
    newest: Option<Tick>,
    /// The part of a baseline that a view saw, while it is encoded against.
    base: Save,
    full: Bodies,
    /// By ascending numbers.
    views: Vec<View>,
    /// One a seat, if some record is for its owner alone: kept for a client that comes back.
    privates: Vec<Private>,
    /// How many snapshots were made.
    pub(crate) shown: u64,
    /// How many bodies were encoded for them.
    pub(crate) encoded: u64,
}

/// What the clients of one view other than the full one are told.
#[derive(Debug)]
struct View {
    number: u16,
    own: Vec<Seat>,
    lookout: Lookout,
    /// What was seen at tick `t` lies at `t % BASELINES_KEPT`.
    seen: Vec<Seen>,
    /// What is seen of the newest state.
    now: Save,
    bodies: Bodies,
}

/// What one seat alone is told.
#[derive(Clone, Debug)]
struct Private {
    /// Its own body at tick `t` lies at `t % BASELINES_KEPT`.
    seen: Vec<Seen>,
    now: Save,
    body: Vec<u8>,
}

/// The bodies of one view that were encoded in this tick.
#[derive(Debug, Default)]
struct Bodies {
    encoded: Vec<Encoded>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Encoded {
    baseline: Option<Tick>,
    body: std::ops::Range<usize>,
}

/// A snapshot of the newest state.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    /// What it is against.
    pub(crate) baseline: Option<Tick>,
    pub(crate) hash: StateHash,
    pub(crate) shared: &'a [u8],
    pub(crate) private: &'a [u8],
}

impl Snapshots {
    /// Nothing was saved yet.
    pub(crate) fn new<G: Game>(battle: &Battle<G>) -> Self {
        let seats = if battle.world().registry().has_private() { battle.spec().roster.len() } else { 0 };
        Self {
            saves: vec![Save::default(); BASELINES_KEPT as usize],
            newest: None,
            base: Save::default(),
            full: Bodies::default(),
            views: Vec::new(),
            privates: vec![Private::new(); seats],
            shown: 0,
            encoded: 0,
        }
    }

    /// Saves the battle's state as the newest one. Called in every tick in which somebody takes snapshots.
    pub(crate) fn take<G: Game>(&mut self, battle: &Battle<G>) {
        battle.save(&mut self.saves[slot(battle.tick())]);
        self.newest = Some(battle.tick());
        self.full.clear();
    }

    /// What the client of a seat, or one that looks on, is told of the newest state in its view: against the state of
    /// `wanted`, if that is kept, else against nothing.
    ///
    /// # Panics
    /// If no state was taken.
    pub(crate) fn show<G: Game>(
        &mut self,
        battle: &Battle<G>,
        seat: Option<Seat>,
        view: u16,
        wanted: Option<Tick>,
    ) -> Shown<'_> {
        let newest = self.newest.expect("a state was taken in this tick");
        self.shown += 1;
        let encoded = &mut self.encoded;
        let (registry, rate) = (battle.world().registry(), battle.spec().terms.rate);
        let now = &self.saves[slot(newest)];
        let wanted = wanted.filter(|tick| *tick < newest);
        let kept = |tick: &Tick| {
            let save = &self.saves[slot(*tick)];
            save.tick() == *tick && !save.is_empty()
        };
        let wanted = wanted.filter(kept);
        if view == snapshot::VIEW_FULL {
            let base = wanted.map(|tick| &self.saves[slot(tick)]);
            let shared = self.full.get(wanted, |bytes| {
                *encoded += 1;
                snapshot::encode(registry, rate, now, base, bytes);
            });
            return Shown { baseline: wanted, hash: battle.state_hash(), shared, private: &[] };
        }
        let index = self.views.binary_search_by_key(&view, |known| known.number).unwrap_or_else(|index| {
            self.views.insert(index, View::new(battle, view));
            index
        });
        let known = &mut self.views[index];
        known.look(battle, now);
        let baseline = wanted.filter(|tick| known.saw(*tick));
        let base = &mut self.base;
        let View { seen, now: part, bodies, .. } = known;
        let shared = bodies.get(baseline, |bytes| {
            *encoded += 1;
            let base = baseline.map(|tick| {
                self.saves[slot(tick)].select(registry, &seen[slot(tick)], Audience::Everybody, base);
                &*base
            });
            snapshot::encode(registry, rate, part, base, bytes);
        });
        let shared_hash = part.hashes().state();
        let Some((seat, private)) = seat.and_then(|seat| Some((seat, self.privates.get_mut(seat.index())?)))
        else {
            return Shown { baseline, hash: shared_hash, shared, private: &[] };
        };
        let own = private.encode(battle, G::puppet(battle.world(), seat), &self.saves, baseline, base);
        Shown { baseline, hash: view_hash(shared_hash, own), shared, private: &private.body }
    }
}

impl View {
    fn new<G: Game>(battle: &Battle<G>, number: u16) -> Self {
        let spec = battle.spec();
        let seats = spec.roster.iter().map(|(seat, _)| seat);
        Self {
            number,
            own: seats.filter(|seat| G::view(spec, Some(*seat)) == number).collect(),
            lookout: Lookout::new(battle.world().registry()),
            seen: vec![Seen::default(); BASELINES_KEPT as usize],
            now: Save::default(),
            bodies: Bodies::default(),
        }
    }

    /// Looks at the newest state, once.
    fn look<G: Game>(&mut self, battle: &Battle<G>, newest: &Save) {
        if self.saw(newest.tick()) {
            return;
        }
        let (registry, seen) = (battle.world().registry(), &mut self.seen[slot(newest.tick())]);
        self.lookout.look::<G>(battle.world(), self.number, &self.own, seen);
        newest.select(registry, seen, Audience::Everybody, &mut self.now);
        self.now.rehash(registry);
        self.bodies.clear();
    }

    fn saw(&self, tick: Tick) -> bool {
        let seen = &self.seen[slot(tick)];
        seen.tick() == tick && !seen.is_empty()
    }
}

impl Private {
    /// Nothing was told yet.
    fn new() -> Self {
        Self { seen: vec![Seen::default(); BASELINES_KEPT as usize], now: Save::default(), body: Vec::new() }
    }

    /// Writes what the owner of `puppet` alone may know, and gives its hash; nothing without a puppet.
    fn encode<G: Game>(
        &mut self,
        battle: &Battle<G>,
        puppet: Option<ActorId>,
        saves: &[Save],
        baseline: Option<Tick>,
        base: &mut Save,
    ) -> Option<StateHash> {
        let (world, registry) = (battle.world(), battle.world().registry());
        let now = &saves[slot(battle.tick())];
        let seen = &mut self.seen[slot(battle.tick())];
        seen.clear();
        self.body.clear();
        seen.only(world, Some(puppet?));
        now.select(registry, seen, Audience::Owner, &mut self.now);
        self.now.rehash(registry);
        let kept = baseline.map(|tick| (&saves[slot(tick)], &self.seen[slot(tick)]));
        let kept = kept.filter(|(save, seen)| seen.tick() == save.tick() && !seen.is_empty());
        let base = kept.map(|(save, seen)| {
            save.select(registry, seen, Audience::Owner, base);
            &*base
        });
        snapshot::encode(registry, battle.spec().terms.rate, &self.now, base, &mut self.body);
        Some(self.now.hashes().state())
    }
}

impl Bodies {
    fn clear(&mut self) {
        self.encoded.clear();
        self.bytes.clear();
    }

    /// The body against a baseline, encoded if nobody asked for it before.
    fn get(&mut self, baseline: Option<Tick>, encode: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let found = self.encoded.iter().find(|encoded| encoded.baseline == baseline);
        let body = found.map(|encoded| encoded.body.clone()).unwrap_or_else(|| {
            let start = self.bytes.len();
            encode(&mut self.bytes);
            let body = start..self.bytes.len();
            self.encoded.push(Encoded { baseline, body: body.clone() });
            body
        });
        &self.bytes[body]
    }
}

fn slot(tick: Tick) -> usize {
    (tick.0 % BASELINES_KEPT) as usize
}

//! What the snapshot feed sends: the newest state, as far as a client's view goes, against one that it acknowledged.
//!
//! Saved states are of everything; of each view only the rows that it saw are kept, and its part of a saved state is
//! selected when it is needed. One encode per (tick, baseline, view) serves all clients that share the three.

use tiltyard_engine::{
    ActorId, Audience, Battle, Game, Lookout, Registry, Save, Seat, Seen, StateHash, Tick, snapshot,
    view_hash,
};
use tiltyard_netcode::limits::{DATAGRAM_MESSAGE_MAX, MESSAGE_MAX};
use tiltyard_netcode::message::Snapshot;

use crate::broadcast::Way;
use crate::seats::Client;
use crate::shortage::{Telling, Turns};

/// The longest message of a snapshot against a baseline, in bytes; one that would be longer tells less.
pub(crate) const SNAPSHOT_BYTES_MAX: usize = 1_100;

const _: () = assert!(SNAPSHOT_BYTES_MAX <= DATAGRAM_MESSAGE_MAX, "a snapshot travels in one datagram");

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
    turns: Turns,
    /// Some client was told less than all.
    pub(crate) was_short: bool,
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
    /// Marks of the baseline's rows that stay as they were.
    pub(crate) stale: &'a [u8],
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
            turns: Turns::default(),
            was_short: false,
            shown: 0,
            encoded: 0,
        }
    }

    /// Saves the battle's state as the newest one. Called in every tick in which somebody takes snapshots.
    pub(crate) fn take<G: Game>(&mut self, battle: &Battle<G>) {
        battle.save(&mut self.saves[slot(battle.tick())]);
        self.newest = Some(battle.tick());
        self.full.clear();
        self.turns.begin();
    }

    /// What the client of a seat, or one that looks on, is told of the newest state in its view: against what it
    /// acknowledged, if that is kept, else against nothing. Where that would be too long for a datagram it is told less;
    /// nothing where too many want that and it is not its turn.
    ///
    /// # Panics
    /// If no state was taken.
    pub(crate) fn show<'a, G: Game>(
        &'a mut self,
        battle: &Battle<G>,
        seat: Option<Seat>,
        client: &'a mut Client,
        way: Way,
    ) -> Option<Shown<'a>> {
        let newest = self.newest.expect("a state was taken in this tick");
        let (world, registry) = (battle.world(), battle.world().registry());
        let rate = battle.spec().terms.rate;
        let Self { saves, base, full, views, privates, turns, shown, encoded, was_short, .. } = self;
        let view = (client.view != snapshot::VIEW_FULL).then(|| {
            let index = views.binary_search_by_key(&client.view, |known| known.number);
            let index = index.unwrap_or_else(|index| {
                views.insert(index, View::new(battle, client.view));
                index
            });
            let view = &mut views[index];
            view.look(battle, &saves[slot(newest)]);
            view
        });
        let kept = |tick: &Tick| {
            let (tick, save) = (*tick, &saves[slot(*tick)]);
            let saved = tick < newest && save.tick() == tick && !save.is_empty();
            saved && view.as_ref().is_none_or(|view| view.saw(tick))
        };
        let baseline = client.snapshot_acknowledged.filter(kept);
        let (now, seen, bodies) = match view {
            Some(View { now, seen, bodies, .. }) => (&*now, Some(&*seen), bodies),
            None => (&saves[slot(newest)], None, full),
        };
        let mut hash = now.hashes().state();
        let own =
            seat.filter(|_| seen.is_some()).and_then(|seat| Some((seat, privates.get_mut(seat.index())?)));
        let (private, own_hash) = match own {
            None => (&[][..], None),
            Some((seat, private)) => {
                let own_hash = private.encode(battle, G::puppet(world, seat), saves, baseline, base);
                (&private.body[..], own_hash)
            }
        };
        // No later snapshot makes up for what the last one leaves out.
        let bytes_max = if way == Way::Feed { SNAPSHOT_BYTES_MAX } else { MESSAGE_MAX };
        let bytes_max = bytes_max.saturating_sub(Snapshot::SHORT_BYTES + private.len());
        let shortage = &mut client.shortage;
        if let (Some(tick), Some(shortage)) = (baseline, shortage.as_mut()) {
            shortage.keep_from(tick);
        }
        // What this client alone has, if it was told of the baseline in a shortage.
        let alone = baseline.zip(shortage.as_mut()).and_then(|(tick, shortage)| shortage.take(tick));
        let mut shared = &[][..];
        let mut is_short = false;
        if alone.is_none() {
            shared = bodies.get(baseline, |bytes| {
                *encoded += 1;
                let base = baseline.map(|tick| select(registry, &saves[slot(tick)], seen, tick, base));
                snapshot::encode(registry, rate, now, base, bytes);
            });
            is_short = shared.len() > bytes_max && baseline.is_some();
        }
        let wants_its_own = way == Way::Feed && (alone.is_some() || is_short);
        let number = seat.map_or(client.connection.0, |seat| u64::from(seat.0));
        if wants_its_own && !turns.is_of(number, newest) {
            if let (Some(state), Some(shortage)) = (alone, shortage.as_mut()) {
                shortage.put_back(state);
            }
            return None;
        }
        if let (Some(state), Some(shortage)) = (&alone, shortage.as_mut()) {
            *encoded += 1;
            let telling = Telling { registry, rate, now, base: state, bytes_max };
            is_short = shortage.tell_all(telling) > bytes_max;
        }
        *shown += 1;
        let mut is_stale = false;
        if let (true, Some(tick)) = (is_short, baseline) {
            *was_short = true;
            let shortage = shortage.get_or_insert_default();
            let base = match &alone {
                Some(state) => state,
                None => select(registry, &saves[slot(tick)], seen, tick, base),
            };
            let telling = Telling { registry, rate, now, base, bytes_max };
            *encoded += 1;
            match shortage.tell::<G>(telling, world, seat) {
                Some(of_it) => (hash, is_stale) = (of_it, true),
                // Not even the own body fits: then the reliable lane carries it all.
                None => {
                    shortage.tell_all(telling);
                }
            }
        }
        let is_alone = alone.is_some() || is_stale;
        if let (Some(state), Some(shortage)) = (alone, shortage.as_mut()) {
            shortage.put_back(state);
        }
        let (stale, shared) = match shortage.as_deref() {
            Some(shortage) if is_alone => (shortage.stale(is_stale), shortage.body()),
            _ => (&[][..], shared),
        };
        Some(Shown { baseline, hash: view_hash(hash, own_hash), stale, shared, private })
    }
}

/// What was seen of a baseline; all of it in the full view.
fn select<'a>(
    registry: &Registry,
    save: &'a Save,
    seen: Option<&Vec<Seen>>,
    tick: Tick,
    into: &'a mut Save,
) -> &'a Save {
    let Some(seen) = seen else { return save };
    save.select(registry, &seen[slot(tick)], Audience::Everybody, into);
    into
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

use super::models::NumberModel;
use super::range::RangeWriter;
use super::*;
use crate::{ActorId, Hashes, Registry, Save, Tick, TickRate, World};

crate::record! {
    struct Place { at: glam::Vec2 => grid(4096), turns: [u16; 4] }
    struct Mood { value: i64, heat: f32, mark: u32 }
    struct Clock { left: u32 }
    struct Drift { by: glam::Vec2 => grid(4096) }
    struct At { by: glam::Vec2 => grid(4096) }
    struct Spin { rate: f32 => grid(64) }
    struct Angle { turned: f32 => grid(64) }
}
crate::kind! {
    struct Stone { place: Place }
    struct Beast { place: Place, mood: Mood }
    struct Bird { at: At, angle: Angle, mood: Mood, drift: Drift, spin: Spin }
}

struct Zoo;

impl crate::Game for Zoo {
    const NAME: &'static str = "zoo";
    type Input = Clock;
    type Event = Clock;
    type Setup = Clock;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Stone>().kind::<Beast>().singleton::<Clock>().kind::<Bird>();
        registry.moves::<Bird, At, Drift>().moves::<Bird, Angle, Spin>();
    }
    fn systems(_: &mut crate::Schedule<Self>) {}
    fn modes() -> Vec<crate::Mode<Clock>> {
        Vec::new()
    }
    fn spawn(_: &mut crate::Stage<'_, Self>) {}
    fn missing(last: &Clock, _: u16) -> Clock {
        *last
    }
    fn check(_: &Clock) -> bool {
        true
    }
    fn bot(_: &World, _: crate::Seat, _: &mut crate::rng::Rng) -> Clock {
        Clock::default()
    }
    fn outcome(_: &World, _: &crate::Terms) -> Option<crate::Outcome> {
        None
    }
}

/// Birds fly straight for a while, turn, bounce, stop, and are elsewhere at once.
fn fly(view: &crate::WorldMut<'_>, rng: &mut crate::rng::Rng) {
    let birds = view.rows::<Bird>();
    let (mut places, mut drifts) = (birds.write::<At>(), birds.write::<Drift>());
    let (mut angles, mut spins) = (birds.write::<Angle>(), birds.write::<Spin>());
    for row in 0..places.len() {
        let drift = &mut drifts[row].by;
        match rng.below(12) {
            0 => *drift = glam::vec2(rng.range(-9.0, 9.0), rng.range(-9.0, 9.0)),
            1 => *drift = glam::Vec2::from_angle(rng.range(-4.0, 4.0)).rotate(*drift),
            2 => drift.x = -drift.x,
            3 => *drift = glam::Vec2::ZERO,
            4 => places[row].by = glam::Vec2::splat(rng.range(-1e7, 1e7)),
            5 => *drift *= 1e5,
            6 => spins[row].rate = rng.range(-1e3, 1e3),
            _ => {}
        }
        places[row].by += *drift * RATE.seconds_per_tick();
        angles[row].turned += spins[row].rate * RATE.seconds_per_tick();
    }
}

/// Changes a world at random: moves, moods, births, deaths.
fn stir(world: &mut World, changes: &mut crate::Changes, rng: &mut crate::rng::Rng) {
    world.tick = world.tick.next();
    let view = crate::WorldMut::new(world);
    for row in view.rows::<Beast>().write::<Place>().iter_mut() {
        if rng.below(3) > 0 {
            row.at += glam::vec2(rng.range(-2.0, 2.0), rng.range(-2.0, 2.0));
            row.turns[rng.below(4) as usize] = rng.next_u32() as u16;
        }
    }
    for row in view.rows::<Beast>().write::<Mood>().iter_mut() {
        if rng.below(5) == 0 {
            *row = Mood { value: rng.next_u64() as i64, heat: rng.range(-1e30, 1e30), mark: 7 };
        }
    }
    fly(&view, rng);
    view.singleton_mut::<Clock>().left = rng.below(2) * rng.next_u32();
    for _ in 0..rng.below(4) {
        changes.spawn(ActorId::NONE, Stone::default());
        let drift = Drift { by: glam::vec2(rng.range(-9.0, 9.0), rng.range(-9.0, 9.0)) };
        changes.spawn(ActorId::NONE, Bird { drift, ..Bird::default() });
        changes
            .spawn(ActorId::NONE, Beast { mood: Mood { value: -1, heat: 0.5, mark: 1 }, ..Beast::default() });
    }
    for _ in 0..rng.below(4) {
        changes.despawn(ActorId(rng.below(world.next_actor)));
    }
    world.apply(changes);
    world.close(&mut Hashes::default());
}

const RATE: TickRate = TickRate::DEFAULT;

fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11)
}

#[test]
fn every_snapshot_equals_the_state_against_every_baseline() {
    let seed = seed();
    eprintln!("SEED={seed}");
    let mut rng = crate::rng::Rng::new(seed, 0, 0, 0);
    let mut world = World::new(Registry::of::<Zoo>().unwrap());
    let mut changes = crate::Changes::new(world.registry());
    let mut history: Vec<Save> = Vec::new();
    let (mut bytes, mut decoded) = (Vec::new(), Save::default());
    for _ in 0..200 {
        stir(&mut world, &mut changes, &mut rng);
        let (mut now, mut hashes) = (Save::default(), Hashes::default());
        world.close(&mut hashes);
        now.take(&world, &hashes);
        let baselines = history.iter().rev().take(8).map(Some).chain([None]);
        for baseline in baselines {
            bytes.clear();
            encode(world.registry(), RATE, &now, baseline, &mut bytes);
            decode(world.registry(), RATE, now.tick, baseline, &bytes, &mut decoded).unwrap();
            assert_eq!(decoded, now);
        }
        assert_eq!(decoded.hashes(), &hashes);
        history.push(now);
    }
}

/// The state with some of its rows alone, as a view that sees no more.
fn select(registry: &Registry, save: &Save, next_actor: u32, mut sees: impl FnMut(u32) -> bool) -> Save {
    let mut view = save.clone();
    view.next_actor = next_actor;
    view.counts.clear();
    view.bytes.clear();
    let mut columns = save.columns(registry);
    for kind in registry.kinds() {
        let mut seen: Vec<bool> = Vec::new();
        for (index, column) in columns.by_ref().take(kind.columns.len()).enumerate() {
            let rows = column.bytes.chunks_exact(column.entry.size);
            if index == 0 {
                seen.extend(rows.clone().map(|id| kind.singleton || sees(crate::save::id_of(id).0)));
            }
            rows.zip(&seen).filter(|(_, seen)| **seen).for_each(|(row, _)| view.bytes.extend_from_slice(row));
        }
        view.counts.push(seen.iter().filter(|seen| **seen).count() as u32);
    }
    drop(columns);
    view.rehash(registry);
    view
}

#[test]
fn rows_that_come_back_into_a_view_find_their_place() {
    let seed = seed();
    eprintln!("SEED={seed}");
    let mut rng = crate::rng::Rng::new(seed, 2, 0, 0);
    let mut world = World::new(Registry::of::<Zoo>().unwrap());
    let mut changes = crate::Changes::new(world.registry());
    let mut views: Vec<Save> = Vec::new();
    let (mut bytes, mut decoded, mut returned) = (Vec::new(), Save::default(), 0);
    for _ in 0..150 {
        stir(&mut world, &mut changes, &mut rng);
        let mut now = Save::default();
        now.take(&world, &Hashes::default());
        // What a view counts: all actors there were, or those that it saw.
        let counted = rng.below(2) == 0;
        let share = rng.below(5);
        let mut view = select(world.registry(), &now, now.next_actor, |_| rng.below(4) < share);
        if counted {
            let newest = view.columns(world.registry()).filter(|column| column.entry.record == "ActorId");
            let newest =
                newest.flat_map(|column| column.bytes.chunks_exact(4)).map(|id| crate::save::id_of(id).0);
            let before = views.iter().map(|view| view.next_actor).max();
            view.next_actor = newest.map(|id| id + 1).chain(before).max().unwrap_or(1);
            view.rehash(world.registry());
        }
        for baseline in views.iter().rev().take(6).map(Some).chain([None]) {
            bytes.clear();
            encode(world.registry(), RATE, &view, baseline, &mut bytes);
            decode(world.registry(), RATE, view.tick, baseline, &bytes, &mut decoded).unwrap();
            assert_eq!(decoded, view);
            returned += usize::from(baseline.is_some_and(|baseline| baseline.counts < view.counts));
        }
        views.push(view);
    }
    assert!(returned > 50, "{returned}");
}

/// No beasts, no other clock, no birds.
fn put_nothing(bits: &mut RangeWriter<'_>, counts: &mut NumberModel) {
    for kind in 0..3 {
        if kind != 1 {
            [0, 0].iter().for_each(|count| counts.put_count(bits, *count));
        }
        bits.put_bits(0, 1);
    }
}

#[test]
fn an_id_that_comes_twice_is_refused() {
    let mut world = World::new(Registry::of::<Zoo>().unwrap());
    let mut changes = crate::Changes::new(world.registry());
    for _ in 0..3 {
        changes.spawn(ActorId::NONE, Stone::default());
    }
    world.apply(&mut changes);
    let (mut base, mut decoded) = (Save::default(), Save::default());
    base.take(&world, &Hashes::default());
    let mut judge = |counter: u32, new: u32| {
        let (mut bytes, mut counts, mut gaps) = (Vec::new(), NumberModel::NEW, NumberModel::NEW);
        let mut bits = RangeWriter::new(&mut bytes);
        // How far the counter went on; none gone, one new, below the baseline's counter.
        [counter - 4, 0, 1].iter().for_each(|count| counts.put_count(&mut bits, *count));
        bits.put_bits(1, 1);
        gaps.put_count(&mut bits, new - 1);
        // The other rows are as they were, the new one is all 0; nothing else is there or differs.
        bits.put_bits(0, 1);
        bits.put(&mut range::Chance::EVEN.clone(), false);
        put_nothing(&mut bits, &mut counts);
        bits.finish();
        decode(world.registry(), RATE, Tick(9), Some(&base), &bytes, &mut decoded)
    };
    let refused = Err(SnapshotError::State(crate::SaveError::Ids { kind: "Stone" }));
    assert_eq!(judge(5, 4), Ok(()));
    assert_eq!(judge(4, 4), refused);
    for id in 1..=3 {
        assert_eq!(judge(5, id), refused, "{id}");
    }
}

#[test]
fn hostile_snapshots_are_refused_or_a_sound_state() {
    let seed = seed();
    eprintln!("SEED={seed}");
    let mut rng = crate::rng::Rng::new(seed, 1, 0, 0);
    let mut world = World::new(Registry::of::<Zoo>().unwrap());
    let mut changes = crate::Changes::new(world.registry());
    let (mut base, mut now) = (Save::default(), Save::default());
    for _ in 0..40 {
        stir(&mut world, &mut changes, &mut rng);
        base = std::mem::take(&mut now);
        now.take(&world, &Hashes::default());
    }
    let (mut bytes, mut decoded) = (Vec::new(), Save::default());
    encode(world.registry(), RATE, &now, Some(&base), &mut bytes);
    decode(world.registry(), RATE, Tick(9), Some(&base), &bytes, &mut decoded).unwrap();
    let whole = decoded.hashes().state();
    // A word may be missing where hardly anything was left to tell; then it is another state, as the hash shows.
    let mut other = 0;
    for cut in 0..bytes.len() {
        if decode(world.registry(), RATE, Tick(9), Some(&base), &bytes[..cut], &mut decoded).is_ok() {
            assert_eq!(cut % 4, 0);
            decoded.check(world.registry()).unwrap();
            assert_ne!(decoded.hashes().state(), whole);
            other += 1;
        }
    }
    assert!(other < 4, "{other} torn snapshots of {} bytes", bytes.len());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if decode(world.registry(), RATE, Tick(9), Some(&base), &flipped, &mut decoded).is_ok() {
            decoded.check(world.registry()).unwrap();
            decoded.put(&mut world);
        }
    }
    for _ in 0..2000 {
        let noise: Vec<u8> = (0..rng.below(300)).map(|_| rng.next_u32() as u8).collect();
        if decode(world.registry(), RATE, Tick(9), None, &noise, &mut decoded).is_ok() {
            decoded.put(&mut world);
        }
    }
}

#[test]
fn an_id_counter_beyond_all_ids_is_refused() {
    let world = World::new(Registry::of::<Zoo>().unwrap());
    let (mut base, mut decoded) = (Save::default(), Save::default());
    base.take(&world, &Hashes::default());
    let mut judge = |base: &Save, further: u32| {
        let (mut bytes, mut counts) = (Vec::new(), NumberModel::NEW);
        let mut bits = RangeWriter::new(&mut bytes);
        counts.put_count(&mut bits, further);
        [0, 0].iter().for_each(|count| counts.put_count(&mut bits, *count));
        bits.put_bits(0, 1);
        put_nothing(&mut bits, &mut counts);
        bits.finish();
        decode(world.registry(), RATE, Tick(9), Some(base), &bytes, &mut decoded)
    };
    assert_eq!(judge(&base, 0), Ok(()));
    assert_eq!(judge(&base, u32::MAX - 1), Ok(()));
    assert_eq!(judge(&base, u32::MAX), Err(SnapshotError::Rows));
    // No state of ours has this counter; one from outside is refused where it comes in.
    base.next_actor = 0;
    assert_eq!(judge(&base, 0), Err(SnapshotError::State(crate::SaveError::Counter)));
}

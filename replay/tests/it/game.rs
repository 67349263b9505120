//! A small game for these tests: puppets walk, throw flyers, and score. It panics on a stance it does not know,
//! as real games do on states that no tick of theirs would make.

use tiltyard_engine::{
    ActorId, Battle, BattleSpec, Command, Game, Mode, Outcome, Registry, Save, Schedule, Seat, Stage, Step,
    Terms, Tick, TickRecord, World, encode_keyframe, rng::Rng,
};
use tiltyard_replay::{Ended, Header, Settings, Writer};

tiltyard_engine::record! {
    pub(crate) struct Place { pub(crate) at: glam::Vec2 => grid(4096) }
    pub(crate) struct Body { pub(crate) seat: u32, pub(crate) stance: u32 }
    pub(crate) struct Flight { pub(crate) velocity: glam::Vec2 => grid(4096), pub(crate) left: u32 }
    pub(crate) struct Score { pub(crate) points: [u32; 2] }
    pub(crate) struct Say { pub(crate) walk: glam::Vec2, pub(crate) throw: u32 }
    pub(crate) struct Told { pub(crate) actor: u32 }
    pub(crate) struct Rules { pub(crate) speed: f32 }
}
tiltyard_engine::kind! {
    pub(crate) struct Puppet { pub(crate) place: Place, pub(crate) body: Body }
    pub(crate) struct Flyer { pub(crate) place: Place, pub(crate) flight: Flight }
}

/// How far a puppet comes by its stance.
const STRIDES: [f32; 3] = [1.0, 0.5, 0.25];

#[derive(Debug)]
pub(crate) struct Joust;

impl Game for Joust {
    const NAME: &'static str = "joust";
    type Input = Say;
    type Event = Told;
    type Setup = Rules;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Puppet>().kind::<Flyer>().singleton::<Score>();
    }

    fn systems(schedule: &mut Schedule<Self>) {
        schedule.add("walk", walk).add("fly", fly).add("act", act);
    }

    fn modes() -> Vec<Mode<Rules>> {
        vec![Mode { name: "joust", teams: 2, seats_per_team: 4, seconds: 600, setup: Rules { speed: 0.1 } }]
    }

    fn spawn(stage: &mut Stage<'_, Self>) {
        for seat in 0..stage.roster.len() as u32 {
            let at = glam::vec2(seat as f32, 0.0);
            stage.spawn(Puppet { place: Place { at }, body: Body { seat, stance: 0 } });
        }
    }

    fn missing(last: &Say, _: u16) -> Say {
        *last
    }

    fn check(_: &Say) -> bool {
        true
    }

    fn bot(_: &World, _: Seat, rng: &mut Rng) -> Say {
        let walk = glam::vec2(rng.range(-1.0, 1.0), rng.range(-1.0, 1.0));
        if rng.below(3) == 0 { Say { walk, throw: u32::from(rng.below(4) == 0) } } else { Say::default() }
    }

    fn outcome(_: &World, _: &Terms) -> Option<Outcome> {
        None
    }
}

fn walk(step: &mut Step<'_, Joust>) {
    let puppets = step.world.rows::<Puppet>();
    let (ids, mut places, mut bodies) = (puppets.ids(), puppets.write::<Place>(), puppets.write::<Body>());
    for ((id, place), body) in ids.iter().zip(places.iter_mut()).zip(bodies.iter_mut()) {
        let say = step.inputs[body.seat as usize].input;
        place.at += say.walk * step.setup.speed * STRIDES[body.stance as usize];
        if say.throw > 0 {
            body.stance = (body.stance + 1) % 3;
            let flight = Flight { velocity: say.walk, left: 20 };
            step.changes.spawn(*id, Flyer { place: *place, flight });
            step.events.tell(Told { actor: id.0 });
        }
    }
}

fn fly(step: &mut Step<'_, Joust>) {
    let flyers = step.world.rows::<Flyer>();
    let (ids, mut places, mut flights) = (flyers.ids(), flyers.write::<Place>(), flyers.write::<Flight>());
    for ((id, place), flight) in ids.iter().zip(places.iter_mut()).zip(flights.iter_mut()) {
        place.at += flight.velocity;
        flight.left -= 1;
        if flight.left == 0 {
            step.changes.despawn(*id);
            step.world.singleton_mut::<Score>().points[(id.0 % 2) as usize] += 1;
        }
    }
}

/// Moves the third puppet a little.
pub(crate) const NUDGE: u32 = 1;
/// Gives points out of nothing.
pub(crate) const GIFT: u32 = 2;
/// Makes a puppet stand as nobody can.
pub(crate) const TWIST: u32 = 3;
/// The puppet that is nudged.
pub(crate) const NUDGED: ActorId = ActorId(3);

fn act(step: &mut Step<'_, Joust>) {
    for command in step.commands {
        match command {
            Command::Act { value: NUDGE, .. } => step.world.rows::<Puppet>().write::<Place>()[2].at.y += 1.0,
            Command::Act { value: GIFT, .. } => step.world.singleton_mut::<Score>().points[1] += 7,
            Command::Act { value: TWIST, .. } => step.world.rows::<Puppet>().write::<Body>()[0].stance = 99,
            _ => {}
        }
    }
}

pub(crate) fn spec() -> BattleSpec<Joust> {
    BattleSpec::bots(&Joust::modes()[0], 77)
}

pub(crate) fn head(spec: &BattleSpec<Joust>) -> Header {
    let registry = Registry::of::<Joust>().expect("a right game");
    Header {
        rate_hz: spec.terms.rate.hz(),
        protocol_hash: registry.protocol_hash::<Joust>().0,
        game: Joust::NAME.to_owned(),
        mode: "joust".to_owned(),
        battle: 1,
        seed: spec.terms.seed,
        start_unix_ms: 0,
        part: 0,
        build: "test".to_owned(),
        seat_names: Vec::new(),
        spec: spec.encode(),
    }
}

/// What is changed between the battle and its recording.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lie {
    /// Hash of this tick, exclusive-or.
    pub(crate) hash: Option<(u32, u64)>,
    /// Record of this tick gets another input of a seat.
    pub(crate) input: Option<(u32, usize)>,
    /// Something happens in this tick that the record does not hold.
    pub(crate) hidden: Option<(u32, u32)>,
    /// Something happens in this tick, and the record says so.
    pub(crate) told: Option<(u32, u32)>,
    /// Something happened to the state in the keyframe of this tick, and there alone.
    pub(crate) keyframe: Option<(u32, u32)>,
    /// Parts of the hash every so many ticks; never if 0.
    pub(crate) parts_every: u32,
    /// The end's hash.
    pub(crate) end: bool,
    /// The end tells an outcome that the battle did not have.
    pub(crate) outcome: bool,
}

pub(crate) const KEYFRAME_TICKS: u32 = 100;

/// Plays a battle of scripted players and records it.
pub(crate) fn recorded(ticks: u32, lie: Lie) -> Vec<u8> {
    let spec = spec();
    let settings = Settings::new(1, spec.terms.rate.hz());
    let mut writer = Writer::start(Vec::new(), &head(&spec), settings).expect("a good sink");
    let mut battle = Battle::new(spec.clone()).expect("a right game");
    let mut previous = TickRecord::neutral(Tick::ZERO, spec.roster.len());
    let mut bytes = Vec::new();
    let mut other = Battle::new(spec).expect("a right game");
    let (mut before, mut after) = (Save::default(), Save::default());
    for tick in 1..=ticks {
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        battle.bot_record(&mut record);
        battle.save(&mut before);
        if let Some((at, value)) = lie.told
            && at == tick
        {
            record.commands.push(Command::Act { seat: Seat(0), value });
        }
        let mut made = record.clone();
        let happens = |lie: Option<(u32, u32)>| lie.filter(|(at, _)| *at == tick).map(|(_, value)| value);
        made.commands.extend(happens(lie.hidden).map(|value| Command::Act { seat: Seat(0), value }));
        let mut hash = battle.step(&made).0;
        // The recorded chain is consistent in itself: later records are differences to the changed one.
        let mut told = record.clone();
        if let Some((at, seat)) = lie.input
            && at == tick
        {
            told.inputs[seat].input.walk.x += 0.5;
        }
        bytes.clear();
        told.encode(&previous, &mut bytes);
        previous = told;
        if let Some((at, bits)) = lie.hash
            && at == tick
        {
            hash ^= bits;
        }
        writer.append(tick, &bytes, hash).expect("a good sink");
        if lie.parts_every > 0 && tick % lie.parts_every == 0 {
            writer.hash_parts(battle.hashes().parts()).expect("a good sink");
        }
        if tick % KEYFRAME_TICKS == 0 {
            battle.save(&mut after);
            if let Some(value) = happens(lie.keyframe) {
                other.restore(&before);
                made.commands.push(Command::Act { seat: Seat(0), value });
                other.step(&made);
                other.save(&mut after);
            }
            writer.keyframe(tick, &encode_keyframe(&after, &previous)).expect("a good sink");
        }
    }
    let last = battle.state_hash().0;
    let last = if lie.end { !last } else { last };
    let outcome = if lie.outcome { Outcome::default().to_bytes().to_vec() } else { Vec::new() };
    writer.finish(Ended::Finished, &outcome, last).expect("a good sink");
    writer.into_sink()
}

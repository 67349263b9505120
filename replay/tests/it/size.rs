//! How large a recording is.

use tiltyard_engine::skirmish::Skirmish;
use tiltyard_engine::{Battle, BattleSpec, Game, Registry, Save, TickRecord, encode_keyframe};
use tiltyard_replay::{Ended, Header, Settings, Writer};

const MINUTE: u32 = 60 * 30;
const KEYFRAME_TICKS: u32 = 10 * 30;

/// A minute of a scene or mode with scripted players: a hash every tick, a keyframe every ten seconds.
fn minute_of(name: &str) -> Vec<u8> {
    let mut modes = Skirmish::modes().into_iter().chain(Skirmish::scenes());
    let spec = BattleSpec::<Skirmish>::bots(&modes.find(|mode| mode.name == name).expect("it exists"), 1);
    let registry = Registry::of::<Skirmish>().expect("a right game");
    let header = Header {
        rate_hz: spec.terms.rate.hz(),
        protocol_hash: registry.protocol_hash::<Skirmish>().0,
        game: "joust".to_owned(),
        mode: String::new(),
        battle: 1,
        seed: spec.terms.seed,
        start_unix_ms: 0,
        part: 0,
        build: "test".to_owned(),
        seat_names: Vec::new(),
        spec: spec.encode(),
    };
    let settings = Settings::new(1, header.rate_hz);
    let mut writer = Writer::start(Vec::new(), &header, settings).expect("a good sink");
    let mut battle = Battle::new(spec).expect("a right game");
    let mut previous = TickRecord::neutral(battle.tick(), battle.spec().roster.len());
    let (mut bytes, mut save) = (Vec::new(), Save::default());
    for tick in 1..=MINUTE {
        let mut record = TickRecord::neutral(battle.tick(), 0);
        battle.bot_record(&mut record);
        let hash = battle.step(&record);
        bytes.clear();
        record.encode(&previous, &mut bytes);
        writer.append(tick, &bytes, hash.0).expect("a good sink");
        if tick.is_multiple_of(KEYFRAME_TICKS) {
            battle.save(&mut save);
            writer.keyframe(tick, &encode_keyframe(&save, &record)).expect("a good sink");
        }
        previous = record;
    }
    writer.finish(Ended::Abandoned, &[], battle.state_hash().0).expect("a good sink");
    writer.into_sink()
}

/// With every seat changing its movement and aim in every tick it was 1,705,100 bytes.
#[test]
fn a_minute_of_a_hundred_busy_players_takes_at_most_240_kilobytes() {
    for name in ["100x300", "war"] {
        let bytes = minute_of(name).len();
        assert!(bytes <= 240_000, "{name}: {bytes} bytes a minute");
    }
}

//! What a client without the engine needs: the game's layout and vectors of its bytes, as docs/PROTOCOL.md names them.
//! `VECTORS=write cargo test --test it foreign_client` writes them anew, after a change that was meant.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tiltyard::netsim::spec_for;
use tiltyard_engine::skirmish::{FIRE, Input, Skirmish};
use tiltyard_engine::{
    Battle, BattleSpec, Command, Compared, Game as _, Mixer, Outcome, Registry, Save, Seat, TickRecord,
    bytemuck, encode_keyframe, glam::Vec2, snapshot,
};
use tiltyard_netcode::Epoch;
use tiltyard_netcode::message::{End, Frame, InputReport, Keyframe, Snapshot, Start};

use crate::program::Program;

const TICKS: u32 = 40;
/// How many ticks the baseline of the snapshot is older.
const BEHIND: u32 = 4;

fn line(text: &mut String, name: &str, bytes: &[u8]) {
    write!(text, "{name} = ").expect("a string takes everything");
    bytes.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes everything"));
    text.push('\n');
}

/// Marks of every other row of the baseline that differs now; and of these actors' rows now, and of each new one's.
fn marks(registry: &Registry, baseline: &Save, now: &Save) -> (Vec<u8>, Vec<u8>) {
    let mark = |marks: &mut Vec<u8>, row: usize| marks[row / 8] |= 1 << (row % 8);
    let [mut stale, mut left_out] = [baseline, now].map(|save| vec![0; save.rows(registry).div_ceil(8)]);
    let (mut row, mut differing, mut actors) = (0, 0, Vec::new());
    baseline.compare_rows(registry, now, |actor, compared| {
        if compared == Compared::Differs {
            differing += 1;
            if differing % 2 == 0 {
                mark(&mut stale, row);
                actors.push(actor);
            }
        }
        row += 1;
    });
    row = 0;
    now.compare_rows(registry, baseline, |actor, compared| {
        if compared == Compared::Missing || actors.contains(&actor) {
            mark(&mut left_out, row);
        }
        row += 1;
    });
    (stale, left_out)
}

/// Bytes of a battle of skirmish for fixed inputs, those of its scripted players.
fn vectors() -> String {
    let mut text =
        String::from("# Bytes of a battle of skirmish, in hex; see docs/PROTOCOL.md, \"Test vectors\".\n");
    let spec: BattleSpec<Skirmish> = spec_for(2, 3000, 7);
    let seats = spec.roster.len();
    let report = InputReport { newest_tick: Some(TICKS + 2), lead_ms: 12 };
    let mut message = Vec::new();
    let input = Input::new(Vec2::new(1.0, -0.5), 1.5, FIRE);
    line(&mut text, "input_right_half_down_aim_1.5_fire", bytemuck::bytes_of(&input));
    line(&mut text, "spec", &spec.encode());
    Start { epoch: Epoch(1), tick: 0, rate_hz: 30, spec: &spec.encode() }.encode(&mut message);
    line(&mut text, "start_message", &message);

    let mut battle = Battle::new(spec).expect("skirmish starts");
    let mut newest = TickRecord::neutral(battle.tick(), seats);
    let (mut baseline, mut now) = (Save::default(), Save::default());
    let mut records: Vec<Vec<u8>> = Vec::new();
    for tick in 1..=TICKS {
        let mut record = TickRecord::neutral(battle.tick(), seats);
        battle.bot_record(&mut record);
        if tick == 2 {
            record.commands = vec![Command::Joined(Seat(0)), Command::Act { seat: Seat(1), value: 77 }];
        }
        let mut bytes = Vec::new();
        record.encode(&newest, &mut bytes);
        battle.step(&record);
        records.push(bytes);
        newest = record;
        if tick == TICKS - BEHIND {
            battle.save(&mut baseline);
            let state = encode_keyframe(&baseline, &newest);
            let state_hash = battle.state_hash().0;
            Keyframe { epoch: Epoch(1), tick, state_hash, inputs: &[], state: &state }.encode(&mut message);
            line(&mut text, "keyframe_message", &message);
            line(&mut text, "keyframe_columns", baseline.as_bytes());
        }
    }
    let state_hash = battle.state_hash().0;
    for (name, count) in [("frame_message_from_1", TICKS), ("frame_message_after_keyframe", BEHIND)] {
        let run = records[(TICKS - count) as usize..].iter().map(Vec::as_slice);
        Frame::encode(&mut message, Epoch(1), TICKS, state_hash, report, run);
        line(&mut text, name, &message);
    }
    let inputs: Vec<u8> =
        newest.inputs.iter().flat_map(|seat| bytemuck::bytes_of(&seat.input)).copied().collect();
    line(&mut text, "inputs_of_the_last_tick", &inputs);

    battle.save(&mut now);
    let (registry, rate) = (battle.world().registry(), battle.spec().terms.rate);
    let mut shared = Vec::new();
    let mut show = |text: &mut String, name, hash, now, base: Option<&Save>, stale: &[u8]| {
        shared.clear();
        snapshot::encode(registry, rate, now, base, &mut shared);
        let message_of = Snapshot {
            epoch: Epoch(1),
            tick: TICKS,
            baseline: base.map(|_| TICKS - BEHIND),
            view: 0,
            view_hash: hash,
            report,
            stale,
            shared: &shared,
            private: &[],
        };
        message_of.encode(&mut message);
        line(text, name, &message);
    };
    show(&mut text, "snapshot_message_whole", state_hash, &now, None, &[]);
    show(&mut text, "snapshot_message", state_hash, &now, Some(&baseline), &[]);
    line(&mut text, "snapshot_columns", now.as_bytes());

    let (stale, left_out) = marks(registry, &baseline, &now);
    let (mut mixer, [mut base, mut told, mut mixed]) = (Mixer::default(), <[Save; 3]>::default());
    let sound = "marks are made for their state";
    mixer.without(registry, &baseline, &stale, &mut base).expect(sound);
    mixer.without(registry, &now, &left_out, &mut told).expect(sound);
    mixer.with(registry, &told, &baseline, &stale, &mut mixed).expect(sound);
    show(&mut text, "snapshot_message_short", mixed.hashes().state().0, &told, Some(&base), &stale);
    line(&mut text, "snapshot_columns_short", mixed.as_bytes());
    let outcome = Outcome::by_score(&[3, 5]).to_bytes();
    End { epoch: Epoch(1), tick: TICKS, state_hash, outcome: &outcome }.encode(&mut message);
    line(&mut text, "end_message_team_1_won_5_to_3", &message);
    text
}

/// Holds a file to what it must say, or writes it when that is asked for.
fn hold(path: &str, now: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var("VECTORS").is_ok_and(|value| value == "write") {
        return fs::write(&path, now).expect("the file can be written");
    }
    let pinned = fs::read_to_string(&path).unwrap_or_default();
    let parted = now.lines().zip(pinned.lines()).find(|(now, pinned)| now != pinned);
    assert_eq!(parted, None, "{}", path.display());
    assert_eq!(now.lines().count(), pinned.lines().count(), "{}", path.display());
}

#[test]
fn skirmish_has_the_bytes_of_its_pinned_vectors() {
    hold("tests/data/skirmish.txt", &vectors());
}

#[test]
fn the_layout_is_the_pinned_one_and_the_one_that_the_program_prints() {
    let registry = Registry::of::<Skirmish>().expect("skirmish is sound");
    let hash = registry.protocol_hash::<Skirmish>();
    let layout = registry.layout::<Skirmish>();
    hold("clients/python/skirmish.layout", &format!("# protocol hash {hash}\n{layout}"));
    let (code, printed) = Program::new().json("layout");
    assert_eq!((code, printed["game"].as_str()), (0, Some(Skirmish::NAME)));
    assert_eq!(printed["layout"].as_str(), Some(layout.as_str()));
    assert_eq!(printed["protocol_hash"].as_str(), Some(hash.to_string().as_str()));
}

//! Every message comes back, every cut and every lie is refused.

use super::*;
use crate::Epoch;
use crate::link::{Random, seed_from_environment};

fn report() -> InputReport {
    InputReport { newest_tick: Some(77), lead_ms: -5 }
}

/// One message of each kind that a client gets, as bytes.
fn to_client() -> Vec<Vec<u8>> {
    let mut messages = vec![Vec::new(); 6];
    let records: [&[u8]; 3] = [b"one", b"", b"three"];
    Frame::encode(&mut messages[0], Epoch(2), 80, 9, report(), records.into_iter());
    let snapshot = Snapshot {
        epoch: Epoch(2),
        tick: 80,
        baseline: Some(76),
        view: 4,
        view_hash: 11,
        report: InputReport::default(),
        stale: &[],
        shared: b"shared body",
        private: b"mine",
    };
    snapshot.encode(&mut messages[1]);
    Snapshot { stale: b"rows", ..snapshot }.encode(&mut messages[5]);
    Start { epoch: Epoch(2), tick: 80, rate_hz: 30, spec: b"spec" }.encode(&mut messages[2]);
    let keyframe = Keyframe { epoch: Epoch(2), tick: 80, state_hash: 9, inputs: b"inputs", state: b"state" };
    keyframe.encode(&mut messages[3]);
    End { epoch: Epoch(2), tick: 80, state_hash: 9, outcome: b"blue" }.encode(&mut messages[4]);
    messages
}

fn to_server() -> Vec<Vec<u8>> {
    let mut messages = vec![Vec::new(); 3];
    let inputs: [&[u8]; 3] = [b"a", b"", b"ccc"];
    Inputs::encode(&mut messages[0], 6, Some(70), 82, inputs.into_iter());
    Ask::Frames { from_tick: 3 }.encode(&mut messages[1]);
    Desync { tick: 5, state_hash: 8 }.encode(&mut messages[2]);
    messages
}

#[test]
fn messages_to_the_client_come_back() {
    let bytes = to_client();
    let Ok(ToClient::Frame(frame)) = ToClient::parse(&bytes[0]) else { panic!() };
    assert_eq!((frame.epoch, frame.tick, frame.state_hash, frame.report), (Epoch(2), 80, 9, report()));
    let records: Vec<_> = frame.records().collect();
    assert_eq!(records, [(78, b"one".as_slice()), (79, b""), (80, b"three")]);
    let Ok(ToClient::Snapshot(snapshot)) = ToClient::parse(&bytes[1]) else { panic!() };
    assert_eq!((snapshot.baseline, snapshot.view, snapshot.view_hash), (Some(76), 4, 11));
    assert_eq!((snapshot.shared, snapshot.private), (b"shared body".as_slice(), b"mine".as_slice()));
    let Ok(ToClient::Start(start)) = ToClient::parse(&bytes[2]) else { panic!() };
    assert_eq!((start.rate_hz, start.spec), (30, b"spec".as_slice()));
    let Ok(ToClient::Keyframe(keyframe)) = ToClient::parse(&bytes[3]) else { panic!() };
    assert_eq!((keyframe.inputs, keyframe.state), (b"inputs".as_slice(), b"state".as_slice()));
    let Ok(ToClient::End(end)) = ToClient::parse(&bytes[4]) else { panic!() };
    assert_eq!((end.state_hash, end.outcome), (9, b"blue".as_slice()));
    assert!(bytes.iter().all(|bytes| ToClient::parse(bytes).unwrap().moment() == (Epoch(2), 80)));
}

#[test]
fn messages_to_the_server_come_back() {
    let bytes = to_server();
    let Ok(ToServer::Inputs(inputs)) = ToServer::parse(&bytes[0]) else { panic!() };
    assert_eq!((inputs.seat, inputs.acknowledged, inputs.newest_tick), (6, Some(70), 82));
    let run: Vec<_> = inputs.run().collect();
    assert_eq!(run, [(80, b"a".as_slice()), (81, b""), (82, b"ccc")]);
    assert_eq!(ToServer::parse(&bytes[1]), Ok(ToServer::Ask(Ask::Frames { from_tick: 3 })));
    assert_eq!(ToServer::parse(&bytes[2]), Ok(ToServer::Desync(Desync { tick: 5, state_hash: 8 })));
}

#[test]
fn a_run_that_would_begin_before_tick_zero_is_refused() {
    let mut bytes = Vec::new();
    let inputs: [&[u8]; 3] = [b"a", b"b", b"c"];
    Inputs::encode(&mut bytes, 6, None, 2, inputs.into_iter());
    assert!(ToServer::parse(&bytes).is_ok());
    Inputs::encode(&mut bytes, 6, None, 1, inputs.into_iter());
    assert_eq!(ToServer::parse(&bytes), Err(MessageError::Value { field: "newest tick" }));
}

#[test]
fn a_snapshot_against_itself_or_the_future_is_refused() {
    for (baseline, sound) in [(79, true), (80, false), (81, false)] {
        let mut bytes = to_client().swap_remove(1);
        bytes[10..14].copy_from_slice(&u32::to_le_bytes(baseline));
        assert_eq!(ToClient::parse(&bytes).is_ok(), sound, "{baseline}");
    }
}

#[test]
fn cut_and_extended_messages_are_refused_unless_their_tail_is_free() {
    for bytes in to_server() {
        for len in 0..bytes.len() {
            assert!(ToServer::parse(&bytes[..len]).is_err(), "{bytes:?} cut to {len}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(ToServer::parse(&longer), Err(MessageError::Long { left: 1 }));
    }
    let frame = &to_client()[0];
    for len in 0..frame.len() {
        assert_eq!(ToClient::parse(&frame[..len]), Err(MessageError::Short), "cut to {len}");
    }
    let longer = [frame.as_slice(), &[0]].concat();
    assert_eq!(ToClient::parse(&longer), Err(MessageError::Long { left: 1 }));
}

#[test]
fn b40_announced_lengths_beyond_the_bytes_are_refused_without_being_believed() {
    let mut snapshot = to_client().swap_remove(1);
    let at = 1 + 4 + 4 + 5 + 4 + 8 + 7;
    snapshot[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(ToClient::parse(&snapshot), Err(MessageError::Short));
    let mut inputs = to_server().swap_remove(0);
    inputs[12] = 33;
    assert_eq!(ToServer::parse(&inputs), Err(MessageError::Value { field: "count of inputs" }));
}

#[test]
fn random_bytes_never_panic_and_what_parses_is_walked_whole() {
    let seed = seed_from_environment(23);
    let mut random = Random::new(seed);
    let seeds = [to_client(), to_server()].concat();
    let mut parsed = 0;
    for _ in 0..200_000 {
        let mut bytes = seeds[random.below(seeds.len() as u64) as usize].clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next_u64() as u8;
        }
        bytes.truncate(random.below(bytes.len() as u64 + 20) as usize);
        if let Ok(ToServer::Inputs(inputs)) = ToServer::parse(&bytes) {
            parsed += 1;
            assert!(inputs.run().last().is_none_or(|(tick, _)| tick == inputs.newest_tick), "SEED={seed}");
        }
        if let Ok(ToClient::Frame(frame)) = ToClient::parse(&bytes) {
            parsed += 1;
            assert_eq!(frame.records().last().map(|(tick, _)| tick), Some(frame.tick), "SEED={seed}");
        }
    }
    assert!(parsed > 1_000, "SEED={seed}: only {parsed} parsed, the mutations are too wild to test anything");
}

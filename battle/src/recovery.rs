//! What a node that was killed left behind: battles without a result.
//!
//! A battle whose recording was closed had ended, and only its result did not reach the outbox: the recording's end
//! tells it. Every other one is over without an outcome, as nobody goes on with it. Either way its result waits in
//! the outbox from now on, and its players are free as soon as a lobby has stored it.

use std::fs::File;
use std::io;

use tiltyard_cluster::control::{BattleEnd, Settlement};
use tiltyard_cluster::{BattleId, Epoch, NodeId};
use tiltyard_engine::{Outcome, StateHash, Tick};
use tiltyard_replay::{Ended, Summary};
use tracing::{info, warn};

use crate::outbox::Outbox;
use crate::recording::RecorderHandle;
use crate::room::RoomEnd;

/// Gives every battle that was left running its result. Blocks; no battle may run yet.
///
/// # Errors
/// If the outbox cannot be read.
pub(crate) fn recover(outbox: &Outbox, recordings: &RecorderHandle, node: &NodeId) -> io::Result<()> {
    for (battle, epoch) in outbox.left_running()? {
        let path = recordings.path(battle.0, epoch.0);
        let summary = File::open(&path).ok().and_then(|file| Summary::read(file).ok());
        let summary = summary.filter(|summary| {
            let epochs = summary.epochs.unwrap_or((epoch.0, epoch.0));
            summary.header.battle == battle.0 && epochs == (epoch.0, epoch.0)
        });
        let result = match summary.as_ref().and_then(|summary| Some((summary, end(summary)?))) {
            Some((summary, end)) => {
                info!(%battle, ended = end.ended.name(), "result recovered from a closed recording");
                result(node, battle, epoch, &end, summary.recording_hash)
            }
            None => {
                let tick = summary.and_then(|summary| summary.tick_range).map_or(0, |(_, last)| last);
                warn!(%battle, tick, "a battle that ended with its node is aborted");
                result(node, battle, epoch, &RoomEnd { tick: Tick(tick), ..nothing_played() }, [0; 32])
            }
        };
        outbox.deposit(&result);
    }
    Ok(())
}

/// The end that a closed recording tells.
fn end(summary: &Summary) -> Option<RoomEnd> {
    let (ended, final_hash) = (summary.ended?, summary.final_hash?);
    let outcome = if summary.outcome.is_empty() { None } else { Some(Outcome::parse(&summary.outcome)?) };
    let tick = Tick(summary.tick_range.map_or(0, |(_, last)| last));
    summary.complete.then_some(RoomEnd { ended, outcome, tick, final_hash: StateHash(final_hash) })
}

/// The end of a battle of which nothing is known but that it is over.
pub(crate) fn nothing_played() -> RoomEnd {
    RoomEnd { ended: Ended::Aborted, outcome: None, tick: Tick(0), final_hash: StateHash(0) }
}

/// The result that a battle's end is; the hash is zeros where there is no whole recording.
pub(crate) fn result(
    node: &NodeId,
    battle: BattleId,
    epoch: Epoch,
    end: &RoomEnd,
    recording_hash: [u8; 32],
) -> Settlement {
    Settlement {
        battle,
        epoch,
        node: node.clone(),
        ticks: end.tick.0,
        winner: end.outcome.and_then(|outcome| outcome.winner).map(|team| team.0),
        scores: end.outcome.map(|outcome| outcome.scores.map(i64::from).to_vec()).unwrap_or_default(),
        final_hash: end.final_hash.0,
        recording_hash,
        ended: match end.ended {
            Ended::Finished => BattleEnd::Finished,
            Ended::Aborted => BattleEnd::Aborted,
            Ended::Abandoned => BattleEnd::Abandoned,
        },
    }
}

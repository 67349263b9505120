//! `tiltyard connect`: one test client with a battle token.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tiltyard_client::{BattleSession, Over, Pace, PlayerSettings, Report, SCRIPTS, may_hide, script};
use tiltyard_engine::{Game, Outcome};
use tiltyard_netcode::token::Role;
use tiltyard_netcode::{Feed, Transport};

use crate::bots::prediction_json;
use crate::exit::{Exit, Usage};
use crate::output::Output;
use crate::play;
use crate::program;
use crate::stop::run_until_done;
use crate::token;
use crate::wishes::{FeedName, LaneName, TransportName};

/// How long a node may take to answer before that is worth a word.
const LATE: Duration = Duration::from_secs(1);

/// Which battle, and how to play.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The token file
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// Who plays: bot, the game's scripted player, or idle, who only watches
    #[arg(long, value_name = "NAME", default_value = "bot", conflicts_with = "interactive")]
    script: String,
    /// Play by keyboard in this terminal; q or Esc leaves
    #[arg(long)]
    interactive: bool,
    /// Leave after so many seconds; without it the battle is played to its end
    #[arg(long, value_name = "S")]
    seconds: Option<u32>,
    /// The feed; mixed counts as snapshot, as there is one player only [default: snapshot; by keyboard frame, which
    /// tells events, where the game hides nothing]
    #[arg(long, value_enum)]
    feed: Option<FeedName>,
    /// How messages travel
    #[arg(long, value_enum, default_value_t)]
    lane: LaneName,
    /// What carries the packets
    #[arg(long, value_enum, default_value_t)]
    transport: TransportName,
}

impl ConnectArgs {
    /// Plays.
    pub(crate) fn run<G: Game>(&self, output: Output) -> anyhow::Result<Exit> {
        if self.interactive {
            play::ensure_playable::<G>(output)?;
        }
        let file = token::read(&self.token)?;
        let unknown = || Usage(format!("--script {}: the scripts are {}", self.script, SCRIPTS.join(", ")));
        let script = script::<G>(&self.script).ok_or_else(unknown)?;
        let feed = match self.feed {
            Some(FeedName::Frame) => Feed::Frame,
            Some(FeedName::Snapshot | FeedName::Mixed) => Feed::Snapshot,
            None if self.interactive && !may_hide::<G>() => Feed::Frame,
            None => Feed::Snapshot,
        };
        let pace = if self.interactive { Pace::Prompt } else { PlayerSettings::default().pace };
        let (lane, transport) = (self.lane.into(), self.transport.into());
        let settings = PlayerSettings {
            feed,
            pace,
            lane,
            transport,
            predicts: self.interactive,
            ..PlayerSettings::default()
        };
        let time = self.seconds.map(|seconds| Duration::from_secs(seconds.into()));
        let addresses: Vec<_> = file.addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(", ");
        let asked = addresses.clone();
        let report = run_until_done(|stop| async move {
            if self.interactive {
                return play::play::<G>(output, file, settings, time, &stop).await;
            }
            let session = BattleSession::<G>::connect(file, settings, script).await;
            let mut session = session.context("opening a socket")?;
            let ends = async {
                match time {
                    Some(time) => tokio::select! {
                        () = stop.asked() => {}
                        () = tokio::time::sleep(time) => {}
                    },
                    None => stop.asked().await,
                }
            };
            tokio::pin!(ends);
            tokio::select! {
                met = meet(&mut session, output, &asked) => met.context("the socket")?,
                () = &mut ends => session.leave(),
            }
            session.run(ends).await.context("the socket")
        })?;
        Ok(conclude(output, &report, pace, &addresses))
    }
}

/// Runs until a node has answered or the player gave up, and says so when that takes long.
async fn meet<G: Game>(session: &mut BattleSession<G>, output: Output, addresses: &str) -> io::Result<()> {
    let late = tokio::time::sleep(LATE);
    tokio::pin!(late);
    let mut said = false;
    while session.pilot().place().is_none() && !session.pilot().is_over() {
        tokio::select! {
            turn = session.turn() => turn?,
            () = &mut late, if !said => {
                said = true;
                output.note(format!("waiting for the node at {addresses}"));
            }
        }
    }
    Ok(())
}

fn conclude(output: Output, report: &Report, pace: Pace, addresses: &str) -> Exit {
    let hash = report.state_hash.map(|hash| hash.to_string());
    output.say(describe(report, pace, addresses));
    output.result(&json!({
        "joined": report.place.is_some(),
        "ticks": report.ticks,
        "newest_tick": report.newest_tick.map(|tick| tick.0),
        "refused": report.refused().map(|reason| reason.to_string()),
        "over": over(report.over),
        "transport": report.transport.map(Transport::name),
        "rtt_ms": report.rtt_ms,
        "state_hash": hash,
        "agrees": report.agrees,
        "desyncs": report.desyncs,
        "inputs": report.inputs,
        "input_to_state_ms": {
            "p50": report.input_to_state.quantile_ms(0.5),
            "p99": report.input_to_state.quantile_ms(0.99),
        },
        "lead_ticks": lead_ticks(pace),
        "prediction": prediction_json(report.prediction.as_ref()),
        "reconnects": report.reconnects,
    }));
    // Leaving a battle that one was in is no failure, by wish or by signal.
    let fine = matches!(report.over, Some(Over::Ended(_) | Over::Left)) && report.place.is_some();
    let in_step = report.desyncs == 0 && report.agrees != Some(false);
    if fine && in_step { Exit::Fine } else { Exit::Failed }
}

/// How it ended, in words.
fn over(over: Option<Over>) -> String {
    match over {
        Some(Over::Ended(ended)) if ended.outcome.is_none() => "the battle was aborted".to_owned(),
        Some(Over::Ended(_)) => "the battle ended".to_owned(),
        Some(Over::Refused(reason)) => format!("refused: {reason}"),
        Some(Over::Closed(reason)) => format!("the session ended: {reason}"),
        Some(Over::Unreadable) => "the battle is of another game or version".to_owned(),
        Some(Over::Left) => "left".to_owned(),
        None => "goes on".to_owned(),
    }
}

/// Who won, in words.
fn won(over: Option<Over>) -> String {
    let Some(Over::Ended(ended)) = over else { return String::new() };
    match ended.outcome {
        Some(Outcome { winner: Some(team), .. }) => format!(", team {} won", team.0),
        Some(_) => ", nobody won".to_owned(),
        None => String::new(),
    }
}

/// The same for one who never got in, with the way out. A bad token gets no answer, so it looks like no node at all.
fn outside(end: Option<Over>, addresses: &str) -> String {
    match end {
        Some(Over::Left) => "left before any node answered".to_owned(),
        Some(Over::Closed(_)) => format!(
            "{}\nno node answered at {addresses}. Likely the house is down or was started anew, \
             or neither UDP nor TCP gets through to it,\nor the token was altered or is another house's: a node does not \
             answer to a token that it cannot open.\n`{name} token check FILE` judges a token beside the house's \
             keys, `{name} token issue` gets a new one",
            over(end),
            name = program::name(),
        ),
        _ => over(end),
    }
}

/// How far ahead of its tick an input is decided, which is part of the time until its effect is seen.
fn lead_ticks(pace: Pace) -> u32 {
    match pace {
        Pace::Repeatable { lead_ticks } => lead_ticks,
        Pace::Prompt => 0,
    }
}

fn describe(report: &Report, pace: Pace, addresses: &str) -> String {
    let Some(place) = report.place else { return outside(report.over, addresses) };
    let tick = report.newest_tick.map_or(0, |tick| tick.0);
    let who = match place.role {
        Role::Spectator => "looking on".to_owned(),
        Role::Player | Role::Bot => format!("seat {} of team {}", place.seat, place.team),
    };
    let rtt = report.rtt_ms.map_or("unknown".to_owned(), |ms| format!("{ms} ms"));
    let carried = report.transport.map_or("nothing", Transport::name);
    let hash = report.state_hash.map_or("none".to_owned(), |hash| hash.to_string());
    let agrees = match report.agrees {
        Some(true) => ", which is the battle's own",
        Some(false) => ", WHICH IS NOT the battle's own",
        None => "",
    };
    let effect = match &report.input_to_state {
        times if times.count() == 0 => "not seen".to_owned(),
        times => {
            let [p50, p99] = [0.5, 0.99].map(|share| times.quantile_ms(share));
            let lead = lead_ticks(pace);
            format!(
                "{p50} ms, 99 of 100 within {p99} ms, in it the lead by which it was decided, {lead} ticks"
            )
        }
    };
    format!(
        "{who}: {}{}\nsaw {} states up to tick {tick}, sent {} inputs, round trip {rtt} over {carried}\n\
         from input to its effect {effect}\n\
         last state {hash}{agrees}; {} states differed",
        over(report.over),
        won(report.over),
        report.ticks,
        report.inputs,
        report.desyncs,
    )
}

#[cfg(test)]
mod tests {
    use tiltyard_netcode::{CloseReason, DenyReason};

    use super::*;

    #[test]
    fn whom_no_node_answers_learns_where_he_asked_and_why_that_may_be() {
        let report = Report { over: Some(Over::Closed(CloseReason::Unreachable)), ..Report::default() };
        let said = describe(&report, Pace::Prompt, "192.0.2.1:7");
        for part in ["no node answered at 192.0.2.1:7", "the house is down", "cannot open", "token issue"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let refused = Report { over: Some(Over::Refused(DenyReason::NotHere)), ..Report::default() };
        assert!(!describe(&refused, Pace::Prompt, "192.0.2.1:7").contains("no node answered"));
    }
}

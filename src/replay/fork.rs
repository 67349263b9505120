//! `replay fork`: goes on from a tick with other inputs.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;
use tiltyard_engine::{Battle, BattleSpec, Game, Outcome, Reason, Seat, SeatInput, TickRecord};
use tiltyard_replay::{Ended, ForkError, OnDamage, Reader, fork};

use super::cut::write_new;
use super::lines::{LINE_BYTES_MAX, Line, parse};
use super::open::open;
use crate::exit::{Exit, Usage};
use crate::output::Output;
use crate::text::hex;

/// The most lines of inputs that are read.
const LINES_MAX: usize = 1 << 20;

/// Where to fork, and how to go on.
#[derive(Clone, Debug, Args)]
pub(crate) struct ForkArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The last tick that stays as it was
    #[arg(long, value_name = "TICK")]
    at: u32,
    /// `bots`, or a file with lines as `replay dump --lines` writes them
    #[arg(long, value_name = "bots|FILE")]
    inputs: String,
    /// With `bots`: a seat that a scripted player takes over, may be given several times; without it all of them
    #[arg(long = "seat", value_name = "SEAT")]
    seats: Vec<u16>,
    /// The last tick; without it that of the recording. The battle ends earlier where it is decided
    #[arg(long, value_name = "TICK")]
    to: Option<u32>,
    /// Where the new recording goes; a file that is there already is left alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Who decides after the fork.
enum Inputs<I> {
    /// Scripted players of these seats.
    Bots(Vec<Seat>),
    /// Lines, in the order of their ticks, and what each seat does by the ones that were read.
    Lines { rest: std::vec::IntoIter<Line<I>>, next: Option<Line<I>>, held: Vec<Option<SeatInput<I>>> },
}

impl<I: tiltyard_engine::Record> Inputs<I> {
    fn decide<G: Game<Input = I>>(&mut self, battle: &Battle<G>, record: &mut TickRecord<I>) {
        match self {
            Self::Bots(seats) => {
                for seat in seats {
                    if let Some(input) = record.inputs.get_mut(usize::from(seat.0)) {
                        *input = SeatInput { input: battle.bot_input(*seat), reason: Reason::Bot };
                    }
                }
            }
            Self::Lines { rest, next, held } => {
                while let Some(line) = next.take_if(|line| line.tick <= record.tick.0) {
                    for (seat, said) in line.inputs {
                        if let Some(held) = held.get_mut(usize::from(seat.0)) {
                            *held = Some(said);
                        }
                    }
                    if let Some(commands) = line.commands.filter(|_| line.tick == record.tick.0) {
                        record.commands = commands;
                    }
                    *next = rest.next();
                }
                for (input, held) in record.inputs.iter_mut().zip(held) {
                    if let Some(held) = held {
                        *input = *held;
                    }
                }
            }
        }
    }
}

/// Forks. A tick, a seat or a line that does not fit the battle is a wrong question.
pub(super) fn run<G: Game>(output: Output, args: &ForkArgs) -> anyhow::Result<Exit> {
    let path = args.file.display().to_string();
    let reader =
        Reader::open(BufReader::new(open(&args.file)?), OnDamage::Stop).with_context(|| path.clone())?;
    let spec = BattleSpec::<G>::decode(&reader.header().spec).with_context(|| path.clone())?;
    let to = match args.to {
        Some(to) if to < args.at => {
            return Err(Usage(format!("--to {to} lies before --at {}", args.at)).into());
        }
        Some(to) => to,
        None => {
            tiltyard_replay::Recording::open(open(&args.file)?).with_context(|| path.clone())?.last_tick()
        }
    };
    let mut inputs = read_inputs::<G>(args, spec.roster.len())?;
    let source = open(&args.file)?;
    let bar = output.progress("forking", to.saturating_sub(args.at).into());
    let made = write_new(&args.out, |sink| {
        let decide = |battle: &Battle<G>, record: &mut TickRecord<G::Input>| {
            bar.inc(1);
            inputs.decide(battle, record);
        };
        fork::<G, _>(source, (args.at, to), crate::BUILD, sink, decide).map_err(|error| match error {
            error @ ForkError::Range { .. } => Usage(format!("{path}: {error}")).into(),
            error => anyhow::Error::new(error).context(path.clone()),
        })
    });
    bar.finish_and_clear();
    let made = made?;
    let (out, sealed) = (args.out.display(), made.sealed);
    let how = if made.ended == Ended::Finished { "the battle is decided there" } else { "undecided" };
    output.say(format!("{out}: ticks up to {}, forked after tick {}; {how}", sealed.last_tick, args.at));
    output.result(&json!({
        "path": path,
        "out": out.to_string(),
        "at": args.at,
        "last_tick": sealed.last_tick,
        "ended": made.ended.name(),
        "outcome": outcome_of(&args.out)?.as_ref().map(super::info::outcome_to_json),
        "final_hash": hex(&sealed.final_hash.to_be_bytes()),
        "recording_hash": hex(&sealed.recording_hash),
    }));
    Ok(Exit::Fine)
}

fn outcome_of(path: &Path) -> anyhow::Result<Option<Outcome>> {
    let recording = tiltyard_replay::Recording::open(open(path)?)?;
    Ok(recording.ending().and_then(|ending| Outcome::parse(&ending.outcome)))
}

fn read_inputs<G: Game>(args: &ForkArgs, seats: usize) -> anyhow::Result<Inputs<G::Input>> {
    if args.inputs == "bots" {
        if let Some(seat) = args.seats.iter().find(|seat| usize::from(**seat) >= seats) {
            return Err(Usage(format!("--seat {seat}: the battle has seats 0 to {}", seats - 1)).into());
        }
        let all = || (0..seats).filter_map(|seat| u16::try_from(seat).ok()).collect();
        let chosen: Vec<u16> = if args.seats.is_empty() { all() } else { args.seats.clone() };
        return Ok(Inputs::Bots(chosen.into_iter().map(Seat).collect()));
    }
    if !args.seats.is_empty() {
        return Err(Usage("--seat goes with --inputs bots; a file names its seats itself".to_owned()).into());
    }
    let file = open(Path::new(&args.inputs))?;
    let lines = read_lines::<G>(BufReader::new(file), args.at, seats)
        .map_err(|error| Usage(format!("{}: {error:#}", args.inputs)))?;
    let mut rest = lines.into_iter();
    let next = rest.next();
    Ok(Inputs::Lines { rest, next, held: vec![None; seats] })
}

/// Reads the lines of ticks after `at`; those before it were played already.
fn read_lines<G: Game>(
    mut source: BufReader<File>,
    at: u32,
    seats: usize,
) -> anyhow::Result<Vec<Line<G::Input>>> {
    let (mut lines, mut text, mut newest) = (Vec::new(), String::new(), 0);
    for number in 1.. {
        text.clear();
        let mut bounded = source.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        let read = bounded.read_line(&mut text).with_context(|| format!("line {number}"))?;
        if read == 0 {
            break;
        }
        ensure!(read <= LINE_BYTES_MAX, "line {number} is longer than {LINE_BYTES_MAX} bytes");
        ensure!(number <= LINES_MAX, "more than {LINES_MAX} lines");
        if text.trim().is_empty() {
            continue;
        }
        let line = parse::<G>(&text, seats).with_context(|| format!("line {number}"))?;
        ensure!(line.tick > newest, "line {number}: tick {} after tick {newest}", line.tick);
        newest = line.tick;
        if line.tick > at {
            lines.push(line);
        }
    }
    Ok(lines)
}

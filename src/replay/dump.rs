//! `replay dump`: every tick of a recording, as text or as lines of JSON.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tiltyard_engine::{Game, TickRecord};
use tiltyard_replay::Player;

use super::cut::write_new;
use super::lines::{commands_to_json, inputs_to_json, record_to_json};
use super::open::open;
use super::seek::ensure_within;
use crate::exit::{Exit, Usage};
use crate::output::{Output, Reader};
use crate::text::hex;

/// What to write, and where.
#[derive(Clone, Debug, Args)]
pub(crate) struct DumpArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The first tick
    #[arg(long, value_name = "TICK", default_value_t = 1)]
    from: u32,
    /// The last tick; without it all there is
    #[arg(long, value_name = "TICK")]
    to: Option<u32>,
    /// A line of JSON a tick, instead of text
    #[arg(long)]
    lines: bool,
    /// Write to this new file instead of the standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes the ticks. A state that is not the recorded one is marked, and has exit code 1.
pub(super) fn run<G: Game>(output: Output, args: &DumpArgs) -> anyhow::Result<Exit> {
    let path = args.file.display().to_string();
    let mut player = Player::<G, _>::open(open(&args.file)?).with_context(|| path.clone())?;
    let to = args.to.unwrap_or(player.last_tick());
    ensure_within(&args.file, args.from.max(to), player.last_tick())?;
    if args.from == 0 || args.from > to {
        return Err(Usage(format!("no tick lies between {} and {to}; the first one is 1", args.from)).into());
    }
    player.seek(args.from - 1).with_context(|| path.clone())?;
    let found = match (&args.out, output.reader()) {
        (Some(out), _) => {
            write_new(out, |mut sink| Ok((dump(&mut player, to, args.lines, &mut sink)?, sink)))?
        }
        (None, Reader::Person) => {
            dump(&mut player, to, args.lines, &mut BufWriter::new(std::io::stdout().lock()))?
        }
        (None, Reader::Script) => {
            dump(&mut player, to, args.lines, &mut BufWriter::new(std::io::stderr().lock()))?
        }
    };
    output.result(&json!({
        "path": path,
        "from": args.from,
        "to": player.tick(),
        "ticks": found.ticks,
        "first_divergence": found.first_divergence.map(|tick| json!({ "tick": tick })),
        "out": args.out.as_ref().map(|out| out.display().to_string()),
    }));
    Ok(if found.first_divergence.is_none() { Exit::Fine } else { Exit::Failed })
}

struct Dumped {
    ticks: u32,
    first_divergence: Option<u32>,
}

fn dump<G: Game>(
    player: &mut Player<G, std::fs::File>,
    to: u32,
    lines: bool,
    sink: &mut impl Write,
) -> anyhow::Result<Dumped> {
    let mut found = Dumped { ticks: 0, first_divergence: None };
    let mut before: Option<TickRecord<G::Input>> = None;
    while player.tick() < to {
        let Some(hash) = player.step()? else { break };
        let (tick, record) = (player.tick(), player.record());
        let recorded = player.recorded_hash().unwrap_or(hash);
        if recorded != hash {
            found.first_divergence.get_or_insert(tick);
        }
        found.ticks += 1;
        let mut line = json!({
            "tick": tick,
            "hash": hex(&recorded.0.to_be_bytes()),
            "inputs": inputs_to_json(record, before.as_ref()),
            "commands": commands_to_json(&record.commands),
            "events": player.battle().events().iter().map(record_to_json).collect::<Vec<_>>(),
        });
        if recorded != hash {
            line["computed_hash"] = hex(&hash.0.to_be_bytes()).into();
        }
        let text = if lines { line.to_string() } else { describe(&line) };
        if let Err(error) = writeln!(sink, "{text}") {
            // A reader that has hung up (a closed pipe) has enough.
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return Ok(found);
            }
            return Err(error).context("writing the ticks");
        }
        before = Some(record.clone());
    }
    match sink.flush() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("writing the ticks")
        }
        _ => Ok(found),
    }
}

/// The same for people: the tick, and below it what happened.
fn describe(line: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = |value: &Value| {
        let fields = value.as_object().into_iter().flatten();
        let fields = fields.filter(|(name, _)| !["seat", "reason"].contains(&name.as_str()));
        fields.map(|(name, value)| format!("{name} {}", word(value))).collect::<Vec<_>>().join(", ")
    };
    let list = |key: &str| line[key].as_array().cloned().unwrap_or_default();
    let mut text = format!("tick {}  {}", line["tick"], word(&line["hash"]));
    if let Some(computed) = line["computed_hash"].as_str() {
        text.push_str(&format!("  COMPUTED {computed}"));
    }
    for input in list("inputs") {
        text.push_str(&format!("\n  seat {} {}: {}", input["seat"], word(&input["reason"]), fields(&input)));
    }
    for command in list("commands") {
        text.push_str(&format!("\n  command {}", fields(&command)));
    }
    for event in list("events") {
        text.push_str(&format!("\n  event {}", fields(&event)));
    }
    text
}

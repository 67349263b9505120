//! `replay diff`: where two recordings part.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};
use tiltyard_engine::{ActorId, Divergence, Game};
use tiltyard_replay::{Comparison, Difference, Parting, Side, diff};

use super::open::open;
use crate::exit::Exit;
use crate::output::Output;
use crate::text::hex;

/// Which recordings.
#[derive(Clone, Debug, Args)]
pub(crate) struct DiffArgs {
    /// The recording on the left
    #[arg(value_name = "A")]
    left: PathBuf,
    /// The recording on the right
    #[arg(value_name = "B")]
    right: PathBuf,
}

/// Compares them. What differs, or cannot be played on, has exit code 1.
pub(super) fn run<G: Game>(output: Output, args: &DiffArgs) -> anyhow::Result<Exit> {
    let path = |side| if side == Side::Left { &args.left } else { &args.right };
    let bar = output.progress("comparing", 0);
    let compared = diff::<G>(open(&args.left)?, open(&args.right)?, |_| bar.inc(1));
    bar.finish_and_clear();
    let found = compared.map_err(|stopped| anyhow!("{}: {}", path(stopped.side).display(), stopped.error))?;
    for difference in &found.head {
        let also = if difference.decides { "" } else { " (the battle does not follow from it)" };
        output.say(format!("{}: {} against {}{also}", difference.what, difference.left, difference.right));
    }
    if let Some(stopped) = &found.stopped {
        output.say(format!("{}: {}", path(stopped.side).display(), stopped.error));
    }
    output.say(describe(&found));
    let (left, right) =
        (side_to_json(&args.left, found.last_ticks.0), side_to_json(&args.right, found.last_ticks.1));
    output.result(&json!({
        "left": left,
        "right": right,
        "equal": found.is_equal(),
        "compared": found.compared.map(|(first, last)| [first, last]),
        "head": found.head.iter().map(|difference| json!({
            "what": difference.what,
            "left": difference.left,
            "right": difference.right,
            "decides": difference.decides,
        })).collect::<Vec<_>>(),
        "first_divergence": found.first.as_ref().map(difference_to_json),
        "error": found.stopped.as_ref().map(|stopped| {
            format!("{}: {}", path(stopped.side).display(), stopped.error)
        }),
    }));
    Ok(if found.is_equal() { Exit::Fine } else { Exit::Failed })
}

/// An address and both values, as every command tells them.
pub(super) fn address_to_json(address: &Divergence) -> Value {
    json!({
        "tick": address.tick.0,
        "component": format!("{}.{}", address.kind, address.component),
        "actor": (address.actor != ActorId::NONE).then_some(address.actor.0),
        "field": address.field,
        "left": address.left,
        "right": address.right,
    })
}

fn side_to_json(path: &Path, last_tick: u32) -> Value {
    json!({ "path": path.display().to_string(), "last_tick": last_tick })
}

/// The cause where one is known, with the state that came of it beside it.
fn difference_to_json(first: &Difference) -> Value {
    let state = first.address.as_ref().map(address_to_json);
    let (cause, address) = match &first.parting {
        Parting::Record(record) => ("record", address_to_json(record)),
        Parting::State => ("state", state.clone().unwrap_or(json!({}))),
        Parting::End(what, left, right) => ("end", json!({ "field": what, "left": left, "right": right })),
    };
    let component = address["component"].as_str().or(first.parts.first().map(String::as_str));
    let hash = |hash: Option<u64>| hash.map(|hash| hex(&hash.to_be_bytes()));
    json!({
        "tick": first.tick,
        "cause": cause,
        "component": component,
        "actor": address["actor"],
        "field": address["field"],
        "left": address["left"],
        "right": address["right"],
        "left_hash": hash(first.hashes.0),
        "right_hash": hash(first.hashes.1),
        "state": state,
        "agrees_at": first.agrees_at,
        "parts": first.parts,
        "parts_tick": first.parts_tick,
    })
}

fn describe(found: &Comparison) -> String {
    let Some((from, to)) = found.compared else { return "the two have no tick in common".to_owned() };
    let Some(first) = &found.first else {
        let rest = match found.last_ticks {
            (left, right) if left == right => String::new(),
            (left, right) => format!("; the left one ends at tick {left}, the right one at tick {right}"),
        };
        return format!("no difference from tick {from} to tick {to}{rest}");
    };
    let mut text = match &first.parting {
        Parting::Record(Divergence { component, field, left, right, .. }) => {
            format!("the records part in tick {}: {component} {field}: {left} against {right}", first.tick)
        }
        Parting::State => format!("the states part in tick {}", first.tick),
        Parting::End(what, left, right) => format!("the ends part: {what} {left} against {right}"),
    };
    if let (Some(left), Some(right)) = first.hashes {
        text.push_str(&format!("\nhash {left:016x} against {right:016x}"));
    }
    if let (Some(tick), false) = (first.parts_tick, first.parts.is_empty()) {
        text.push_str(&format!("\nat tick {tick} these differ: {}", first.parts.join(", ")));
    }
    if let Some(address) = &first.address {
        text.push_str(&format!("\nstate: {address}"));
    }
    if let Some(tick) = first.agrees_at {
        text.push_str(&format!("\nthe states agree at tick {tick}: the hash alone was changed"));
    }
    text
}

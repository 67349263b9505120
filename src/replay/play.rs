//! `replay play`: a recorded battle to look at, in a terminal or as frames of text.

use std::path::PathBuf;

use clap::Args;
use tiltyard_engine::Game;

use super::watch::{ViewArgs, Watch};
use crate::exit::{Exit, Usage};
use crate::output::Output;
use crate::stop::run_until_done;

/// Which recording, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlayArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Begin at this tick
    #[arg(long, value_name = "T", conflicts_with = "ticks")]
    from: Option<u32>,
    /// Print these ticks as text, first and last included; either may be left out
    #[arg(long, value_name = "A..B", value_parser = ticks)]
    ticks: Option<(u32, u32)>,
    #[command(flatten)]
    view: ViewArgs,
}

fn ticks(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str, open: u32| if text.is_empty() { Ok(open) } else { text.parse() };
    let parsed = text.split_once("..").map(|(first, last)| (number(first, 0), number(last, u32::MAX)));
    match parsed {
        Some((Ok(first), Ok(last))) if first <= last => Ok((first, last)),
        _ => Err("such as 100..200, 100.. or ..200".to_owned()),
    }
}

impl PlayArgs {
    /// Runs the subcommand.
    pub(super) fn run<G: Game>(&self, output: Output) -> anyhow::Result<Exit> {
        let mut watch = Watch::<G>::open(output, &self.file, &self.view)?;
        let (first, last) = (watch.deck.first, watch.deck.last);
        let (from, to) = self.ticks.unwrap_or((self.from.unwrap_or(first), u32::MAX));
        if from > last || to < first {
            let text = format!("{}: the recording has the ticks {first} to {last}", self.file.display());
            return Err(Usage(text).into());
        }
        let text = self.ticks.is_some() || self.view.is_text(output);
        run_until_done(|stop| async move {
            if text {
                watch.print(from, to, &stop)?;
            } else {
                watch.deck.go(from);
                watch.in_terminal(None, &stop).await?;
            }
            Ok(watch.conclude())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ticks_may_be_open() {
        assert_eq!(ticks("3..9"), Ok((3, 9)));
        assert_eq!(ticks("3.."), Ok((3, u32::MAX)));
        assert_eq!(ticks("..9"), Ok((0, 9)));
        for wrong in ["", "3", "9..3", "a..b", "-1..3", "3...9", "3..4294967296"] {
            assert!(ticks(wrong).is_err(), "{wrong}");
        }
    }
}

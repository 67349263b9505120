//! `tiltyard config`: shows the configuration and judges it.

use clap::Subcommand;
use serde_json::json;

use super::{Loaded, Problem, Problems};
use crate::exit::Exit;
use crate::output::Output;

/// What to do with the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Write the configuration as a commented file, each value that is set with where it came from
    #[command(after_help = "Examples:
  tiltyard config print
  tiltyard --set battle.rate_hz=60 config print
  tiltyard --json config print")]
    Print,
    /// Judge the configuration: every mistake with its file, line and column
    #[command(after_help = "Examples:
  tiltyard config check
  tiltyard --config tiltyard.toml --json config check")]
    Check,
}

impl ConfigCommand {
    /// Runs the subcommand on what was read.
    pub(crate) fn run(self, output: Output, loaded: Result<Loaded, Problems>) -> Exit {
        match (self, loaded) {
            (Self::Print, Ok(loaded)) => {
                output.say(loaded.to_toml().trim_end());
                output.result(&json!({ "valid": true, "problems": [], "settings": loaded.to_json() }));
                Exit::Fine
            }
            (Self::Check, Ok(loaded)) => {
                match &loaded.file {
                    Some(file) => output.say(format!("the configuration is valid ({})", file.display())),
                    None => output.say("the configuration is valid (no file, defaults)"),
                }
                output.result(&json!({ "valid": true, "problems": [] }));
                Exit::Fine
            }
            (_, Err(problems)) => {
                output.note(problems.to_string());
                let problems: Vec<_> = problems.0.iter().map(Problem::to_json).collect();
                output.result(&json!({ "valid": false, "problems": problems }));
                Exit::Usage
            }
        }
    }
}

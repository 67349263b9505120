//! `tiltyard config`: shows the configuration and judges it.

use clap::Subcommand;
use serde_json::json;

use super::live::SetArgs;
use super::{Flag, Loaded, Problem, Problems};
use crate::exit::Exit;
use crate::output::Output;

/// What to do with the configuration.
#[derive(Clone, Debug, Subcommand)]
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
    /// Set a setting for all processes of a running cluster, over what each is configured with
    #[command(after_help = "Examples:
  tiltyard config set battle.battles_max 50 --etcd http://127.0.0.1:2379
  tiltyard config set gate.logins_per_minute_max 300
  tiltyard config set gate.logins_per_minute_max

Live are battle.battles_max and of gate: messages_per_second_max, logins_per_minute_max, tickets_per_minute_max,
fresh_battles_per_minute_max, fresh_battles_max. Every other setting needs a restart.")]
    Set(SetArgs),
}

impl ConfigCommand {
    /// The settings that its flags override.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        match self {
            Self::Print | Self::Check => Vec::new(),
            Self::Set(set) => set.flags(),
        }
    }

    /// Runs the subcommand on what was read.
    pub(crate) fn run(self, output: Output, loaded: Result<Loaded, Problems>) -> anyhow::Result<Exit> {
        let exit = match (self, loaded) {
            (Self::Set(set), Ok(loaded)) => return set.run(output, &loaded.config),
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
        };
        Ok(exit)
    }
}

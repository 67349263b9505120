//! `tiltyard keys`: makes and rotates the keys of a cluster.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::{Config, Flag};
use crate::exit::Exit;
use crate::output::Output;
use crate::time::now_unix_ms;

/// What to do with the keys.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a cluster's first keys; existing ones are left alone
    #[command(after_help = "Examples:
  tiltyard keys new
  tiltyard keys new --file /etc/tiltyard/keys.toml")]
    New(KeysFile),
    /// Give the cluster a new master key; tokens of the last one stay good until they expire
    #[command(after_help = "Examples:
  tiltyard keys rotate
  tiltyard --json keys rotate --file /etc/tiltyard/keys.toml")]
    Rotate(KeysFile),
}

/// Which file.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeysFile {
    /// The keys file, instead of the configuration's keys.file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl KeysCommand {
    /// The settings that its flags override.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let (Self::New(KeysFile { file }) | Self::Rotate(KeysFile { file })) = self;
        file.iter().map(|file| Flag::new("--file", "keys.file", file.to_string_lossy())).collect()
    }

    /// Runs the subcommand. Only key numbers and paths are shown.
    pub(crate) fn run(&self, output: Output, config: &Config) -> anyhow::Result<Exit> {
        let path = config.keys_file();
        let now_unix_ms = now_unix_ms()?;
        let shown = path.display().to_string();
        let keys = match self {
            Self::New(_) => {
                let copy = config.cluster.secret_file.0.path();
                let keys = super::create(&path, copy, now_unix_ms).context("making keys")?;
                output.say(format!(
                    "made key {} in {shown}; keep the file secret and keep a copy",
                    keys.current.kid
                ));
                keys
            }
            Self::Rotate(_) => {
                let keys = super::rotate(&path, now_unix_ms).context("rotating keys")?;
                output.say(format!("made key {} in {shown}", keys.current.kid));
                warn_of_early_rotation(output, config, &keys, now_unix_ms);
                keys
            }
        };
        let previous = keys.previous.map(|previous| previous.kid);
        output.result(&json!({ "kid": keys.current.kid, "previous_kid": previous, "file": shown }));
        Ok(Exit::Fine)
    }
}

/// Two rotations within a token's life make tokens worthless that players still hold.
fn warn_of_early_rotation(output: Output, config: &Config, keys: &super::ClusterKeys, now_unix_ms: u64) {
    let Some(previous) = &keys.previous else { return };
    let expiry_ms = u64::from(config.token.expiry_seconds) * 1_000;
    let age_ms = now_unix_ms.saturating_sub(previous.made_unix_ms);
    if previous.kid > 1 && age_ms < expiry_ms {
        output.note(format!(
            "warning: key {} was in use for {} s only; unused tokens of the key before it are refused from now on",
            previous.kid,
            age_ms / 1_000,
        ));
    }
}

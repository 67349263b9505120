//! `replay audit`: whether a recording is what its node signed, whole, and what the rules make of it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tiltyard_battle::SEAL_EXTENSION;
use tiltyard_engine::{Game, Outcome};
use tiltyard_replay::{OnDamage, Recording, SEAL_BYTES_MAX, Signer, Statement, Verdict};

use super::open::open;
use super::verify::{Checked, verify_file};
use super::{info, recordings};
use crate::config::Config;
use crate::exit::{Exit, Usage};
use crate::output::{Output, Table};
use crate::text::hex;

/// Which recordings, and whose.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditArgs {
    /// Recordings, or folders with recordings; each has its seal beside it
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// The public key of the nodes, 64 hexadecimal digits; without it that of the cluster's keys file
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Audits. One that is not what was signed has exit code 1.
pub(super) fn run<G: Game>(output: Output, config: &Config, args: &AuditArgs) -> anyhow::Result<Exit> {
    let public_key = match &args.key {
        Some(text) => {
            parse_key(text).ok_or(Usage(format!("--key {text}: a key has 64 hexadecimal digits")))?
        }
        None => {
            let secret = crate::keys::cluster_secret(config).context("no --key, and no keys")?;
            Signer::from_secret(secret.as_bytes()).public_key()
        }
    };
    let files = recordings(&args.paths)?;
    let bar = output.progress("auditing", files.len() as u64);
    let mut table = Table::new(["recording", "signature", "same file", "computed again"]);
    let (mut objects, mut sound) = (Vec::new(), true);
    for path in &files {
        let audited = Audited::of::<G>(path, &public_key);
        sound &= audited.is_sound();
        let word = |held: bool| if held { "holds" } else { "DOES NOT" }.to_owned();
        let (signed, same) = (audited.statement.is_ok(), audited.contradiction.is_none());
        table.row([
            path.display().to_string(),
            word(signed),
            word(signed && same),
            word(audited.checked.is_verified()),
        ]);
        objects.push(audited.to_json());
        bar.inc(1);
    }
    bar.finish_and_clear();
    output.say(table.to_string());
    for object in &objects {
        if let Some(error) = object["error"].as_str() {
            output.say(format!("{}: {error}", object["path"].as_str().unwrap_or_default()));
        }
    }
    output.say(format!("held against the public key {}", hex(&public_key)));
    output.result(&json!({ "key": hex(&public_key), "sound": sound, "files": objects }));
    Ok(if sound { Exit::Fine } else { Exit::Failed })
}

struct Audited {
    checked: Checked,
    statement: Result<Statement, String>,
    /// What of the recording is not what was signed.
    contradiction: Option<&'static str>,
}

impl Audited {
    fn of<G: Game>(path: &Path, public_key: &[u8; 32]) -> Self {
        let checked = verify_file::<G>(path, OnDamage::Stop, |_| {});
        let statement = read_seal(path, public_key);
        let contradiction = match (&statement, &checked.verdict) {
            (Ok(statement), Ok(verdict)) => contradiction(path, statement, verdict),
            _ => None,
        };
        Self { checked, statement, contradiction }
    }

    fn is_sound(&self) -> bool {
        self.statement.is_ok() && self.contradiction.is_none() && self.checked.is_verified()
    }

    fn to_json(&self) -> Value {
        let mut object = self.checked.to_json();
        let statement = self.statement.as_ref().ok();
        object["signature"] = statement.is_some().into();
        object["same_file"] = (statement.is_some() && self.contradiction.is_none()).into();
        object["sound"] = self.is_sound().into();
        object["signed"] = statement.map_or(Value::Null, |statement| {
            json!({
                "battle": hex(&statement.battle.to_be_bytes()),
                "epoch": statement.epoch,
                "last_tick": statement.last_tick,
                "final_hash": hex(&statement.final_hash.to_be_bytes()),
                "recording_hash": hex(&statement.recording_hash),
                "ended": statement.ended.name(),
                "outcome": Outcome::parse(&statement.outcome).as_ref().map(info::outcome_to_json),
            })
        });
        let seal = self.statement.as_ref().err().cloned();
        let contradiction = self.contradiction.map(|what| format!("its {what} is not what was signed"));
        if let Some(error) = seal.or(contradiction).or_else(|| self.checked.remark()) {
            object["error"] = error.into();
        }
        object
    }
}

fn read_seal(path: &Path, public_key: &[u8; 32]) -> Result<Statement, String> {
    let path = path.with_extension(SEAL_EXTENSION);
    let mut bytes = Vec::new();
    let file = open(&path).map_err(|error| format!("seal {error:#}"))?;
    let read = file.take(SEAL_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("seal {}: {error}", path.display()))?;
    Statement::open(&bytes, public_key).map_err(|error| format!("seal {}: {error}", path.display()))
}

/// The first thing of a recording that is not what was signed.
fn contradiction(path: &Path, statement: &Statement, verdict: &Verdict) -> Option<&'static str> {
    let ending = open(path).ok().and_then(|file| {
        let recording = Recording::open(file).ok()?;
        Some((recording.header().battle, recording.ending()?.clone()))
    });
    let Some((battle, ending)) = ending else { return Some("end") };
    let held = [
        (battle == statement.battle, "battle"),
        (ending.tick == statement.last_tick, "last tick"),
        (ending.final_hash == statement.final_hash, "last hash"),
        (ending.ended == statement.ended, "ending"),
        (ending.outcome == statement.outcome, "outcome"),
        (verdict.recording_hash == statement.recording_hash, "recording hash"),
    ];
    held.into_iter().find(|(held, _)| !held).map(|(_, what)| what)
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

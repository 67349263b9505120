//! `replay audit`: whether a recording is what its node signed, whole, and what the rules make of it.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tiltyard_battle::{PUBLIC_KEY_EXTENSION, SEAL_EXTENSION, open_regular, parse_key};
use tiltyard_engine::{Game, Outcome};
use tiltyard_replay::{OnDamage, Recording, SEAL_BYTES_MAX, Statement, Verdict};

use super::open::open;
use super::verify::{Checked, verify_file};
use super::{info, recordings};
use crate::config::Config;
use crate::exit::{Exit, Usage};
use crate::output::{Output, Table};
use crate::text::hex;

/// The most bytes of a file of public keys: many thousands.
const KEYS_BYTES_MAX: u64 = 1 << 20;

/// Which recordings, and whose.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditArgs {
    /// Recordings, or folders with recordings; each has its seal beside it
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// The public key of a node that is trusted, 64 hexadecimal digits; may be given more than once
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// A file with lines `NAME KEY`, or a folder of such files (*.pub); without it and --key the folder `signing` in
    /// the data folder
    #[arg(long, value_name = "FILE|DIR")]
    keys: Option<PathBuf>,
}

/// The nodes whose seals count, by their public keys.
type Known = BTreeMap<[u8; 32], String>;

/// Audits. One that is not what was signed has exit code 1.
pub(super) fn run<G: Game>(output: Output, config: &Config, args: &AuditArgs) -> anyhow::Result<Exit> {
    let mut known = Known::new();
    for text in &args.key {
        let key = parse_key(text).ok_or(Usage(format!("--key {text}: a key has 64 hexadecimal digits")))?;
        known.insert(key, "--key".to_owned());
    }
    let signing = config.signing_folder();
    if let Some(keys) = args.keys.as_deref().or(args.key.is_empty().then_some(&signing)) {
        read_keys(keys, &mut known).context("the public keys of the nodes")?;
    }
    let files = recordings(&args.paths)?;
    let bar = output.progress("auditing", files.len() as u64);
    let mut table = Table::new(["recording", "signed by", "same file", "computed again"]);
    let (mut objects, mut sound) = (Vec::new(), true);
    for path in &files {
        let audited = Audited::of::<G>(path, &known);
        sound &= audited.is_sound();
        let word = |held: bool| if held { "holds" } else { "DOES NOT" }.to_owned();
        let (signer, same_file) = match &audited.sealed {
            Ok((_, signer)) => (signer.as_str(), word(audited.is_same_file())),
            Err(seal) if seal.is_missing => ("no seal", "no seal".to_owned()),
            Err(_) => ("NOBODY KNOWN", word(false)),
        };
        table.row([
            path.display().to_string(),
            signer.to_owned(),
            same_file,
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
    output.say(format!("held against {} public keys:", known.len()));
    for (key, name) in &known {
        output.say(format!("{name} {}", hex(key)));
    }
    let keys: Vec<_> = known.iter().map(|(key, name)| json!({ "node": name, "key": hex(key) })).collect();
    output.result(&json!({ "keys": keys, "sound": sound, "files": objects }));
    Ok(if sound { Exit::Fine } else { Exit::Failed })
}

/// Why there is nothing signed that counts.
struct BadSeal {
    /// There is no seal at all, as of a recording that a node did not close.
    is_missing: bool,
    text: String,
}

struct Audited {
    checked: Checked,
    /// What was signed, and by whom.
    sealed: Result<(Statement, String), BadSeal>,
    /// What of the recording is not what was signed.
    contradiction: Option<&'static str>,
}

impl Audited {
    fn of<G: Game>(path: &Path, known: &Known) -> Self {
        let checked = verify_file::<G>(path, OnDamage::Stop, |_| {});
        let sealed = read_seal(path, known);
        let contradiction = match (&sealed, &checked.verdict) {
            (Ok((statement, _)), Ok(verdict)) => contradiction(path, statement, verdict),
            _ => None,
        };
        Self { checked, sealed, contradiction }
    }

    fn is_same_file(&self) -> bool {
        self.sealed.is_ok() && self.contradiction.is_none()
    }

    fn is_sound(&self) -> bool {
        self.is_same_file() && self.checked.is_verified()
    }

    /// All of it in words.
    fn verdict(&self) -> &'static str {
        match &self.sealed {
            Err(seal) if seal.is_missing => "no seal",
            _ if self.is_sound() => "sound",
            _ => "not sound",
        }
    }

    fn to_json(&self) -> Value {
        let mut object = self.checked.to_json();
        let sealed = self.sealed.as_ref().ok();
        object["signature"] = sealed.is_some().into();
        object["signed_by"] = sealed.map(|(_, signer)| signer.clone()).into();
        object["same_file"] = self.is_same_file().into();
        object["sound"] = self.is_sound().into();
        object["verdict"] = self.verdict().into();
        object["signed"] = sealed.map_or(Value::Null, |(statement, _)| {
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
        let seal = self.sealed.as_ref().err().map(|seal| seal.text.clone());
        let contradiction = self.contradiction.map(|what| format!("its {what} is not what was signed"));
        if let Some(error) = seal.or(contradiction).or_else(|| self.checked.remark()) {
            object["error"] = error.into();
        }
        object
    }
}

/// The public keys in a folder or file, each after its node's name.
pub(crate) fn public_keys(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut known = Known::new();
    read_keys(path, &mut known)?;
    let mut keys: Vec<_> = known.into_iter().map(|(key, name)| (name, hex(&key))).collect();
    keys.sort();
    Ok(keys)
}

/// Reads lines `NAME KEY`; empty ones and those that begin with # are passed over.
fn read_keys(path: &Path, known: &mut Known) -> anyhow::Result<()> {
    let shown = || path.display().to_string();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).with_context(shown)? {
            let path = entry.with_context(shown)?.path();
            if path.extension().is_some_and(|extension| extension == PUBLIC_KEY_EXTENSION) {
                read_keys(&path, known)?;
            }
        }
        return Ok(());
    }
    let mut text = String::new();
    open(path)?.take(KEYS_BYTES_MAX).read_to_string(&mut text).with_context(shown)?;
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let entry = line.split_once(' ').and_then(|(name, key)| Some((parse_key(key.trim())?, name)));
        let (key, name) = entry.ok_or_else(|| Usage(format!("{}:{number}: no line NAME KEY", shown())))?;
        known.insert(key, name.to_owned());
    }
    Ok(())
}

/// What the seal beside a recording says, and whose it is.
fn read_seal(path: &Path, known: &Known) -> Result<(Statement, String), BadSeal> {
    let path = path.with_extension(SEAL_EXTENSION);
    let mut bytes = Vec::new();
    let bad = |what: String| BadSeal { is_missing: false, text: format!("seal {}: {what}", path.display()) };
    let file = open_regular(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BadSeal { is_missing: true, text: format!("no seal {}", path.display()) },
        _ => bad(error.to_string()),
    })?;
    let read = file.take(SEAL_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| bad(error.to_string()))?;
    let (statement, key) = Statement::open(&bytes).map_err(|error| bad(error.to_string()))?;
    let unknown = || bad(format!("signed with {}, which is no key of a known node", hex(&key)));
    Ok((statement, known.get(&key).ok_or_else(unknown)?.clone()))
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

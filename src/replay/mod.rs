//! `tiltyard replay`: looks into recordings and proves them.

mod audit;
mod cut;
mod deck;
mod diff;
mod dump;
mod explain;
mod film;
mod follow;
mod fork;
mod frame;
mod info;
mod lines;
mod open;
mod play;
mod seek;
mod verify;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tiltyard_engine::Game;

pub(crate) use self::audit::public_keys;
use self::follow::FollowArgs;
use self::play::PlayArgs;
pub(crate) use self::verify::bytes_of;
pub use self::verify::{Checked, Unverified, verify_all, verify_file};
use crate::config::Config;
use crate::exit::{Exit, Usage};
use crate::output::Output;

/// What a recording's file name ends in.
const EXTENSION: &str = "replay";

/// What to do with recordings.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// List what a recording holds, without computing it
    #[command(after_help = "Examples:
  tiltyard replay info tiltyard-data/replays/0123456789abcdef-1.replay
  tiltyard --json replay info battle.replay")]
    Info {
        /// The recording
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Compute battles again and compare every state hash; a torn tail is cut, named and forgiven
    #[command(after_help = "Examples:
  tiltyard replay verify battle.replay
  tiltyard replay verify tiltyard-data/replays
  tiltyard replay verify --past-damage --json old.replay

What diverges is reported in a file of its own, beside the recording, which `tiltyard replay explain` reads.
Exit codes: 0 all there is agrees, 1 a recording diverges, is damaged or cannot be computed here.")]
    Verify(VerifyArgs),
    /// Go to a tick by way of the keyframes, and say which state is there
    #[command(after_help = "Examples:
  tiltyard replay seek battle.replay --tick 900

Exit codes: 0 the state has the recorded hash, or none is recorded; 1 it has another one.")]
    Seek(seek::SeekArgs),
    /// Say where two recordings part: tick, component, actor, field and both values
    #[command(after_help = "Examples:
  tiltyard replay diff a.replay b.replay
  tiltyard --json replay diff before.replay after.replay

Compared are the ticks that both have; one may be shorter.
Exit codes: 0 no difference, 1 they part, have no tick in common, or one cannot be played on.")]
    Diff(diff::DiffArgs),
    /// Cut a part out of a recording, as a recording of its own
    #[command(after_help = "Examples:
  tiltyard replay cut battle.replay --from 900 --to 1200 --out part.replay
  tiltyard replay cut battle.replay --to 300 --out start.replay

The part begins at the newest keyframe before the first tick asked for, so that it can be computed.")]
    Cut(cut::CutArgs),
    /// Look at a battle in the terminal: pause, speed, forwards and backwards, from event to event
    #[command(after_help = "Examples:
  tiltyard replay play battle.replay
  tiltyard replay play battle.replay --from 900 --speed 4 --follow 3
  tiltyard replay play battle.replay --text --every 30 --ticks 900..1200 --size 100x30
  tiltyard --json replay play battle.replay

Keys: space pauses, left and right go a tick, down and up five seconds, - and + change the speed, p and n go to the
previous and next event, a number and g to that tick, b and e to the ends; f follows the next seat, a number and f that
seat, o nobody; q, Esc or Ctrl-C leaves. Without a terminal the frames are printed as text.
Of a recording of another game or version the pictures in it are shown, if a node was asked to draw them
(recording.snapshot_ticks), each until the next.
Exit codes: 0 it was shown, 1 what was shown is damaged or not what was recorded.")]
    Play(PlayArgs),
    /// The same for a recording that is being written now, until it ends
    #[command(after_help = "Examples:
  tiltyard replay follow tiltyard-data/replays/0123456789abcdef-1.replay
  tiltyard replay follow battle.replay --text --every 30
  tiltyard replay follow battle.replay --from 0 --idle 10

A node writes a second of ticks at a time, and so much later they are seen.")]
    Follow(FollowArgs),
    /// Write out what went into each tick: inputs that changed, commands, events and the state hash
    #[command(after_help = "Examples:
  tiltyard replay dump battle.replay --from 900 --to 930
  tiltyard replay dump battle.replay --lines --out battle.jsonl

With --json and no --out the ticks go to standard error, as everything does but the one object.
Exit codes: 0 fine, 1 a state that this build computes is not the recorded one.")]
    Dump(dump::DumpArgs),
    /// Go on from a tick with other inputs, into a new recording: what if
    #[command(after_help = "Examples:
  tiltyard replay fork battle.replay --at 900 --inputs bots --out what-if.replay
  tiltyard replay fork battle.replay --at 900 --inputs bots --seat 3 --out what-if.replay
  tiltyard replay fork battle.replay --at 900 --inputs changed.jsonl --to 1800 --out what-if.replay

A file has lines as `replay dump --lines` writes them: what one says of a seat holds until the next line that names it,
what it says of commands holds for its tick. Seats that are never named go on as recorded, and after the recording's
end by the game's scripted player. `replay diff` of both recordings shows what came of it.")]
    Fork(fork::ForkArgs),
    /// Read the report of a divergence or a panic, and say whether this build finds the same
    #[command(after_help = "Examples:
  tiltyard replay explain 0123456789abcdef-1.tick-900.divergence

`replay verify` writes reports, and a node when a client's state differs or a battle panics. Each is a recording of the part that matters; renamed to end in .replay and put into a
folder that is verified, it is a test.
Exit codes: 0 this build comes to every recorded state, 1 it does not.")]
    Explain {
        /// The report, or any recording
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Hold recordings against the seals of their nodes: signature, file, and what the rules make of it
    #[command(after_help = "Examples:
  tiltyard replay audit tiltyard-data/replays
  tiltyard replay audit demo --keys demo/signing
  tiltyard --json replay audit battle.replay --keys trusted.pub

A node writes a seal beside each recording that it closes: battle, last tick, last hash, outcome and recording hash,
signed with a key of its own. Its public half lies in the folder signing, as NODE.pub, and nothing secret is needed to
audit; who audits recordings of others keeps their public keys where they cannot reach them.
Exit codes: 0 every recording is what a known node signed and computes to it, 1 one is not.")]
    Audit(audit::AuditArgs),
}

/// Which recordings, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Recordings, or folders with recordings; folders are walked through
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Go on after the next keyframe where a recording is damaged; it still counts as damaged
    #[arg(long)]
    past_damage: bool,
    /// Where the reports of divergences go, instead of beside each recording
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
}

impl ReplayCommand {
    /// Whether it takes the terminal, and signals, into its own hands.
    pub(crate) const fn has_the_terminal(&self) -> bool {
        matches!(self, Self::Play(_) | Self::Follow(_))
    }

    /// Runs the subcommand.
    pub(crate) fn run<G: Game>(&self, output: Output, config: &Config) -> anyhow::Result<Exit> {
        match self {
            Self::Audit(args) => audit::run::<G>(output, config, args),
            Self::Info { file } => info::run::<G>(output, file),
            Self::Cut(args) => cut::run(output, args),
            Self::Diff(args) => diff::run::<G>(output, args),
            Self::Explain { file } => explain::run::<G>(output, file),
            Self::Dump(args) => dump::run::<G>(output, args),
            Self::Fork(args) => fork::run::<G>(output, args),
            Self::Seek(args) => seek::run::<G>(output, args),
            Self::Verify(args) => {
                let files = recordings(&args.paths)?;
                Ok(verify::run::<G>(output, &files, args.past_damage, args.reports.as_deref()))
            }
            Self::Play(args) => args.run::<G>(output),
            Self::Follow(args) => args.run::<G>(output),
        }
    }
}

/// The recordings that the paths name, each folder's in the order of their names.
pub(crate) fn recordings(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
        if !metadata.is_dir() {
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        walk(path, &mut found)?;
        if found.len() == before {
            let text = format!("{}: no recording (*.{EXTENSION}) in this folder", path.display());
            return Err(Usage(text).into());
        }
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let named = || folder.display().to_string();
    let entries = fs::read_dir(folder).with_context(named)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().with_context(named)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // A link to a folder is not followed: it could lead in a circle.
        let path = entry.path();
        if entry.file_type().with_context(named)?.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == EXTENSION) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_in_order_and_an_empty_one_is_a_wrong_question() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        for name in ["c.replay", "a.replay", "b/z.replay", "note.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = recordings(&[folder.path().to_owned()]).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(names, ["a.replay", "b/z.replay", "c.replay"].map(Path::new));
        let error = recordings(&[folder.path().join("empty")]).unwrap_err();
        assert_eq!(Exit::from_error(&error), Exit::Usage);
        let error = recordings(&[folder.path().join("absent")]).unwrap_err();
        assert_eq!(Exit::from_error(&error), Exit::Failed);
    }
}

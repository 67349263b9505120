//! The configuration: defaults, then `tiltyard.toml`, then `TILTYARD_…` variables, then flags; the later wins.
//!
//! Every value remembers where it came from, and every mistake is reported with its place: an unknown key, a wrong
//! type, a number outside its bounds, a file of secrets that everybody may read. All mistakes are found in one run.

pub(crate) mod live;
mod load;
mod print;
mod problem;
mod service;
mod settings;
mod value;

pub(crate) use self::load::open_to_others;

pub(crate) mod command;

use std::path::{Path, PathBuf};

pub use self::load::{FILE_DEFAULT, FILE_VARIABLE, Flag, Loaded, Sources};
use self::problem::nearest;
pub use self::problem::{Problem, Problems, Source};
pub use self::service::ServiceUrl;
pub use self::settings::{
    Battle, Cluster, Config, Control, Gate, Http, Keys, Queue, Recording, SECTIONS, SETTINGS, Setting, Store,
    Token,
};
pub use self::value::{LogFilter, Place, Raw, SecretPlace, Value};

impl Config {
    /// The folder for everything that is kept; the working folder when it was set to nothing.
    pub fn data_folder(&self) -> &Path {
        self.data.path().unwrap_or(Path::new("."))
    }

    /// The file with the cluster's keys.
    pub fn keys_file(&self) -> PathBuf {
        self.keys.file.0.path().map_or_else(|| self.data_folder().join("keys.toml"), Path::to_owned)
    }

    /// The folder for recordings.
    pub fn recordings_folder(&self) -> PathBuf {
        self.recording.folder.path().map_or_else(|| self.data_folder().join("replays"), Path::to_owned)
    }

    /// The folder for the nodes' own keys.
    pub fn signing_folder(&self) -> PathBuf {
        self.data_folder().join("signing")
    }

    /// Worker threads a node, with 0 resolved to the number of cores.
    pub fn workers(&self) -> u16 {
        match self.battle.workers {
            0 => std::thread::available_parallelism()
                .map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(256)),
            workers => workers,
        }
        .min(256)
    }
}

//! Reads the four sources in order and reports all mistakes at once.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tiltyard_battle::open_regular;
use toml_edit::{Document, Item};

use super::problem::{Problem, Problems, Source, nearest};
use super::service::ServiceUrl;
use super::settings::{Config, SECTIONS, SETTINGS, Setting};
use super::value::{Raw, Value as _};

/// The file that is read when none is named; it may be missing.
pub const FILE_DEFAULT: &str = "tiltyard.toml";
/// The variable that names the file, as `--config` does.
pub const FILE_VARIABLE: &str = "TILTYARD_CONFIG";
/// Bytes of a configuration file; a longer one is refused before it is parsed.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Permission bits that open a file to everybody on the machine, for reading or writing.
const OPEN_TO_OTHERS: u32 = 0o006;
/// Those that open it to its group.
const OPEN_TO_THE_GROUP: u32 = 0o060;

/// A value given by a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag as the user knows it, such as `--nodes`.
    pub name: String,
    /// The setting it sets.
    pub key: String,
    /// Its text.
    pub value: String,
}

impl Flag {
    /// A flag that sets `key`.
    pub fn new(name: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), key: key.into(), value: value.into() }
    }
}

/// Where the configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that was asked for and must be there. None: `TILTYARD_CONFIG`, else `tiltyard.toml` if there is one.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `TILTYARD_` are ignored.
    pub variables: Vec<(OsString, OsString)>,
    /// Flags, in the order of the command line.
    pub flags: Vec<Flag>,
    /// The names of the game's modes, which are all that `queue.modes` may hold. None: any name passes.
    pub modes: Option<Vec<&'static str>>,
}

/// A configuration without mistakes, and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// One source for each of [`SETTINGS`], in their order.
    sources: Vec<Source>,
}

impl Loaded {
    /// Walks all settings with where their values came from.
    pub fn settings(&self) -> impl Iterator<Item = (&'static Setting, &Source)> {
        SETTINGS.iter().zip(&self.sources)
    }

    /// Where the value of a setting came from; none for a key that does not exist.
    pub fn source(&self, key: &str) -> Option<&Source> {
        self.settings().find(|(setting, _)| setting.key == key).map(|(_, source)| source)
    }
}

impl Sources {
    /// Reads file and variables of this process, with these flags on top, for a game with these modes.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<Flag>, modes: Vec<&'static str>) -> Self {
        Self { file, variables: std::env::vars_os().collect(), flags, modes: Some(modes) }
    }

    /// Reads, checks and joins all sources.
    ///
    /// # Errors
    /// Everything that is wrong, in the order file, variables, flags, cross-checks.
    pub fn load(&self) -> Result<Loaded, Problems> {
        let mut loading = Loading {
            config: Config::default(),
            sources: vec![Source::Default; SETTINGS.len()],
            problems: Vec::new(),
        };
        let file = self.find_file();
        if let Some((path, _)) = &file {
            loading.read_file(path);
        }
        loading.read_variables(&self.variables);
        for flag in &self.flags {
            let source = Source::Flag(flag.name.clone());
            match SETTINGS.iter().position(|setting| setting.key == flag.key) {
                Some(index) => loading.set(index, Raw::Text(&flag.value), source),
                None => loading.unknown(source, &flag.key, SETTINGS.iter().map(|setting| setting.key)),
            }
        }
        loading.check_addresses();
        loading.check_advertised();
        loading.check_secret_files();
        loading.check_passwords();
        if let Some(modes) = &self.modes {
            loading.check_modes(modes);
        }
        if loading.problems.is_empty() {
            let file = file.map(|(path, _)| path);
            Ok(Loaded { config: loading.config, file, sources: loading.sources })
        } else {
            Err(Problems(loading.problems))
        }
    }

    /// The file to read and whether it was asked for by name.
    fn find_file(&self) -> Option<(PathBuf, bool)> {
        let named =
            || self.variables.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, path)| path.into());
        match self.file.clone().or_else(named) {
            Some(path) => Some((path, true)),
            None => Some((PathBuf::from(FILE_DEFAULT), false)).filter(|(path, _)| path.exists()),
        }
    }
}

struct Loading {
    config: Config,
    sources: Vec<Source>,
    problems: Vec<Problem>,
}

impl Loading {
    fn set(&mut self, index: usize, raw: Raw<'_>, source: Source) {
        let setting = &SETTINGS[index];
        match (setting.set)(&mut self.config, raw) {
            Ok(()) => self.sources[index] = source,
            Err(message) => self.problem(source, Some(setting.key), message),
        }
    }

    fn problem(&mut self, source: Source, key: Option<&str>, message: String) {
        self.problems.push(Problem { source, key: key.map(str::to_owned), message });
    }

    fn unknown<'a>(&mut self, source: Source, name: &str, known: impl Iterator<Item = &'a str>) {
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`config print` lists all keys".to_owned(),
        };
        self.problem(source, None, format!("unknown key `{}`; {hint}", name.escape_debug()));
    }

    fn read_file(&mut self, path: &Path) {
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let whole = Source::WholeFile(path.to_owned());
                return self.problem(whole, None, format!("cannot be read: {error}"));
            }
        };
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
                let source = place(path, &good, good.len());
                return self.problem(source, None, "is no UTF-8 text from here".to_owned());
            }
        };
        match Document::parse(text) {
            Ok(document) => self.read_document(path, text, document.as_item()),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let message = format!("is no TOML: {}", error.message().trim().replace('\n', ", "));
                self.problem(place(path, text, at), None, message);
            }
        }
    }

    fn read_document(&mut self, path: &Path, text: &str, root: &Item) {
        for (name, item, source) in entries(path, text, root) {
            if let Some(index) = find("", name) {
                self.set_item(index, item, source);
            } else if !SECTIONS.iter().any(|(section, _)| *section == name) {
                let tops = SETTINGS.iter().filter(|setting| setting.section.is_empty());
                let known =
                    tops.map(|setting| setting.key).chain(SECTIONS.iter().map(|(section, _)| *section));
                // A name that stands above its section by mistake is nearer to its own full key.
                let misplaced =
                    SETTINGS.iter().find(|setting| !setting.section.is_empty() && setting.name == name);
                match (nearest(name, known.clone()), misplaced) {
                    (None, Some(setting)) => self.unknown_as(source, name, setting.key),
                    _ => self.unknown(source, name, known),
                }
            } else if item.as_table_like().is_none() {
                let message = format!("`{name}` is a section: write [{name}] and its keys below");
                self.problem(source, None, message);
            } else {
                self.read_section(path, text, name, item);
            }
        }
    }

    fn read_section(&mut self, path: &Path, text: &str, section: &str, table: &Item) {
        for (name, item, source) in entries(path, text, table) {
            match find(section, name) {
                Some(index) => self.set_item(index, item, source),
                None => {
                    let full = format!("{section}.{name}");
                    let in_section = SETTINGS.iter().filter(|setting| setting.section == section);
                    match nearest(name, in_section.map(|setting| setting.name)) {
                        Some(near) => self.unknown_as(source, &full, &format!("{section}.{near}")),
                        None => self.unknown(source, &full, SETTINGS.iter().map(|setting| setting.key)),
                    }
                }
            }
        }
    }

    fn unknown_as(&mut self, source: Source, name: &str, near: &str) {
        let message = format!("unknown key `{}`; did you mean `{near}`?", name.escape_debug());
        self.problem(source, None, message);
    }

    fn set_item(&mut self, index: usize, item: &Item, source: Source) {
        match item.as_value() {
            Some(value) => self.set(index, Raw::Toml(value), source),
            None => self.problem(source, Some(SETTINGS[index].key), "is a value, not a section".to_owned()),
        }
    }

    fn read_variables(&mut self, variables: &[(OsString, OsString)]) {
        let text = |os: &OsString| os.to_string_lossy().into_owned();
        let mut ours: Vec<(String, &OsString)> = variables
            .iter()
            .map(|(name, value)| (text(name), value))
            .filter(|(name, _)| is_ours(name))
            .collect();
        ours.sort();
        for (name, value) in ours {
            let source = Source::Variable(name.clone());
            let index = SETTINGS.iter().position(|setting| setting.variable() == name);
            match (index, value.to_str()) {
                (Some(index), Some(value)) => self.set(index, Raw::Text(value), source),
                (Some(index), None) => {
                    self.problem(source, Some(SETTINGS[index].key), "is no UTF-8 text".to_owned());
                }
                (None, _) => {
                    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
                    self.unknown(source, &name, known.iter().map(String::as_str));
                }
            }
        }
    }

    fn check_modes(&mut self, modes: &[&'static str]) {
        for mode in self.config.queue.modes.clone() {
            if !modes.contains(&mode.as_str()) {
                let message =
                    format!("the game has no mode `{}`; it has: {}", mode.escape_debug(), modes.join(", "));
                self.problem(self.source_of("queue.modes"), Some("queue.modes"), message);
            }
        }
    }

    fn check_addresses(&mut self) {
        let addresses = [
            ("gate.listen", self.config.gate.listen),
            ("http.listen", self.config.http.listen),
            ("control.listen", self.config.control.listen),
            ("battle.listen", self.config.battle.listen),
        ];
        let listeners = if self.config.battle.tcp { 4 } else { 3 };
        let addresses = &addresses[..listeners];
        for (index, (key, address)) in addresses.iter().enumerate() {
            let earlier =
                addresses.iter().take(index).find(|(_, other)| other == address && address.port() != 0);
            if let Some((other, _)) = earlier {
                let message =
                    format!("{address} is taken by {other} already; give it another port, or 0 for any");
                self.problem(self.source_of(key), Some(key), message);
            }
        }
    }

    fn check_advertised(&mut self) {
        let battle = &self.config.battle;
        if battle.listen.ip().is_unspecified() && battle.advertise.0.is_none() {
            let message = format!("players cannot connect to {}: set battle.advertise too", battle.listen);
            self.problem(self.source_of("battle.listen"), Some("battle.listen"), message);
        }
    }

    fn check_secret_files(&mut self) {
        let secrets = [
            ("keys.file", Some(self.config.keys_file())),
            ("cluster.secret_file", self.config.cluster.secret_file.0.path().map(Path::to_owned)),
            ("cluster.etcd_user_file", self.config.cluster.etcd_user_file.0.path().map(Path::to_owned)),
            (
                "cluster.etcd_certificate_key",
                self.config.cluster.etcd_certificate_key.0.path().map(Path::to_owned),
            ),
            ("battle.certificate_key", self.config.battle.certificate_key.0.path().map(Path::to_owned)),
        ];
        for (key, path) in secrets {
            let Some(path) = path else { continue };
            if let Some(mode) = open_to_others(&path) {
                let path = path.display();
                let message = format!(
                    "{path} holds secrets and everybody on this machine may open it (mode {mode:03o}); run: chmod 600 {path}"
                );
                self.problem(self.source_of(key), Some(key), message);
            }
        }
    }

    /// A file in which a password stands is for its owner alone.
    fn check_passwords(&mut self) {
        let in_member = |url: &String| ServiceUrl::from_text(url).is_some_and(|url| url.has_password());
        let held = [
            ("cluster.etcd", self.config.cluster.etcd.iter().any(in_member)),
            ("store.mongodb", self.config.store.mongodb.has_password()),
            ("queue.redis", self.config.queue.redis.has_password()),
        ];
        for (key, _) in held.into_iter().filter(|(_, is_held)| *is_held) {
            let source = self.source_of(key);
            let Source::File { path, .. } = &source else { continue };
            if let Some(mode) = mode_with(path, OPEN_TO_OTHERS | OPEN_TO_THE_GROUP) {
                let path = path.display();
                let message = format!(
                    "{path} holds a password and others may open it (mode {mode:03o}); run: chmod 600 {path}"
                );
                self.problem(source, Some(key), message);
            }
        }
    }

    fn source_of(&self, key: &str) -> Source {
        let index = SETTINGS.iter().position(|setting| setting.key == key).expect("the key is one of ours");
        self.sources[index].clone()
    }
}

/// The permission bits of a file that others than its owner and group may open; none when they may not, or when
/// there is no such file.
pub(crate) fn open_to_others(path: &Path) -> Option<u32> {
    mode_with(path, OPEN_TO_OTHERS)
}

/// The permission bits of a file that has one of `bits`.
fn mode_with(path: &Path, bits: u32) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & bits != 0).then_some(mode)
}

fn is_ours(variable: &str) -> bool {
    variable.starts_with("TILTYARD_") && variable != FILE_VARIABLE
}

fn find(section: &str, name: &str) -> Option<usize> {
    SETTINGS.iter().position(|setting| setting.section == section && setting.name == name)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES_MAX) {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {FILE_BYTES_MAX} bytes")))
    }
}

/// The entries of a table in the order of the file, each with the place of its key.
fn entries<'a>(path: &Path, text: &str, table: &'a Item) -> Vec<(&'a str, &'a Item, Source)> {
    let Some(table) = table.as_table_like() else { return Vec::new() };
    let place_of = |name: &str, item: &Item| {
        let span: Option<Range<usize>> =
            table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        let start = span.map_or(0, |span| span.start);
        (start, place(path, text, start))
    };
    let mut found: Vec<_> = table
        .iter()
        .map(|(name, item)| {
            let (start, source) = place_of(name, item);
            (start, name, item, source)
        })
        .collect();
    found.sort_by_key(|(start, ..)| *start);
    found.into_iter().map(|(_, name, item, source)| (name, item, source)).collect()
}

/// Line and column, from 1, of a byte of the text.
fn place(path: &Path, text: &str, offset: usize) -> Source {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    Source::File { path: path.to_owned(), line, column }
}

//! The configuration's sources, their order and their mistakes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;
use tiltyard::config::{Config, FILE_VARIABLE, Flag, Loaded, Problems, SETTINGS, Source, Sources};

/// Files and variables of one case, read as the program reads them.
struct Case {
    folder: TempDir,
    sources: Sources,
}

impl Case {
    fn new(file: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.toml");
        fs::write(&path, file).expect("a file");
        Self { folder, sources: Sources { file: Some(path), ..Sources::default() } }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.variables.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, name: &str, key: &str, value: &str) -> Self {
        self.sources.flags.push(Flag::new(name, key, value));
        self
    }

    fn load(&self) -> Result<Loaded, Problems> {
        self.sources.load()
    }

    /// The messages, with the file called `t.toml` wherever it lies.
    fn problems(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let problems = self.load().expect_err("there are mistakes");
        problems.0.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
    }
}

#[track_caller]
fn check(file: &str, expected: &[&str]) {
    assert_eq!(Case::new(file).problems(), expected, "{file}");
}

#[test]
fn each_source_overrides_the_one_before() {
    let rate = |case: &Case| {
        let loaded = case.load().expect("a valid configuration");
        (loaded.config.battle.rate_hz, loaded.source("battle.rate_hz").expect("a setting").clone())
    };
    let nothing = Case::new("");
    assert_eq!(rate(&nothing), (30, Source::Default));

    let file = Case::new("seed = 3\n[battle]\n  rate_hz = 40\n");
    let place = Source::File { path: file.folder.path().join("t.toml"), line: 3, column: 3 };
    assert_eq!(rate(&file), (40, place));

    let variable = file.variable("TILTYARD_BATTLE_RATE_HZ", "50");
    assert_eq!(rate(&variable), (50, Source::Variable("TILTYARD_BATTLE_RATE_HZ".into())));

    let flag = variable.flag("--rate", "battle.rate_hz", "60");
    assert_eq!(rate(&flag), (60, Source::Flag("--rate".into())));

    let last = flag.flag("--rate-again", "battle.rate_hz", "61");
    assert_eq!(rate(&last), (61, Source::Flag("--rate-again".into())));
    assert_eq!(last.load().expect("valid").config.seed, 3);
}

#[test]
fn unknown_keys_are_named_with_place_and_neighbour() {
    check("sead = 1", &["t.toml:1:1: unknown key `sead`; did you mean `seed`?"]);
    check(
        "# a comment\n[gate]\nlisten = \"127.0.0.1:1\"\n  lissten = \"127.0.0.1:1\"\n",
        &["t.toml:4:3: unknown key `gate.lissten`; did you mean `gate.listen`?"],
    );
    check("[batle]\nrate_hz = 1", &["t.toml:1:2: unknown key `batle`; did you mean `battle`?"]);
    check("rate_hz = 1", &["t.toml:1:1: unknown key `rate_hz`; did you mean `battle.rate_hz`?"]);
    check("battle.rate = 1", &["t.toml:1:8: unknown key `battle.rate`; did you mean `battle.rate_hz`?"]);
    check("\"ä\\n\" = 1", &["t.toml:1:1: unknown key `ä\\n`; `config print` lists all keys"]);
    check(
        "[gate]\n\"é\" = 1\nä = 2",
        &["t.toml:3:1: is no TOML: invalid unquoted key, expected letters, numbers, `-`, `_`"],
    );
}

#[test]
fn wrong_types_and_bounds_are_named_with_place() {
    check(
        "[battle]\nrate_hz = \"fast\"\nworkers = 1.5\nnodes = 65\n[queue]\nmodes = [1]\n",
        &[
            "t.toml:2:1: battle.rate_hz: wants a whole number from 1 to 240, found the text \"fast\"",
            "t.toml:3:1: battle.workers: wants a whole number from 0 to 256, found the fraction 1.5",
            "t.toml:4:1: battle.nodes: wants a whole number from 1 to 64, found the number 65",
            "t.toml:6:1: queue.modes: wants a list of texts, found a list",
        ],
    );
    check("battle = 3", &["t.toml:1:1: `battle` is a section: write [battle] and its keys below"]);
    check("[[battle]]\nnodes = 1", &["t.toml:1:3: `battle` is a section: write [battle] and its keys below"]);
    check("[seed]\na = 1", &["t.toml:1:2: seed: is a value, not a section"]);
    check(
        "seed = -1",
        &["t.toml:1:1: seed: wants a whole number from 0 to 9223372036854775807, found the number -1"],
    );
    check(
        "[cluster]\nprefix = \"tiltyard/\"",
        &[
            "t.toml:2:1: cluster.prefix: wants a path of a-z, 0-9 and dashes that begins with a slash and does not end with one, such as \"/tiltyard\", found the text \"tiltyard/\"",
        ],
    );
    check(
        "log = \"inof\"",
        &[
            "t.toml:1:1: log: wants a log filter such as \"info\" or \"warn,tiltyard_netcode=debug\", found the text \"inof\"",
        ],
    );
}

#[test]
fn broken_files_are_named_with_place() {
    check("seed = 1\nseed = 2\n", &["t.toml:2:1: is no TOML: duplicate key"]);
    let deep = format!("seed = {}", "[".repeat(20_000));
    assert_eq!(Case::new(&deep).problems().len(), 1);
    let case = Case::new("");
    let path = case.folder.path().join("t.toml");
    fs::write(&path, b"seed = 1\nlog = \"\xff\"\n").expect("written");
    assert_eq!(case.problems(), ["t.toml:2:8: is no UTF-8 text from here"]);
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).expect("written");
    assert_eq!(case.problems(), ["t.toml: cannot be read: longer than 1048576 bytes"]);
    fs::write(&path, vec![b'#'; 1 << 20]).expect("written");
    assert!(case.load().is_ok());
    fs::remove_file(&path).expect("removed");
    assert_eq!(case.problems(), ["t.toml: cannot be read: No such file or directory (os error 2)"]);
}

#[test]
fn any_cut_of_a_file_is_read_or_refused() {
    let text = Case::new("").load().expect("valid").to_toml();
    let text = text.split("[token]").next().expect("a beginning");
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)).step_by(7) {
        if let Err(problems) = Case::new(&text[..end]).load() {
            assert!(!problems.0.is_empty(), "cut at {end}");
        }
    }
}

#[test]
fn unknown_and_wrong_variables_and_flags_are_named() {
    let case = Case::new("")
        .variable("TILTYARD_BATTLE_RATEHZ", "1")
        .variable("TILTYARD_BATTLE_NODES", "many")
        .variable("OTHER", "1")
        .variable(FILE_VARIABLE, "elsewhere.toml")
        .flag("--set gate.lsten", "gate.lsten", "1")
        .flag("--nodes", "battle.nodes", "0");
    assert_eq!(
        case.problems(),
        [
            "environment TILTYARD_BATTLE_NODES: battle.nodes: wants a whole number from 1 to 64, found \"many\"",
            "environment TILTYARD_BATTLE_RATEHZ: unknown key `TILTYARD_BATTLE_RATEHZ`; did you mean `TILTYARD_BATTLE_RATE_HZ`?",
            "flag --set gate.lsten: unknown key `gate.lsten`; did you mean `gate.listen`?",
            "flag --nodes: battle.nodes: wants a whole number from 1 to 64, found \"0\"",
        ]
    );
}

#[test]
fn a_variable_names_the_file() {
    let case = Case::new("seed = 9");
    let variable = (FILE_VARIABLE.into(), case.sources.file.expect("a file").into_os_string());
    let sources = Sources { variables: vec![variable], ..Sources::default() };
    assert_eq!(sources.load().expect("valid").config.seed, 9);
}

#[test]
fn two_doors_cannot_share_an_address() {
    check(
        "[http]\nlisten = \"127.0.0.1:7700\"",
        &[
            "t.toml:2:1: http.listen: 127.0.0.1:7700 is taken by gate.listen already; give it another port, or 0 for any",
        ],
    );
    let any = "[http]\nlisten = \"127.0.0.1:0\"\n[gate]\nlisten = \"127.0.0.1:0\"";
    assert!(Case::new(any).load().is_ok());
}

#[test]
fn who_listens_everywhere_says_where_players_find_him() {
    check(
        "[battle]\nlisten = \"0.0.0.0:0\"",
        &["t.toml:2:1: battle.listen: players cannot connect to 0.0.0.0:0: set battle.advertise too"],
    );
    assert!(Case::new("[battle]\nlisten = \"[::]:0\"").load().is_err());
    let told = "[battle]\nlisten = \"0.0.0.0:0\"\nadvertise = \"203.0.113.7\"";
    assert!(Case::new(told).load().is_ok());
}

#[test]
fn a_mode_that_the_game_does_not_have_is_named() {
    let mut case = Case::new("seed = 2\nqueue.modes = [\"skirmish\", \"chess\"]");
    assert!(case.load().is_ok());
    case.sources.modes = Some(vec!["skirmish", "duel"]);
    assert_eq!(
        case.problems(),
        ["t.toml:2:7: queue.modes: the game has no mode `chess`; it has: skirmish, duel"]
    );
}

#[test]
fn a_secret_file_that_everybody_may_read_is_refused_with_its_place() {
    let case = Case::new("");
    let secret = case.folder.path().join("k.toml");
    fs::write(&secret, "").expect("written");
    let set_mode =
        |mode| fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).expect("mode is set");
    let file = format!("seed = 1\n[keys]\nfile = \"{}\"\n", secret.display());
    fs::write(case.folder.path().join("t.toml"), file).expect("written");
    set_mode(0o600);
    assert!(case.load().is_ok());
    set_mode(0o644);
    assert_eq!(
        case.problems(),
        [
            "t.toml:3:1: keys.file: k.toml holds secrets and everybody on this machine may open it (mode 644); \
         run: chmod 600 k.toml",
        ]
    );
    let from_variable = Case::new("").variable("TILTYARD_CLUSTER_SECRET_FILE", &secret.display().to_string());
    let problems = from_variable.problems();
    assert!(
        problems[0].starts_with("environment TILTYARD_CLUSTER_SECRET_FILE: cluster.secret_file: "),
        "{problems:?}"
    );
}

#[test]
fn a_file_with_a_password_that_others_may_read_is_refused_with_its_place() {
    let case =
        Case::new("[store]\nmongodb = \"mongodb://ada:secret@host\"\n[queue]\nredis = \"redis://host\"\n");
    let path = case.folder.path().join("t.toml");
    let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode is set");
    set_mode(0o600);
    assert!(case.load().is_ok());
    for mode in [0o640, 0o604] {
        set_mode(mode);
        let expected = format!(
            "t.toml:2:1: store.mongodb: t.toml holds a password and others may open it (mode {mode:o}); \
             run: chmod 600 t.toml"
        );
        assert_eq!(case.problems(), [expected]);
    }
    let member = Case::new("[cluster]\netcd = [\"http://a:1\", \"http://ada:secret@b:1\"]\n");
    assert!(member.problems()[0].starts_with("t.toml:2:1: cluster.etcd: t.toml holds a password"));
    let elsewhere = Case::new("").variable("TILTYARD_QUEUE_REDIS", "redis://:secret@host");
    assert!(elsewhere.load().is_ok());
}

#[test]
fn the_printed_file_reads_back_and_says_where_values_came_from() {
    let case = Case::new("seed = 3\nqueue.modes = [\"skirmish\", \"duel\"]\n")
        .variable("TILTYARD_LOG", "debug")
        .flag("--nodes", "battle.nodes", "5");
    let loaded = case.load().expect("valid");
    let printed = loaded.to_toml().replace(&format!("{}/", case.folder.path().display()), "");
    for line in [
        "seed = 3 # from: t.toml:1:1",
        "modes = [\"skirmish\", \"duel\"] # from: t.toml:2:7",
        "log = \"debug\" # from: environment TILTYARD_LOG",
        "nodes = 5 # from: flag --nodes",
        "rate_hz = 30",
        "# default: 30, 1 to 240; variable: TILTYARD_BATTLE_RATE_HZ",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} in\n{printed}");
    }
    let again = Case::new(&printed).load().expect("the printed file is valid");
    assert_eq!(again.config, loaded.config);
    for (setting, source) in again.settings() {
        assert!(matches!(source, Source::File { .. }), "{} stands in the printed file", setting.key);
    }
    assert_eq!(loaded.to_json().as_object().expect("an object").len(), SETTINGS.len());
}

#[test]
fn a_missing_default_file_means_defaults() {
    // The tests run in the package's folder, which has no tiltyard.toml.
    assert!(!Path::new(tiltyard::config::FILE_DEFAULT).exists());
    let loaded = Sources::default().load().expect("defaults are valid");
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.file, None);
}

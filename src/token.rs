//! `tiltyard token`: gets, shows and judges battle tokens.

use std::fs::{OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tiltyard_battle::open_regular;
use tiltyard_client::{LobbyError, LobbySession, LobbySettings};
use tiltyard_engine::{Game, Registry};
use tiltyard_netcode::system_random;
use tiltyard_netcode::token::{
    Claims, Role, SessionSecret, TokenError, TokenFile, TokenPublic, inspect, mint, open,
};

use crate::config::{Config, Flag};
use crate::exit::{Exit, Usage};
use crate::house::token_key;
use crate::keys::{self, ClusterKeys, KeysError, MasterKey};
use crate::output::{Output, Table};
use crate::program;
use crate::stop::run_until_done;
use crate::text::{hex, utc};
use crate::time::now_unix_ms;

/// Bytes of a token file; a longer one is none.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How long a token for looking on may wait for its first use.
const WATCH_WITHIN_MS: u64 = 60_000;

/// What to do with a battle token.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Get a token for a fresh battle against bots from a running house
    #[command(after_help = "Examples:
  tiltyard token issue --mode skirmish --out t.token
  tiltyard token issue --gate ws://127.0.0.1:7700 --mode duel --out t.token")]
    Issue(IssueArgs),
    /// Make a token for looking on at the battle of another token, with the cluster's keys
    #[command(after_help = "Examples:
  tiltyard token watch t.token --out w.token
  tiltyard connect --token w.token --seconds 10")]
    Watch(WatchArgs),
    /// Read a token file: its public part, and the sealed part with the cluster's keys
    #[command(after_help = "Examples:
  tiltyard token show t.token
  tiltyard token show t.token --keys tiltyard-data/keys.toml")]
    Show(ReadArgs),
    /// Judge a token file against the cluster's keys and the clock
    #[command(after_help = "Examples:
  tiltyard token check t.token
  tiltyard --json token check t.token --keys tiltyard-data/keys.toml

Exit codes: 0 the token is good, 1 it is not.")]
    Check(ReadArgs),
}

/// Where to get a token.
#[derive(Clone, Debug, Args)]
pub(crate) struct IssueArgs {
    /// The gate; without it the configuration's gate.listen
    #[arg(long, value_name = "URL")]
    gate: Option<String>,
    /// The mode; without it the game's first
    #[arg(long, value_name = "NAME")]
    mode: Option<String>,
    /// The token file to write; it holds a secret and is overwritten if it is there
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Whose battle to look on at.
#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    of: ReadArgs,
    /// The token file to write; it holds a secret and is overwritten if it is there
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Which token file, and by which keys.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReadArgs {
    /// The token file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The keys file, instead of the configuration's keys.file
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

impl TokenCommand {
    /// The settings that its flags override.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        match self {
            Self::Issue(_) => Vec::new(),
            Self::Show(args) | Self::Check(args) | Self::Watch(WatchArgs { of: args, .. }) => {
                let keys = args.keys.iter();
                keys.map(|file| Flag::new("--keys", "keys.file", file.to_string_lossy())).collect()
            }
        }
    }

    /// Runs the subcommand.
    pub(crate) fn run<G: Game>(&self, output: Output, config: &Config) -> anyhow::Result<Exit> {
        match self {
            Self::Issue(args) => args.run::<G>(output, config),
            Self::Watch(args) => watch(output, args, config),
            Self::Show(args) => show(output, &args.file, config),
            Self::Check(args) => check::<G>(output, &args.file, config),
        }
    }
}

impl IssueArgs {
    fn run<G: Game>(&self, output: Output, config: &Config) -> anyhow::Result<Exit> {
        let gate = gate_of(self.gate.as_deref(), config)?;
        let mode = match &self.mode {
            Some(mode) => mode.clone(),
            None => G::modes().first().map(|mode| mode.name.to_owned()).unwrap_or_default(),
        };
        let ticket = run_until_done(|stop| async move {
            let asking = async {
                let mut lobby = LobbySession::log_in(LobbySettings::new(&gate)).await?;
                lobby.issue(&mode, 0).await
            };
            tokio::select! {
                issued = asking => issued.map_err(|error| refusal(&gate, &error)),
                () = stop.asked() => Err(anyhow::anyhow!("ended before the gate answered")),
            }
        })?;
        write_secret(&self.out, &ticket.token_file.to_string())?;
        let shown = self.out.display();
        let seconds = ticket.expires_unix_ms.saturating_sub(now_unix_ms()?) / 1_000;
        output.say(format!(
            "wrote {shown}: seat {} of battle {}, to be used within {seconds} s\nenter it with: {} connect --token {shown}",
            ticket.seat,
            hex(&ticket.battle.0.to_be_bytes()),
            program::name(),
        ));
        let mut object = public_json(&inspect(&ticket.token_file.token)?, &ticket.token_file);
        object["out"] = shown.to_string().into();
        object["mode"] = ticket.mode.into();
        object["seat"] = ticket.seat.into();
        object["team"] = ticket.team.into();
        object["epoch"] = ticket.epoch.0.into();
        object["rate_hz"] = ticket.rate_hz.into();
        object["protocol_hash"] = hex(&ticket.protocol_hash).into();
        output.result(&object);
        Ok(Exit::Fine)
    }
}

/// Writes a token for a spectator of the battle that another token is for. Whoever has the cluster's keys may.
fn watch(output: Output, args: &WatchArgs, config: &Config) -> anyhow::Result<Exit> {
    let file = read(&args.of.file)?;
    let shown = || args.of.file.display().to_string();
    let public = inspect(&file.token).with_context(shown)?;
    let keys = keys::read(&config.keys_file()).context("reading keys")?;
    let (master, player) = open_with(&keys, &public, &file).with_context(shown)?;
    let now = now_unix_ms()?;
    let session_secret = SessionSecret::from_bytes(system_random());
    let claims = Claims {
        player: u64::from_le_bytes(system_random()),
        seat: 0,
        team: 0,
        role: Role::Spectator,
        issued_unix_ms: now,
        session_secret: session_secret.clone(),
        bytes_per_second_max: 0,
        inputs_per_second_max: 0,
        loadout_hash: [0; 32],
        user_data: Vec::new(),
        ..player
    };
    let key = token_key(master).battle_key(public.battle);
    let token = mint(&key, system_random(), now + WATCH_WITHIN_MS, &claims);
    let file = TokenFile { token, session_secret, addresses: file.addresses };
    write_secret(&args.out, &file.to_string())?;
    let out = args.out.display();
    output.say(format!(
        "wrote {out}: to look on at battle {}, to be used within {} s\nlook on with: {} connect --token {out}",
        hex(&public.battle.0.to_be_bytes()),
        WATCH_WITHIN_MS / 1_000,
        program::name(),
    ));
    let mut object = public_json(&inspect(&file.token)?, &file);
    object["out"] = out.to_string().into();
    object["role"] = role(Role::Spectator).into();
    output.result(&object);
    Ok(Exit::Fine)
}

/// Why the gate gave no battle, and what to do about it. The error's sentence holds its sources already.
fn refusal(gate: &str, error: &LobbyError) -> anyhow::Error {
    let way_out = match error {
        LobbyError::Socket(_) => format!("; `{} up` starts a house and prints its gate", program::name()),
        _ => String::new(),
    };
    anyhow::anyhow!("asking {gate} for a battle: {error}{way_out}")
}

/// The gate to ask: what the flag says, else where this configuration's house would listen.
pub(crate) fn gate_of(flag: Option<&str>, config: &Config) -> Result<String, Usage> {
    match flag {
        Some(gate) => Ok(gate.to_owned()),
        None if config.gate.listen.port() != 0 => Ok(format!("ws://{}", config.gate.listen)),
        None => Err(Usage("--gate: gate.listen has no fixed port, so the gate has to be named".to_owned())),
    }
}

/// Reads a token file with suspicion.
pub(crate) fn read(path: &Path) -> anyhow::Result<TokenFile> {
    let shown = || path.display().to_string();
    let file = open_regular(path).with_context(shown)?;
    // It may grow meanwhile.
    let mut text = String::new();
    let length = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(shown)?;
    anyhow::ensure!(length as u64 <= FILE_BYTES_MAX, "{}: too long for a token file", shown());
    text.parse().with_context(shown)
}

fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let write = || {
        let mut file = options.open(path)?;
        // A file that was there has the mode that it had.
        let metadata = file.metadata()?;
        if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        file.write_all(text.as_bytes())
    };
    write().with_context(|| path.display().to_string())
}

fn show(output: Output, path: &Path, config: &Config) -> anyhow::Result<Exit> {
    let file = read(path)?;
    let public = inspect(&file.token).with_context(|| path.display().to_string())?;
    let opened = match keys::read(&config.keys_file()) {
        Ok(keys) => Some(open_with(&keys, &public, &file).map(|(_, claims)| claims)),
        Err(KeysError::Missing { .. }) => None,
        Err(error) => return Err(error).context("reading keys"),
    };
    let mut table = Table::new(["token", &path.display().to_string()]);
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("battle", hex(&public.battle.0.to_be_bytes()));
    row("first use until", utc(public.expires_unix_ms));
    row("sealed by key", public.kid.to_string());
    row("token id", hex(&public.token_id));
    row("addresses", file.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    let mut object = public_json(&public, &file);
    match opened {
        Some(Ok(claims)) => {
            row("player", hex(&claims.player.to_be_bytes()));
            row("seat", format!("{} of team {}", claims.seat, claims.team));
            row("role", role(claims.role).to_owned());
            row("protocol hash", hex(&claims.protocol_hash));
            row("issued", utc(claims.issued_unix_ms));
            object["sealed"] = claims_json(&claims);
        }
        Some(Err(why)) => row("sealed part", format!("closed: {why}")),
        None => row("sealed part", "closed: there are no keys here".to_owned()),
    }
    output.say(table.to_string());
    output.result(&object);
    Ok(Exit::Fine)
}

/// Why a token is or is not good, by the names that scripts see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Expired,
    NotYetValid,
    UnknownKey,
    Forged,
    OtherProtocol,
    OtherSecret,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::OtherProtocol => "other_protocol",
            Self::OtherSecret => "other_secret",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Good => "the token is good",
            Self::Expired => "too late for a first use; still good for a seat that it took before",
            Self::NotYetValid => "the token was issued in the future: one of the clocks is wrong",
            Self::UnknownKey => "the token was sealed by a key that these keys do not have",
            Self::Forged => "the token does not open: it was altered, or sealed by a key of another cluster",
            Self::OtherProtocol => "the token is for another game or version than this program's",
            Self::OtherSecret => "the file's session secret is not the one in the token",
        }
    }
}

fn check<G: Game>(output: Output, path: &Path, config: &Config) -> anyhow::Result<Exit> {
    let file = read(path)?;
    let public = inspect(&file.token).with_context(|| path.display().to_string())?;
    let keys = keys::read(&config.keys_file()).context("reading keys")?;
    let protocol_hash = Registry::of::<G>()?.protocol_hash::<G>().0;
    let verdict = judge(&keys, &public, &file, protocol_hash, now_unix_ms()?);
    output.say(format!("{}: {}", path.display(), verdict.sentence()));
    let mut object = public_json(&public, &file);
    object["verdict"] = verdict.name().into();
    output.result(&object);
    Ok(if verdict == Verdict::Good { Exit::Fine } else { Exit::Failed })
}

fn judge(
    keys: &ClusterKeys,
    public: &TokenPublic,
    file: &TokenFile,
    protocol_hash: [u8; 16],
    now_unix_ms: u64,
) -> Verdict {
    match open_with(keys, public, file) {
        Err(TokenError::OtherKey { .. }) => Verdict::UnknownKey,
        Err(_) => Verdict::Forged,
        Ok((_, claims)) if claims.protocol_hash != protocol_hash => Verdict::OtherProtocol,
        Ok((_, claims)) if claims.session_secret != file.session_secret => Verdict::OtherSecret,
        Ok((_, claims)) if claims.issued_unix_ms > now_unix_ms => Verdict::NotYetValid,
        Ok(_) if public.expires_unix_ms <= now_unix_ms => Verdict::Expired,
        Ok(_) => Verdict::Good,
    }
}

/// The key that a token is sealed with, and what it claims.
fn open_with<'a>(
    keys: &'a ClusterKeys,
    public: &TokenPublic,
    file: &TokenFile,
) -> Result<(&'a MasterKey, Claims), TokenError> {
    let known = [Some(&keys.current), keys.previous.as_ref()];
    let master = known.into_iter().flatten().find(|master| master.kid == public.kid);
    let master = master.ok_or(TokenError::OtherKey { kid: public.kid, battle: public.battle })?;
    open(&token_key(master).battle_key(public.battle), &file.token).map(|(_, claims)| (master, claims))
}

fn public_json(public: &TokenPublic, file: &TokenFile) -> Value {
    json!({
        "battle": hex(&public.battle.0.to_be_bytes()),
        "kid": public.kid,
        "expires_unix_ms": public.expires_unix_ms,
        "token_id": hex(&public.token_id),
        "addresses": file.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn claims_json(claims: &Claims) -> Value {
    json!({
        "player": hex(&claims.player.to_be_bytes()),
        "seat": claims.seat,
        "team": claims.team,
        "role": role(claims.role),
        "protocol_hash": hex(&claims.protocol_hash),
        "issued_unix_ms": claims.issued_unix_ms,
        "loadout_hash": hex(&claims.loadout_hash),
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Player => "player",
        Role::Bot => "bot",
        Role::Spectator => "spectator",
    }
}

#[cfg(test)]
mod tests {
    use tiltyard_netcode::BattleId;
    use tiltyard_netcode::token::BattleToken;

    use super::*;

    fn file(keys: &ClusterKeys, expires_unix_ms: u64) -> TokenFile {
        let secret = SessionSecret::from_bytes([7; 32]);
        let claims = Claims {
            player: 1,
            seat: 0,
            team: 0,
            role: Role::Player,
            protocol_hash: [3; 16],
            issued_unix_ms: 500,
            session_secret: secret.clone(),
            bytes_per_second_max: 0,
            inputs_per_second_max: 0,
            loadout_hash: [0; 32],
            user_data: Vec::new(),
        };
        let key = token_key(&keys.current).battle_key(BattleId(9));
        let token = mint(&key, [5; 16], expires_unix_ms, &claims);
        TokenFile { token, session_secret: secret, addresses: vec!["127.0.0.1:1".parse().unwrap()] }
    }

    fn verdict(keys: &ClusterKeys, file: &TokenFile, hash: u8, now_unix_ms: u64) -> Verdict {
        judge(keys, &inspect(&file.token).unwrap(), file, [hash; 16], now_unix_ms)
    }

    #[test]
    fn a_token_file_is_a_regular_file_and_read_to_its_bound() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert!(format!("{error:#}").contains("no regular file"), "{error:#}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.token");
        std::fs::write(&path, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error:#}");
    }

    #[test]
    fn a_token_file_is_secret_even_if_it_was_there_for_all_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.token");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write_secret(&path, "new").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_token_is_judged_on_both_sides_of_every_edge() {
        let keys = ClusterKeys::generate(0).unwrap();
        let good = file(&keys, 1_000);
        assert_eq!(verdict(&keys, &good, 3, 500), Verdict::Good);
        assert_eq!(verdict(&keys, &good, 3, 999), Verdict::Good);
        assert_eq!(verdict(&keys, &good, 3, 1_000), Verdict::Expired);
        assert!(
            Verdict::Expired.sentence().contains("still good for a seat"),
            "this cannot be told from here"
        );
        assert_eq!(verdict(&keys, &good, 3, 499), Verdict::NotYetValid);
        assert_eq!(verdict(&keys, &good, 4, 500), Verdict::OtherProtocol);
        let once = keys.rotated(1).unwrap();
        assert_eq!(verdict(&once, &good, 3, 500), Verdict::Good);
        assert_eq!(verdict(&once.rotated(2).unwrap(), &good, 3, 500), Verdict::UnknownKey);
        assert_eq!(verdict(&ClusterKeys::generate(0).unwrap(), &good, 3, 500), Verdict::Forged);
        let other = TokenFile { session_secret: SessionSecret::from_bytes([8; 32]), ..good.clone() };
        assert_eq!(verdict(&keys, &other, 3, 500), Verdict::OtherSecret);
        let mut bytes = *good.token.as_bytes();
        bytes[200] ^= 1;
        let flipped = TokenFile { token: BattleToken::from_bytes(&bytes).unwrap(), ..good };
        assert_eq!(verdict(&keys, &flipped, 3, 500), Verdict::Forged);
    }
}

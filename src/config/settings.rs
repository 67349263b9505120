//! Every setting of the program, each declared, documented, bounded and given its default in one place.
//!
//! The macro makes three things of the list below: the typed [`Config`], its defaults, and the table [`SETTINGS`]
//! that reading, `config print` and error messages walk. A doc comment here is the text that users see.

use std::net::{Ipv4Addr, SocketAddr};

use tiltyard_cluster::node::Keyspace;

use super::service::ServiceUrl;
use super::value::{Advertised, LogFilter, Named, Place, Raw, SecretPlace, Value};

/// One setting as the table knows it.
#[derive(Debug)]
pub struct Setting {
    /// Its full name: `section.name`, or the bare name for those above all sections.
    pub key: &'static str,
    /// The section's name; empty above all sections.
    pub section: &'static str,
    /// The name inside its section.
    pub name: &'static str,
    /// Its documentation, line by line.
    pub docs: &'static [&'static str],
    /// The lowest and the highest value, for numbers that have bounds.
    pub bounds: Option<(u64, u64)>,
    /// Whether it names a file that holds secrets.
    pub secret_file: bool,
    /// Reads, checks and stores a value.
    pub set: fn(&mut Config, Raw<'_>) -> Result<(), String>,
    /// The value as it would stand in the file.
    pub show: fn(&Config) -> toml_edit::Value,
}

impl Setting {
    /// The environment variable that sets it: `TILTYARD_BATTLE_RATE_HZ` for `battle.rate_hz`.
    pub fn variable(&self) -> String {
        format!("TILTYARD_{}", self.key.replace('.', "_").to_uppercase())
    }
}

macro_rules! bounds {
    () => {
        None
    };
    ($low:literal, $high:literal) => {
        Some(($low, $high))
    };
}

macro_rules! settings {
    (
        { $($(#[doc = $top_doc:literal])+ $top:ident: $Top:ty = $top_default:expr $(, $top_low:literal..=$top_high:literal)?;)+ }
        $($(#[doc = $section_doc:literal])+ $section:ident: $Section:ident {
            $($(#[doc = $doc:literal])+ $name:ident: $Type:ty = $default:expr $(, $low:literal..=$high:literal)?;)+
        })+
    ) => {
        /// Everything that the program can be told, checked.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $top_doc])+ pub $top: $Top,)+
            $($(#[doc = $section_doc])+ pub $section: $Section,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($top: $top_default,)+ $($section: $Section::default(),)+ }
            }
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $($(#[doc = $doc])+ pub $name: $Type,)+
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $($name: $default,)+ }
                }
            }
        )+

        /// All settings in the order of the printed file.
        pub const SETTINGS: &[Setting] = &[
            $(Setting {
                key: stringify!($top),
                section: "",
                name: stringify!($top),
                docs: &[$($top_doc),+],
                bounds: bounds!($($top_low, $top_high)?),
                secret_file: <$Top as Value>::SECRET_FILE,
                set: |config, raw| {
                    config.$top = Value::read(raw, bounds!($($top_low, $top_high)?))?;
                    Ok(())
                },
                show: |config| config.$top.to_toml(),
            },)+
            $($(Setting {
                key: concat!(stringify!($section), ".", stringify!($name)),
                section: stringify!($section),
                name: stringify!($name),
                docs: &[$($doc),+],
                bounds: bounds!($($low, $high)?),
                secret_file: <$Type as Value>::SECRET_FILE,
                set: |config, raw| {
                    config.$section.$name = Value::read(raw, bounds!($($low, $high)?))?;
                    Ok(())
                },
                show: |config| config.$section.$name.to_toml(),
            },)+)+
        ];

        /// Sections with their documentation, in the order of the printed file.
        pub const SECTIONS: &[(&str, &[&str])] = &[$((stringify!($section), &[$($section_doc),+])),+];
    };
}

settings! {
    {
        /// Battle seeds, battle ids and the bots' decisions follow from it: one seed, one run. 0: `up` draws a secret at
        /// each start, so that nobody can foretell its battles; `demo` takes 1. Who knows the seed knows all that a
        /// battle hides.
        seed: u64 = 0, 0..=9223372036854775807;
        /// Folder for everything that is kept: keys, results, recordings, outbox. Made when missing.
        data: Place = Place::new("tiltyard-data");
        /// Which log lines go to standard error: a level, or levels by module.
        log: LogFilter = LogFilter::from_text("info").expect("a level is a filter");
    }

    /// The door for players: a WebSocket with JSON messages.
    gate: Gate {
        /// Where clients reach the gate.
        listen: SocketAddr = loopback(7700);
        /// Connections from one address; one more is closed at once and counted.
        connections_per_address_max: u32 = 1024, 1..=65536;
        /// Messages a second from one connection, and twice as many at once; more are refused and counted, and who
        /// goes on is closed.
        messages_per_second_max: u32 = 20, 1..=10000;
        /// Logins of one address a minute, as guests or by password, and twice as many at once. One address is an IPv4 address or a
        /// /64 network of IPv6; what is above is refused with the time to wait, and counted.
        logins_per_minute_max: u32 = 30, 1..=1000000;
        /// Tickets that one address may queue a minute, and twice as many at once.
        tickets_per_minute_max: u32 = 30, 1..=1000000;
        /// Fresh battles (`token issue`) that one address may ask for a minute, and twice as many at once.
        fresh_battles_per_minute_max: u32 = 6, 1..=1000000;
        /// Fresh battles of one address that run at once.
        fresh_battles_max: u32 = 8, 1..=100000;
        /// Whether all limits by address hold for loopback too. A proxy on this machine makes every player come from
        /// there: let it limit by address itself.
        limit_loopback: bool = false;
        /// Seconds without a word after which a connection is closed.
        idle_seconds: u32 = 60, 5..=3600;
    }

    /// Health and metrics for operators.
    http: Http {
        /// Where /healthz, /readyz and /metrics answer.
        listen: SocketAddr = loopback(7701);
    }

    /// Authenticated calls between lobby and battle nodes.
    control: Control {
        /// Where a lobby or a battle node takes control calls; nodes in one process with a lobby take any free port
        /// beside it. Others are told this address, so it must lead here.
        listen: SocketAddr = loopback(7702);
    }

    /// Who takes part in the cluster and how long silence is forgiven.
    cluster: Cluster {
        /// The name of this process, for `battle`, `lobby` and `gate`; no two of a role share one. Empty: node-1, lobby-1,
        /// gate-1.
        name: Named = Named(None);
        /// File with the cluster secret alone, for a battle node that shall not hold the master keys; `keys new`
        /// writes it too when it is set. Empty: the secret is taken from the keys file.
        secret_file: SecretPlace = SecretPlace(Place::new(""));
        /// A node that is silent for this many seconds leaves the list.
        lease_seconds: u32 = 5, 1..=300;
        /// How often a node reports its load, in milliseconds.
        load_report_ms: u32 = 500, 50..=60000;
        /// The members of etcd in which the directory is kept, such as ["http://127.0.0.1:2379"]. Empty: the directory is
        /// in this process. Needs a build with `--features etcd`.
        etcd: Vec<String> = Vec::new();
        /// What the names of all keys in etcd begin with: clusters that share an etcd have one each, and
        /// none begins with another's. A path of a-z, 0-9 and dashes that begins with a slash.
        prefix: Keyspace = Keyspace::default();
        /// File with `name:password` of our user in etcd. Empty: etcd asks for none.
        etcd_user_file: SecretPlace = SecretPlace(Place::new(""));
        /// File with the certificates (PEM) of whoever signed those of members at `https://`.
        etcd_authority: Place = Place::new("");
        /// File with our own certificate (PEM), where etcd asks for one.
        etcd_certificate: Place = Place::new("");
        /// File with the key (PEM) of our own certificate.
        etcd_certificate_key: SecretPlace = SecretPlace(Place::new(""));
    }

    /// Keys of the cluster.
    keys: Keys {
        /// File with master keys and cluster secret. Empty: keys.toml in the data folder.
        file: SecretPlace = SecretPlace(Place::new(""));
    }

    /// What a player's credentials are worth and for how long.
    token: Token {
        /// Seconds from issue within which a battle token must be used first, and for which a node keeps the seats of
        /// players who have not come yet; once used, a token holds its seat until the battle ends.
        expiry_seconds: u32 = 60, 5..=3600;
        /// Seconds for which a login at the gate is good.
        session_expiry_seconds: u32 = 86400, 60..=2592000;
    }

    /// What outlives the house: accounts, battles and their results.
    store: Store {
        /// Address of a MongoDB that keeps them, such as mongodb://user:password@host:27017/tiltyard; houses may share
        /// it. Empty: a file in the data folder. The password is used and never shown.
        mongodb: ServiceUrl = ServiceUrl::default();
    }

    /// From ticket to battle.
    queue: Queue {
        /// Modes that players can queue for. Empty: every mode of the game.
        modes: Vec<String> = Vec::new();
        /// Time between two rounds of the matchmaker, in milliseconds.
        interval_ms: u32 = 100, 10..=10000;
        /// Seconds after which bots take the seats of a match that nobody came for. 0: players are waited for.
        bots_after_seconds: u32 = 10, 0..=3600;
        /// Tickets in the queue; one more is refused with the reason.
        tickets_max: u32 = 10000, 1..=1000000;
        /// Address of a Redis, such as redis://:password@host:6379/0, where lobbies meet that match their players with each
        /// other: those of one database, cluster.prefix and version of the game, which have one store and the same modes.
        /// Empty: this lobby matches its own. The password is used and never shown. Needs a build with `--features redis`.
        redis: ServiceUrl = ServiceUrl::default();
    }

    /// The battle nodes of this process.
    battle: Battle {
        /// How many nodes this process runs.
        nodes: u16 = 2, 1..=64;
        /// Where players reach a node: by UDP, and by TCP where the setting tcp is true. Every worker has its own socket: with port 0 any free one, else the
        /// ports from this one upwards, node after node.
        listen: SocketAddr = loopback(0);
        /// The address that players are told, with the ports of listen: needed to listen on all addresses
        /// (0.0.0.0), and where players come through a router. Empty: that of listen.
        advertise: Advertised = Advertised(None);
        /// Whether players whose datagrams do not come through may come over TCP, at the addresses and ports of listen.
        tcp: bool = true;
        /// File with the certificates (PEM) that nodes show to players who come over WebSockets in TLS, at the addresses
        /// and ports of listen, our own first. Empty: nobody can. A self-signed one will do for tiltyard's own clients.
        certificate: Place = Place::new("");
        /// File with the key (PEM) of that certificate.
        certificate_key: SecretPlace = SecretPlace(Place::new(""));
        /// Whether players may also come over QUIC, at the addresses and ports of listen and with that certificate. Needs a
        /// build with `--features quic`.
        quic: bool = false;
        /// Worker threads a node; each steps its battles on one core. 0: one for each core.
        workers: u16 = 0, 0..=256;
        /// Ticks a second.
        rate_hz: u16 = 30, 1..=240;
        /// Seconds after which a battle ends at the latest. 0: what its mode says.
        seconds: u32 = 0, 0..=86400;
        /// Ticks that a late battle may catch up at once; what is later still is dropped from the schedule and counted.
        catch_up_ticks_max: u16 = 5, 1..=240;
        /// Battles on one node; one more reservation is refused.
        battles_max: u32 = 200, 1..=10000;
        /// Seconds that running battles have to finish after SIGTERM; what runs then is aborted. Ctrl-C does not wait.
        drain_seconds: u32 = 240, 0..=86400;
    }

    /// Recordings of battles.
    recording: Recording {
        /// Folder for recordings. Empty: replays in the data folder.
        folder: Place = Place::new("");
        /// Seconds between two keyframes: what a seek has to simulate at most.
        keyframe_seconds: u32 = 10, 1..=600;
        /// Ticks between two pictures in a recording, which builds can show that cannot compute it: of another game,
        /// or of a version with another state. 0: none. Each costs its tick the drawing.
        snapshot_ticks: u32 = 0, 0..=36000;
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_and_variables_are_all_different() {
        let keys: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        let variables: BTreeSet<_> = SETTINGS.iter().map(Setting::variable).collect();
        assert_eq!(keys.len(), SETTINGS.len());
        assert_eq!(variables.len(), SETTINGS.len());
        // The path of the file itself comes from a variable that no setting may take.
        assert!(!variables.contains(super::super::FILE_VARIABLE));
    }

    #[test]
    fn every_default_passes_its_own_check() {
        for setting in SETTINGS {
            let mut config = Config::default();
            let shown = (setting.show)(&config);
            assert_eq!((setting.set)(&mut config, Raw::Toml(&shown)), Ok(()), "{}", setting.key);
            assert_eq!(config, Config::default(), "{}", setting.key);
            assert!(!setting.docs.is_empty(), "{}", setting.key);
        }
    }
}

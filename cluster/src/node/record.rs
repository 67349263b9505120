//! The records of nodes, lobbies and gates in the directory.

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::control::Peer;
use crate::id::NodeId;

/// Version of the records. A reader passes over records of another one.
pub(super) const RECORD_VERSION: u32 = 1;
/// Most bytes of a cluster's prefix.
const PREFIX_BYTES_MAX: usize = 128;

/// Where in the directory a cluster lives, so that several can share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyspace(String);

/// A text is no prefix for a cluster's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a prefix has 1 to {PREFIX_BYTES_MAX} of a-z, 0-9, '-' and '/', and begins but does not end with '/'"
)]
pub struct KeyspaceError;

impl Default for Keyspace {
    fn default() -> Self {
        Self("/tiltyard".to_owned())
    }
}

impl Keyspace {
    /// Takes a prefix such as `/tiltyard/europe`.
    ///
    /// # Errors
    /// Anything but a short path of plain letters.
    pub fn parse(prefix: &str) -> Result<Self, KeyspaceError> {
        let letters = prefix.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'/'));
        let ends = prefix.starts_with('/') && !prefix.ends_with('/');
        if letters && ends && prefix.len() <= PREFIX_BYTES_MAX {
            Ok(Self(prefix.to_owned()))
        } else {
            Err(KeyspaceError)
        }
    }

    /// The prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key of this cluster: the prefix, a slash and `path`.
    pub fn key(&self, path: &str) -> String {
        format!("{}/{path}", self.0)
    }
}

/// How loaded a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Share of the tick budget used, p99 over the last seconds of the busiest worker, in thousandths. May be
    /// above 1,000.
    pub tick_share_permille: u32,
    /// Most seats the node takes.
    pub seats_max: u32,
    /// Seats promised and not taken yet.
    pub seats_reserved: u32,
    /// Seats taken, by players or bots.
    pub seats_used: u32,
    /// Most battles the node takes.
    pub battles_max: u32,
    /// Battles reserved or running.
    pub battles: u32,
}

/// A battle node in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Version of the record.
    pub version: u32,
    /// The node's name.
    pub id: NodeId,
    /// A random number of this process, so that two processes of one name tell each other apart.
    pub instance: u64,
    /// Where it listens for control messages.
    pub control: SocketAddr,
    /// Where players connect, one address a worker.
    pub addresses: Vec<SocketAddr>,
    /// Protocol hash of the game that it runs.
    pub protocol_hash: [u8; 16],
    /// Version of its program, for people.
    pub build: String,
    /// The public key that it signs its recordings with, if it does; a word of its own, which only a directory that
    /// strangers cannot write to makes trustworthy.
    #[serde(default)]
    pub signing_key: Option<[u8; 32]>,
    /// Whether it takes no new battles.
    pub draining: bool,
    /// Its load.
    pub load: Load,
    /// Which load report this is; grows with each.
    pub report: u64,
}

impl NodeRecord {
    /// A fresh record, neither draining nor loaded.
    pub fn new(
        id: NodeId,
        instance: u64,
        control: SocketAddr,
        addresses: Vec<SocketAddr>,
        protocol_hash: [u8; 16],
        build: &str,
    ) -> Self {
        Self {
            version: RECORD_VERSION,
            id,
            instance,
            control,
            addresses,
            protocol_hash,
            build: build.to_owned(),
            signing_key: None,
            draining: false,
            load: Load::default(),
            report: 0,
        }
    }

    /// The same with the public key that the node signs its recordings with.
    pub fn signing_with(self, public_key: Option<[u8; 32]>) -> Self {
        Self { signing_key: public_key, ..self }
    }

    /// Whom to call.
    pub fn peer(&self) -> Peer {
        Peer { id: self.id.clone(), control: self.control }
    }
}

/// A lobby in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LobbyRecord {
    /// Version of the record.
    pub version: u32,
    /// The lobby's name.
    pub id: NodeId,
    /// A random number of this process.
    pub instance: u64,
    /// Where it listens for control messages.
    pub control: SocketAddr,
    /// Version of its program, for people.
    pub build: String,
}

impl LobbyRecord {
    /// A record.
    pub fn new(id: NodeId, instance: u64, control: SocketAddr, build: &str) -> Self {
        Self { version: RECORD_VERSION, id, instance, control, build: build.to_owned() }
    }

    /// Whom to call.
    pub fn peer(&self) -> Peer {
        Peer { id: self.id.clone(), control: self.control }
    }
}

/// A gate that is a process of its own, in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRecord {
    /// Version of the record.
    pub version: u32,
    /// The gate's name.
    pub id: NodeId,
    /// A random number of this process.
    pub instance: u64,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Version of its program, for people.
    pub build: String,
}

impl GateRecord {
    /// A record.
    pub fn new(id: NodeId, instance: u64, address: SocketAddr, build: &str) -> Self {
        Self { version: RECORD_VERSION, id, instance, address, build: build.to_owned() }
    }
}

/// A stored value is no record that this version reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No JSON of such a record.
    #[error("no such record")]
    Malformed,
    /// Another version of the record.
    #[error("record version {0} is unknown")]
    Version(u32),
}

/// A kind of record: nodes, lobbies and gates.
pub trait Record: Clone + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// The folder of its keys.
    const FOLDER: &'static str;
    /// Its name, the last part of its key.
    fn id(&self) -> &NodeId;
    /// The process that wrote it.
    fn instance(&self) -> u64;
    /// Its version.
    fn version(&self) -> u32;

    /// Key of this record.
    fn key(&self, keyspace: &Keyspace) -> String {
        keyspace.key(&format!("{}/{}", Self::FOLDER, self.id()))
    }

    /// Writes the record.
    fn to_value(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("records have string keys and no failing serializer")
    }

    /// Reads a record. Fields that a later program added are passed over.
    ///
    /// # Errors
    /// No record of a version known here.
    fn parse(value: &[u8]) -> Result<Self, RecordError> {
        let record: Self = serde_json::from_slice(value).map_err(|_| RecordError::Malformed)?;
        if record.version() == RECORD_VERSION {
            Ok(record)
        } else {
            Err(RecordError::Version(record.version()))
        }
    }
}

/// Records whose fields of these names say what every record has.
macro_rules! records {
    ($($Record:ident in $folder:literal),+ $(,)?) => {$(
        impl Record for $Record {
            const FOLDER: &'static str = $folder;

            fn id(&self) -> &NodeId {
                &self.id
            }

            fn instance(&self) -> u64 {
                self.instance
            }

            fn version(&self) -> u32 {
                self.version
            }
        }
    )+};
}

records! { NodeRecord in "nodes", LobbyRecord in "lobbies", GateRecord in "gates" }

//! The keys of a cluster: what they are, how their file looks, how they are rotated.
//!
//! ```toml
//! version = 1
//! cluster_secret = "…"    # authenticates control calls between lobby and nodes
//!
//! [current]               # seals battle tokens and signs session tokens from now on
//! kid = 2
//! made_unix_ms = 1790000000000
//! key = "…"
//!
//! [previous]              # still opens the tokens that it made; absent before the first rotation
//! ```
//!
//! Every key is 32 random bytes in unpadded base64. The file has mode 0600, is replaced in one step, and is refused
//! when everybody may open it. No key is ever printed: not by `Debug`, not in an error.

mod file;
mod follow;

pub(crate) mod command;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use toml_edit::{Document, TableLike};

pub use self::file::{KeysError, cluster_secret, create, read, rotate};
pub(crate) use self::follow::follow;

/// Bytes of every key and secret.
pub const SECRET_BYTES: usize = 32;
/// The format that this program writes and reads.
const VERSION: i64 = 1;

/// 32 random bytes that are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// Draws a fresh secret from the system.
    ///
    /// # Errors
    /// [`KeysError::Random`] when the system gives no random bytes.
    pub fn random() -> Result<Self, KeysError> {
        let mut bytes = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| KeysError::Random)?;
        Ok(Self(bytes))
    }

    /// The bytes, for whoever seals or signs with them.
    pub fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(text.trim()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    fn to_text(&self) -> String {
        STANDARD_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key that seals battle tokens, with the number that tokens name it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKey {
    /// Its number, from 1, growing by one with every rotation.
    pub kid: u32,
    /// When it was made.
    pub made_unix_ms: u64,
    /// The key.
    pub key: Secret,
}

/// All keys of a cluster. At most two master keys are good at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterKeys {
    /// Seals battle tokens, and signs session tokens by a key of its own, from now on.
    pub current: MasterKey,
    /// Still opens the tokens that it made.
    pub previous: Option<MasterKey>,
    /// Authenticates control calls between lobby and nodes.
    pub cluster_secret: Secret,
}

impl ClusterKeys {
    /// Makes a cluster's first keys.
    ///
    /// # Errors
    /// [`KeysError::Random`] when the system gives no random bytes.
    pub fn generate(now_unix_ms: u64) -> Result<Self, KeysError> {
        Ok(Self {
            current: MasterKey { kid: 1, made_unix_ms: now_unix_ms, key: Secret::random()? },
            previous: None,
            cluster_secret: Secret::random()?,
        })
    }

    /// Gives the cluster a new master key; the one until now becomes the previous one, and the one before that is
    /// forgotten. The cluster secret stays.
    ///
    /// # Errors
    /// [`KeysError::Random`], and [`KeysError::KidsUsedUp`] after 2³² − 1 rotations.
    pub fn rotated(&self, now_unix_ms: u64) -> Result<Self, KeysError> {
        let kid = self.current.kid.checked_add(1).ok_or(KeysError::KidsUsedUp)?;
        Ok(Self {
            current: MasterKey { kid, made_unix_ms: now_unix_ms, key: Secret::random()? },
            previous: Some(self.current.clone()),
            ..self.clone()
        })
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// What is wrong; no part of a key is in it.
    pub fn parse(text: &str) -> Result<Self, MalformedKeys> {
        let document = Document::parse(text).map_err(|error| {
            // The parser's own message may quote the text, which here is secret.
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
            MalformedKeys::Syntax { line }
        })?;
        let root = document.as_table();
        match root.get("version").and_then(toml_edit::Item::as_integer) {
            Some(VERSION) => {}
            Some(version) => return Err(MalformedKeys::Version { version }),
            None => return Err(MalformedKeys::Field { name: "version" }),
        }
        let master = |name: &'static str| root.get(name).map(|item| parse_master(name, item.as_table_like()));
        let keys = Self {
            current: master("current").ok_or(MalformedKeys::Field { name: "current" })??,
            previous: master("previous").transpose()?,
            cluster_secret: parse_secret(root, "cluster_secret")?,
        };
        match &keys.previous {
            Some(previous) if previous.kid >= keys.current.kid => Err(MalformedKeys::Order),
            _ => Ok(keys),
        }
    }

    /// Writes the file's text.
    pub fn to_text(&self) -> String {
        let mut text = String::from(
            "# Keys of a tiltyard cluster. Whoever reads this file enters every battle as anybody: keep it at mode 0600.\n\
             # `keys rotate` replaces the master key; tokens of the previous one stay good until they expire.\n",
        );
        text.push_str(&format!("version = {VERSION}\n"));
        text.push_str(&format!("cluster_secret = \"{}\"\n", self.cluster_secret.to_text()));
        for (name, master) in [("current", Some(&self.current)), ("previous", self.previous.as_ref())] {
            let Some(MasterKey { kid, made_unix_ms, key }) = master else { continue };
            let key = key.to_text();
            text.push_str(&format!(
                "\n[{name}]\nkid = {kid}\nmade_unix_ms = {made_unix_ms}\nkey = \"{key}\"\n"
            ));
        }
        text
    }
}

fn parse_master(section: &'static str, table: Option<&dyn TableLike>) -> Result<MasterKey, MalformedKeys> {
    let table = table.ok_or(MalformedKeys::Field { name: section })?;
    let number = |name: &'static str| table.get(name).and_then(toml_edit::Item::as_integer);
    let kid = number("kid").and_then(|kid| u32::try_from(kid).ok()).filter(|kid| *kid > 0);
    let made_unix_ms = number("made_unix_ms").and_then(|made| u64::try_from(made).ok());
    Ok(MasterKey {
        kid: kid.ok_or(MalformedKeys::Field { name: "kid" })?,
        made_unix_ms: made_unix_ms.ok_or(MalformedKeys::Field { name: "made_unix_ms" })?,
        key: parse_secret(table, "key")?,
    })
}

fn parse_secret(table: &dyn TableLike, name: &'static str) -> Result<Secret, MalformedKeys> {
    let text = table.get(name).and_then(toml_edit::Item::as_str);
    text.and_then(Secret::parse).ok_or(MalformedKeys::Field { name })
}

/// Why a text is no keys file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKeys {
    /// The text is no TOML.
    #[error("line {line} is no TOML")]
    Syntax {
        /// The line, from 1.
        line: usize,
    },
    /// The file was written by another version of the program.
    #[error("version {version} is unknown here, version 1 is known")]
    Version {
        /// What the file says.
        version: i64,
    },
    /// A field is missing or is not what it should be.
    #[error("`{name}` is missing or malformed")]
    Field {
        /// Its name.
        name: &'static str,
    },
    /// The previous key has no smaller number than the current one.
    #[error("the previous key is not older than the current one")]
    Order,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_text_before_and_after_a_rotation() {
        let first = ClusterKeys::generate(7).unwrap();
        assert_eq!(ClusterKeys::parse(&first.to_text()), Ok(first.clone()));
        let second = first.rotated(8).unwrap();
        assert_eq!(ClusterKeys::parse(&second.to_text()), Ok(second.clone()));
        assert_eq!(second.previous, Some(first.current.clone()));
        assert_eq!(second.current.kid, 2);
        assert_ne!(second.current.key, first.current.key);
        let third = second.rotated(9).unwrap();
        assert_eq!(third.previous, Some(second.current));
    }

    #[test]
    fn the_last_kid_is_never_passed() {
        let mut keys = ClusterKeys::generate(0).unwrap();
        keys.current.kid = u32::MAX - 1;
        let last = keys.rotated(0).unwrap();
        assert_eq!(last.current.kid, u32::MAX);
        assert!(matches!(last.rotated(0), Err(KeysError::KidsUsedUp)));
    }

    #[test]
    fn debug_shows_no_key() {
        let keys = ClusterKeys::generate(0).unwrap().rotated(1).unwrap();
        let shown = format!("{keys:?}");
        let all = [&keys.current.key, &keys.cluster_secret];
        assert!(all.iter().all(|secret| !shown.contains(&secret.to_text())));
        assert_eq!(shown.matches("Secret(…)").count(), 3);
    }

    #[test]
    fn a_damaged_file_is_refused_by_name_and_without_its_content() {
        let good = ClusterKeys::generate(5).unwrap().rotated(6).unwrap();
        let text = good.to_text();
        let check = |from: &str, to: &str, expected: MalformedKeys| {
            assert!(text.contains(from), "{from}");
            assert_eq!(ClusterKeys::parse(&text.replacen(from, to, 1)), Err(expected), "{from} -> {to}");
        };
        check("version = 1", "version = 2", MalformedKeys::Version { version: 2 });
        check("version = 1\n", "", MalformedKeys::Field { name: "version" });
        check("kid = 2", "kid = 1", MalformedKeys::Order);
        check("kid = 2", "kid = 0", MalformedKeys::Field { name: "kid" });
        check("kid = 2", "kid = 4294967296", MalformedKeys::Field { name: "kid" });
        check("made_unix_ms = 6", "made_unix_ms = -6", MalformedKeys::Field { name: "made_unix_ms" });
        check("cluster_secret = \"", "cluster_secret = \"A", MalformedKeys::Field { name: "cluster_secret" });
        check("[current]", "[other]", MalformedKeys::Field { name: "current" });
        check("cluster_secret = \"", "cluster_secret = ", MalformedKeys::Syntax { line: 4 });
    }
}

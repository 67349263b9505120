//! A node's own key: what it signs its recordings with, made at its first start and kept by it alone.
//!
//! The private half is one line of 64 hexadecimal digits in a file of mode 0600. Beside it, with the ending `pub`,
//! lies a line `NAME KEY` with the public half, which is for everybody: whoever audits recordings keeps such lines of
//! all nodes that are trusted, gathered by a way that is.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tiltyard_cluster::NodeId;
use tiltyard_netcode::system_random;
use tiltyard_replay::Signer;

use crate::regular::open_regular;

/// What the file of a public key ends in, instead of the private one's `key`.
pub const PUBLIC_KEY_EXTENSION: &str = "pub";

/// Bytes of a private key's file: 64 digits and a line end.
const FILE_BYTES: usize = 65;

/// Why a node has no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others than its owner may open the file.
    #[error("{} holds a private key and others may open it (mode {mode:03o}); run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds no key.
    #[error("{}: no key; restore it, or remove it to sign with a new one", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

/// The signer of a node, with the key at `path`, which is made if there is none. The public half is written beside it.
///
/// # Errors
/// If the file is there and is no key or open to others, or if one cannot be made.
pub(crate) fn signer(path: &Path, node: &NodeId) -> Result<Signer, IdentityError> {
    let failed = |error| IdentityError::Io { path: path.to_owned(), error };
    let seed = match open_regular(path) {
        Ok(file) => read(file, path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(failed)?,
        Err(error) => return Err(failed(error)),
    };
    let signer = Signer::from_seed(&seed);
    let line = format!("{node} {}\n", hex(&signer.public_key()));
    let public = path.with_extension(PUBLIC_KEY_EXTENSION);
    std::fs::write(&public, line).map_err(|error| IdentityError::Io { path: public, error })?;
    Ok(signer)
}

fn read(file: File, path: &Path) -> Result<[u8; 32], IdentityError> {
    let failed = |error| IdentityError::Io { path: path.to_owned(), error };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    let malformed = IdentityError::Malformed { path: path.to_owned() };
    let digits = text.strip_suffix(b"\n").unwrap_or(&text);
    std::str::from_utf8(digits).ok().and_then(parse_key).ok_or(malformed)
}

/// Draws a key and writes it; the file is whole as soon as it has its name.
fn make(path: &Path) -> io::Result<[u8; 32]> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let seed: [u8; 32] = system_random();
    let fresh = path.with_extension("new");
    // A leftover of a run that was killed here.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(format!("{}\n", hex(&seed)).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()?;
    Ok(seed)
}

/// Reads 64 hexadecimal digits.
#[must_use]
pub fn parse_key(text: &str) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_node_keeps_its_key_and_shows_half_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing/node-1.key");
        let node = NodeId::parse("node-1").unwrap();
        let first = signer(&path, &node).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(signer(&path, &node).unwrap().public_key(), first.public_key());
        let line = fs::read_to_string(path.with_extension(PUBLIC_KEY_EXTENSION)).unwrap();
        assert_eq!(line, format!("node-1 {}\n", hex(&first.public_key())));
        let private = fs::read_to_string(&path).unwrap();
        assert!(parse_key(private.trim_end()).is_some() && !line.contains(private.trim_end()));
        let other = signer(&folder.path().join("signing/node-2.key"), &node).unwrap();
        assert_ne!(other.public_key(), first.public_key());
    }

    #[test]
    fn a_key_that_others_may_open_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, node) = (folder.path().join("node-1.key"), NodeId::parse("node-1").unwrap());
        signer(&path, &node).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(signer(&path, &node), Err(IdentityError::Exposed { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for text in ["", &whole[1..], &format!("{whole}0"), &whole.replace(char::is_alphanumeric, "g")] {
            fs::write(&path, text).unwrap();
            assert!(matches!(signer(&path, &node), Err(IdentityError::Malformed { .. })), "{text}");
        }
        fs::write(path.with_extension("new"), "half a k").unwrap();
        fs::remove_file(&path).unwrap();
        signer(&path, &node).unwrap();
        for file in [Path::new("/dev/null"), folder.path()] {
            let error = signer(file, &node).unwrap_err().to_string();
            assert_eq!(error, format!("{}: this is no regular file", file.display()));
        }
    }
}

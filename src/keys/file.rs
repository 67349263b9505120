//! The keys file on the disk: read with suspicion, written in one step.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tiltyard_battle::open_regular;

use super::{ClusterKeys, MalformedKeys, Secret};
use crate::config::Config;
use crate::config::open_to_others;

/// Bytes of a keys file; a longer one is none.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// Why keys could not be read, made or written. No message carries a key.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is no such file.
    #[error("{}: there are no keys yet; make them with: {} keys new", path.display(), crate::program::name())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// New keys would overwrite old ones.
    #[error("{}: there are keys already; replace the master key with: {} keys rotate", path.display(), crate::program::name())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Everybody on the machine may open the file.
    #[error("{path}: everybody on this machine may open it (mode {mode:03o}); run: chmod 600 {path}", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is not what it should be.
    #[error("{}: {why}; restore it from a copy, or remove it and make new keys", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: MalformedKeys,
    },
    /// The system refuses to read or write.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// Every key number was used.
    #[error("all key numbers are used up; make new keys")]
    KidsUsedUp,
}

/// Reads the keys.
///
/// # Errors
/// The file is missing, open to everybody, malformed, or the system refuses.
pub fn read(path: &Path) -> Result<ClusterKeys, KeysError> {
    let text = read_secret_text(path)?;
    ClusterKeys::parse(&text).map_err(|why| KeysError::Malformed { path: path.to_owned(), why })
}

/// Makes a cluster's first keys and writes them; `secret_copy` gets the cluster secret alone.
///
/// # Errors
/// [`KeysError::Exists`] when there are keys already, which stay as they are; [`KeysError::Io`].
pub fn create(path: &Path, secret_copy: Option<&Path>, now_unix_ms: u64) -> Result<ClusterKeys, KeysError> {
    let _lock = lock_folder(path)?;
    if path.symlink_metadata().is_ok() {
        return Err(KeysError::Exists { path: path.to_owned() });
    }
    let keys = ClusterKeys::generate(now_unix_ms)?;
    if let Some(copy) = secret_copy {
        let _lock = (folder(copy) != folder(path)).then(|| lock_folder(copy)).transpose()?;
        replace(copy, &format!("{}\n", keys.cluster_secret.to_text()))?;
    }
    replace(path, &keys.to_text())?;
    Ok(keys)
}

/// Gives the cluster a new master key, keeps the last one as the previous, and replaces the file in one step:
/// whoever reads it meanwhile sees the old keys or the new ones.
///
/// # Errors
/// As [`read`], and when the file cannot be replaced; then it stays as it was.
pub fn rotate(path: &Path, now_unix_ms: u64) -> Result<ClusterKeys, KeysError> {
    if !path.exists() {
        return Err(KeysError::Missing { path: path.to_owned() });
    }
    let _lock = lock_folder(path)?;
    let keys = read(path)?.rotated(now_unix_ms)?;
    replace(path, &keys.to_text())?;
    Ok(keys)
}

/// Reads the secret that authenticates control calls: from its own file when the configuration names one, else from
/// the keys file.
///
/// # Errors
/// As [`read`].
pub fn cluster_secret(config: &Config) -> Result<Secret, KeysError> {
    let Some(path) = config.cluster.secret_file.0.path() else {
        return read(&config.keys_file()).map(|keys| keys.cluster_secret);
    };
    let why = MalformedKeys::Field { name: "cluster_secret" };
    Secret::parse(&read_secret_text(path)?).ok_or(KeysError::Malformed { path: path.to_owned(), why })
}

fn read_secret_text(path: &Path) -> Result<String, KeysError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeysError::Missing { path: path.to_owned() },
        _ => KeysError::Io { path: path.to_owned(), source },
    };
    let file = open_regular(path).map_err(failed)?;
    if let Some(mode) = open_to_others(path) {
        return Err(KeysError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Holds the file's folder, made when missing, against another `keys` command, until dropped.
fn lock_folder(path: &Path) -> Result<File, KeysError> {
    let folder = folder(path);
    let failed = |source| KeysError::Io { path: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let lock = File::open(folder).map_err(failed)?;
    lock.lock().map_err(failed)?;
    Ok(lock)
}

/// Replaces a file in one step: a new file beside it, synced, then renamed over it. The caller holds the folder.
fn replace(path: &Path, text: &str) -> Result<(), KeysError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let write = || {
        // A leftover of a run that was killed here: nobody else writes it while the folder is held.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(folder(path))?.sync_all()
    };
    write().map_err(|source| KeysError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn keys_are_made_once_and_rotated_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/keys.toml");
        assert!(matches!(read(&path), Err(KeysError::Missing { .. })));
        assert!(matches!(rotate(&path, 0), Err(KeysError::Missing { .. })));
        let first = create(&path, None, 1).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(matches!(create(&path, None, 2), Err(KeysError::Exists { .. })));
        assert_eq!(read(&path).unwrap(), first);
        let second = rotate(&path, 3).unwrap();
        assert_eq!(second.current.kid, 2);
        assert_eq!(read(&path).unwrap(), second);
        assert_eq!(mode(&path), 0o600);
        let left: Vec<_> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["keys.toml"]);
    }

    #[test]
    fn a_leftover_of_a_killed_run_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        create(&path, None, 1).unwrap();
        fs::write(folder.path().join("keys.toml.new"), "half a fi").unwrap();
        assert_eq!(rotate(&path, 2).unwrap().current.kid, 2);
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_file_that_everybody_may_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        create(&path, None, 1).unwrap();
        for (bits, refused) in [(0o604, true), (0o602, true), (0o666, true), (0o640, false), (0o400, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            assert_eq!(
                matches!(read(&path), Err(KeysError::Exposed { mode, .. }) if mode == bits),
                refused,
                "{bits:o}"
            );
        }
    }

    #[test]
    fn rotations_at_once_lose_no_kid() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        create(&path, None, 0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| rotate(&path, 1).unwrap());
            }
        });
        assert_eq!(read(&path).unwrap().current.kid, 9);
    }

    #[test]
    fn the_cluster_secret_comes_from_its_own_file_when_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("keys.toml"), folder.path().join("node/secret"));
        let keys = create(&path, Some(&copy), 0).unwrap();
        assert_eq!(mode(&copy), 0o600);
        let mut config = Config::default();
        config.keys.file.0 = crate::config::Place::new(&path);
        assert_eq!(cluster_secret(&config).unwrap(), keys.cluster_secret);
        config.keys.file.0 = crate::config::Place::new(folder.path().join("absent"));
        config.cluster.secret_file.0 = crate::config::Place::new(&copy);
        assert_eq!(cluster_secret(&config).unwrap(), keys.cluster_secret);
        fs::write(&copy, "short").unwrap();
        assert!(matches!(cluster_secret(&config), Err(KeysError::Malformed { .. })));
    }
}

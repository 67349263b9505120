//! Goes by the keys file while the house runs: whoever rotates the keys does not have to restart it.

use std::path::PathBuf;
use std::time::Duration;

use tiltyard_lobby::MasterKeys;

use super::{ClusterKeys, KeysError, read};
use crate::house::token_key;
use crate::stop::Stop;

/// How often the file is read; SIGHUP makes it be read at once.
const INTERVAL: Duration = Duration::from_secs(2);

impl ClusterKeys {
    /// The keys of tokens, as the lobby has them.
    pub(crate) fn masters(&self) -> MasterKeys {
        MasterKeys::new(token_key(&self.current), self.previous.as_ref().map(token_key))
    }
}

/// Tells `change` of every change of the keys in a file. Runs until it is dropped.
pub(crate) async fn follow(path: PathBuf, mut known: ClusterKeys, stop: Stop, change: impl Fn(MasterKeys)) {
    let mut last_error = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.reread() => {}
        }
        let file = path.clone();
        let Ok(keys) = tokio::task::spawn_blocking(move || read(&file)).await else { continue };
        match news(&known, keys) {
            Ok(None) => last_error = None,
            Ok(Some(keys)) => {
                last_error = None;
                if keys.cluster_secret != known.cluster_secret {
                    tracing::warn!("the cluster secret changed: only a restart goes by another one");
                }
                tracing::info!(kid = keys.current.kid, "going by new keys");
                change(keys.masters());
                known = keys;
            }
            // Once for each mistake: it is looked at again and again.
            Err(error) if last_error.as_ref() != Some(&error) => {
                tracing::warn!(%error, "keeping the keys that were read before");
                last_error = Some(error);
            }
            Err(_) => {}
        }
    }
}

/// The keys, if they are others than those that are known.
fn news(known: &ClusterKeys, read: Result<ClusterKeys, KeysError>) -> Result<Option<ClusterKeys>, String> {
    let keys = read.map_err(|error| error.to_string())?;
    Ok((keys != *known).then_some(keys))
}

//! Where the nodes of a house are listed: in this process, or in etcd.

use std::sync::Arc;

use tiltyard_cluster::directory::{Directory, MemoryDirectory};

use crate::config::Config;
use crate::exit::Usage;

/// The directory that the configuration chooses. etcd is spoken to when the directory is first used.
///
/// # Errors
/// If etcd is asked for and this build has none, or what leads to it is wrong: addresses, certificates, password.
pub fn open_directory(config: &Config) -> anyhow::Result<Arc<dyn Directory>> {
    if config.cluster.etcd.is_empty() {
        return Ok(Arc::new(MemoryDirectory::new()));
    }
    in_etcd(config)
}

#[cfg(not(feature = "etcd"))]
fn in_etcd(_: &Config) -> anyhow::Result<Arc<dyn Directory>> {
    let how = "the directory is kept in memory; build with --features etcd for cluster.etcd";
    Err(Usage(format!("this build has no etcd: {how}")).into())
}

#[cfg(feature = "etcd")]
fn in_etcd(config: &Config) -> anyhow::Result<Arc<dyn Directory>> {
    use anyhow::Context as _;
    use tiltyard_cluster::directory::EtcdDirectory;
    use tiltyard_cluster::directory::etcd::{EtcdConfig, EtcdTls};

    let cluster = &config.cluster;
    let read = |key: &str, path: &std::path::Path| {
        std::fs::read(path).with_context(|| format!("{key}: {}", path.display()))
    };
    let user = match cluster.etcd_user_file.0.path() {
        Some(path) => {
            let text = String::from_utf8(read("cluster.etcd_user_file", path)?).ok();
            let user = text.as_deref().and_then(|text| text.trim_end().split_once(':'));
            let (name, password) = user.with_context(|| {
                format!("cluster.etcd_user_file: {} does not have the form name:password", path.display())
            })?;
            Some((name.to_owned(), password.to_owned()))
        }
        None => None,
    };
    let certificate = (cluster.etcd_certificate.path(), cluster.etcd_certificate_key.0.path());
    let identity = match certificate {
        (Some(certificate), Some(key)) => {
            Some((read("cluster.etcd_certificate", certificate)?, read("cluster.etcd_certificate_key", key)?))
        }
        (None, None) => None,
        _ => {
            let both =
                "cluster.etcd_certificate and cluster.etcd_certificate_key go together: set both or neither";
            return Err(Usage(both.to_owned()).into());
        }
    };
    let tls = match cluster.etcd_authority.path() {
        Some(path) => Some(EtcdTls { authority: read("cluster.etcd_authority", path)?, identity }),
        None if identity.is_some() => {
            return Err(Usage("cluster.etcd_certificate needs cluster.etcd_authority".to_owned()).into());
        }
        None => None,
    };
    let directory = EtcdDirectory::new(EtcdConfig { urls: cluster.etcd.clone(), user, tls });
    Ok(Arc::new(directory.map_err(|error| Usage(format!("cluster.etcd: {error}")))?))
}

#[cfg(all(test, feature = "etcd"))]
mod tests {
    use super::open_directory;
    use crate::config::{Config, Place, SecretPlace};
    use crate::exit::Exit;

    fn refused(change: impl FnOnce(&mut Config)) -> (Exit, String) {
        let mut config = Config::default();
        config.cluster.etcd = vec!["https://127.0.0.1:2379".to_owned()];
        change(&mut config);
        let error = open_directory(&config).err().expect("it is refused");
        (Exit::from_error(&error), format!("{error:#}"))
    }

    #[test]
    fn what_does_not_lead_to_etcd_is_refused_by_the_name_of_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = folder.path().join("file");
            std::fs::write(&path, text).unwrap();
            path
        };
        let (exit, why) = refused(|config| config.cluster.etcd = vec!["127.0.0.1:2379".to_owned()]);
        assert_eq!(
            (exit, why.as_str()),
            (Exit::Usage, "cluster.etcd: 127.0.0.1:2379 is no address like http://127.0.0.1:2379")
        );
        let (exit, why) = refused(|_| ());
        assert_eq!(exit, Exit::Usage);
        assert!(
            why.starts_with("cluster.etcd: https://127.0.0.1:2379: https:// needs certificates"),
            "{why}"
        );
        let (_, why) = refused(|config| config.cluster.etcd_certificate = Place::new("certificate.pem"));
        assert!(why.contains("go together"), "{why}");
        let (_, why) = refused(|config| config.cluster.etcd_authority = Place::new("/nowhere/authority.pem"));
        assert!(why.starts_with("cluster.etcd_authority: /nowhere/authority.pem"), "{why}");
        let path = file("no password");
        let (_, why) = refused(|config| config.cluster.etcd_user_file = SecretPlace(Place::new(path)));
        assert!(why.contains("name:password"), "{why}");
        assert!(!why.contains("no password"), "{why}");
    }
}

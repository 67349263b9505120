//! Where accounts, battles and results are kept, and how that is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tiltyard_lobby::store::{EmbeddedStore, Store};

use crate::config::{Config, ServiceUrl};
use crate::exit::Usage;

/// Where a house keeps what outlives it.
#[derive(Clone, Debug)]
pub enum StorePlace {
    /// In memory: nothing outlives it.
    Memory,
    /// In a file that this house alone uses.
    File(PathBuf),
    /// In a MongoDB that houses share.
    MongoDb(ServiceUrl),
}

impl StorePlace {
    /// What the configuration says.
    pub fn of(config: &Config) -> Self {
        if config.store.mongodb.is_given() {
            Self::MongoDb(config.store.mongodb.clone())
        } else {
            Self::File(config.data_folder().join("lobby.redb"))
        }
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Memory | Self::MongoDb(_) => None,
        }
    }

    /// Refuses a store that this build has not, by name.
    pub(crate) fn check_built(&self) -> Result<(), Usage> {
        match self {
            Self::MongoDb(_) if !cfg!(feature = "mongodb") => Err(Usage(
                "this build has no mongodb: accounts and results are kept in a file; build with --features mongodb"
                    .to_owned(),
            )),
            Self::Memory | Self::File(_) | Self::MongoDb(_) => Ok(()),
        }
    }

    /// Opens the store.
    pub(crate) async fn open(&self) -> anyhow::Result<Arc<dyn Store>> {
        match self {
            Self::Memory => Ok(Arc::new(EmbeddedStore::in_memory())),
            Self::File(path) => open_file(path.clone()).await,
            Self::MongoDb(url) => open_mongodb(url).await,
        }
    }
}

async fn open_file(path: PathBuf) -> anyhow::Result<Arc<dyn Store>> {
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<EmbeddedStore> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        Ok(EmbeddedStore::open(&path)?)
    });
    Ok(Arc::new(opened.await.context("opening the store")??))
}

#[cfg(feature = "mongodb")]
async fn open_mongodb(url: &ServiceUrl) -> anyhow::Result<Arc<dyn Store>> {
    let store = tiltyard_lobby::store::MongoStore::open(url.as_str()).await;
    Ok(Arc::new(store.context("opening the store")?))
}

#[cfg(not(feature = "mongodb"))]
async fn open_mongodb(url: &ServiceUrl) -> anyhow::Result<Arc<dyn Store>> {
    Err(StorePlace::MongoDb(url.clone()).check_built().expect_err("this build has none").into())
}

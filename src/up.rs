//! `tiltyard up`: the whole house in one process, until it is told to end.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tiltyard_engine::Game;

use crate::config::{Config, Flag};
use crate::exit::Exit;
use crate::house::{House, Plan, StorePlace, board, open_directory, protocol_hash};
use crate::keys::{self, ClusterKeys, KeysError};
use crate::output::Output;
use crate::roles::note_ending;
use crate::stop::{Ending, serve_until_done};
use crate::time::now_unix_ms;

/// How the house is set up.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpArgs {
    /// Battle nodes in this process, instead of the configuration's battle.nodes
    #[arg(long, value_name = "N")]
    nodes: Option<u16>,
    /// Folder for everything that is kept, instead of the configuration's data
    #[arg(long, value_name = "DIR")]
    data: Option<std::path::PathBuf>,
    /// Keep the directory in etcd, instead of the configuration's cluster.etcd: addresses of its members, comma
    /// separated; needs a build with --features etcd
    #[arg(long, value_name = "URL")]
    etcd: Option<String>,
    /// Match players with those of other houses at this Redis, instead of the configuration's queue.redis; needs a
    /// build with --features redis
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Keep accounts and results in a MongoDB, instead of the configuration's store.mongodb
    #[arg(long, value_name = "URL")]
    mongodb: Option<String>,
}

impl UpArgs {
    /// The settings that its flags override.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let nodes = self.nodes.map(|nodes| Flag::new("--nodes", "battle.nodes", nodes.to_string()));
        let data = self.data.as_ref().map(|data| Flag::new("--data", "data", data.to_string_lossy()));
        let etcd = self.etcd.as_ref().map(|urls| Flag::new("--etcd", "cluster.etcd", urls.as_str()));
        let mongodb = self.mongodb.as_ref().map(|url| Flag::new("--mongodb", "store.mongodb", url.clone()));
        let redis = self.redis.as_ref().map(|url| Flag::new("--redis", "queue.redis", url.clone()));
        nodes.into_iter().chain(data).chain(etcd).chain(redis).chain(mongodb).collect()
    }

    /// Runs the house until SIGINT, or until it has drained after SIGTERM.
    pub(crate) fn run<G: Game>(&self, output: Output, config: Config) -> anyhow::Result<Exit> {
        // What is wrong with the services is told before keys are made.
        open_directory(&config)?;
        board(&config, protocol_hash::<G>()?)?;
        StorePlace::of(&config).check_built()?;
        let keys = keys_of(output, &config)?;
        let plan = Plan::new(config, keys);
        serve_until_done(|stop| async move {
            let house = House::<G>::start(&plan).await?;
            announce(output, &house);
            let (path, lobby) = (plan.config.keys_file(), house.lobby());
            let following =
                keys::follow(path, plan.keys.clone(), stop.clone(), |keys| lobby.change_keys(keys));
            tokio::select! {
                () = following => {}
                () = stop.asked() => {}
            }
            note_ending(output, &stop, &plan.config, house.battles());
            if stop.ending() == Some(Ending::Drained) {
                house.drain(Duration::from_secs(plan.config.battle.drain_seconds.into())).await;
            }
            house.close().await;
            Ok(Exit::Fine)
        })
    }
}

/// The keys of the file; a house without any makes its own, once.
fn keys_of(output: Output, config: &Config) -> anyhow::Result<ClusterKeys> {
    let path = config.keys_file();
    match keys::read(&path) {
        Err(KeysError::Missing { .. }) => {}
        read => return read.context("reading keys"),
    }
    let keys =
        keys::create(&path, config.cluster.secret_file.0.path(), now_unix_ms()?).context("making keys")?;
    output.note(format!("made keys in {}; keep the file secret", path.display()));
    Ok(keys)
}

fn announce<G: Game>(output: Output, house: &House<G>) {
    let nodes: Vec<_> = house.nodes().collect();
    let mut lines = vec![format!("gate   {}", house.gate()), format!("http   {}", house.http())];
    for (id, addresses) in &nodes {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        lines.push(format!("{id} {}", addresses.join(" ")));
    }
    lines.push("the house is up; Ctrl-C ends it in order".to_owned());
    output.say(lines.join("\n"));
    let nodes = nodes.iter().map(|(id, addresses)| {
        json!({ "id": id, "address": addresses[0].to_string(), "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>() })
    });
    output.result(&json!({
        "gate": house.gate(),
        "http": house.http(),
        "nodes": nodes.collect::<Vec<_>>(),
    }));
}

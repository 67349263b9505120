//! Settings that a running cluster takes from its directory, over those of each process: `tiltyard config set`.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tiltyard_cluster::directory::Directory;
use tiltyard_cluster::node::{SettingsRecord, View, ViewConfig};

use super::settings::{Config, SETTINGS, Setting};
use super::value::Raw;
use super::{Flag, nearest};
use crate::exit::{Exit, Usage};
use crate::output::Output;
use crate::roles::shared_directory;
use crate::stop::run_until_done;

/// The settings that may change while a cluster runs. None of them is a secret or leads to one.
const LIVE: [&str; 6] = [
    "gate.messages_per_second_max",
    "gate.logins_per_minute_max",
    "gate.tickets_per_minute_max",
    "gate.fresh_battles_per_minute_max",
    "gate.fresh_battles_max",
    "battle.battles_max",
];

/// Which setting, and what it shall be.
#[derive(Clone, Debug, Args)]
pub(crate) struct SetArgs {
    /// The setting's name, such as battle.battles_max
    name: String,
    /// Its value; without one each process goes by its own configuration again
    value: Option<String>,
    /// The members of etcd, instead of the configuration's cluster.etcd; comma separated
    #[arg(long, value_name = "URL")]
    etcd: Option<String>,
}

impl SetArgs {
    /// The settings that its flags override.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        self.etcd.iter().map(|urls| Flag::new("--etcd", "cluster.etcd", urls.as_str())).collect()
    }

    /// Sets it for all processes of the cluster.
    pub(crate) fn run(&self, output: Output, config: &Config) -> anyhow::Result<Exit> {
        check(&self.name, self.value.as_deref())?;
        let directory = shared_directory(config, "`config set`")?;
        run_until_done(|_| async move {
            let (name, value) = (self.name.as_str(), self.value.as_deref());
            let changed = SettingsRecord::change(&directory, &config.cluster.prefix, name, value).await;
            let values = changed.context("changing the cluster's settings")?.values;
            match value {
                Some(value) => output.say(format!("{name} is {value} in all processes of the cluster")),
                None => output.say(format!("{name} is what each process's own configuration says")),
            }
            output.result(&json!({ "name": name, "value": value, "settings": values }));
            Ok(Exit::Fine)
        })
    }
}

/// Refuses what is no live setting, or no value of it.
fn check(name: &str, value: Option<&str>) -> Result<(), Usage> {
    let Some(setting) = live(name) else {
        let known = SETTINGS.iter().any(|setting| setting.key == name);
        return Err(Usage(if known {
            format!("{name}: only a restart changes this setting; live are {}", LIVE.join(", "))
        } else {
            let meant =
                nearest(name, LIVE.into_iter()).map(|it| format!("; is {it} meant?")).unwrap_or_default();
            format!("{name}: there is no such setting{meant}")
        }));
    };
    let Some(value) = value else { return Ok(()) };
    (setting.set)(&mut Config::default(), Raw::Text(value)).map_err(|why| Usage(format!("{name}: {why}")))
}

fn live(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == name && LIVE.contains(&name))
}

/// A configuration with the cluster's settings over it. What this version does not know or take is passed over.
fn with(config: &Config, values: &BTreeMap<String, String>) -> Config {
    let mut changed = config.clone();
    for (name, value) in values {
        match live(name).map(|setting| (setting.set)(&mut changed, Raw::Text(value))) {
            Some(Ok(())) => tracing::info!(name, value, "the cluster's setting"),
            Some(Err(why)) => tracing::warn!(name, why, "a setting of the cluster is not taken"),
            None => tracing::warn!(name, "a setting of the cluster is unknown"),
        }
    }
    changed
}

/// Tells `change` of the configuration whenever the cluster's settings change. Runs until it is dropped.
pub(crate) async fn follow(directory: Arc<dyn Directory>, own: Config, change: impl Fn(&Config)) {
    let view = View::<SettingsRecord>::start(directory, &own.cluster.prefix, ViewConfig::default());
    let mut listed = view.subscribe();
    let mut values = BTreeMap::new();
    while listed.changed().await.is_ok() {
        let now = listed.borrow_and_update().records.values().next().map(|record| record.values.clone());
        let now = now.unwrap_or_default();
        if now != values {
            change(&with(&own, &now));
            values = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use tiltyard_cluster::directory::MemoryDirectory;
    use tiltyard_cluster::node::Keyspace;

    use super::*;

    #[test]
    fn live_settings_are_settings_and_no_secrets() {
        for name in LIVE {
            assert!(live(name).is_some_and(|setting| !setting.secret_file), "{name}");
        }
        let refused = |name, value| check(name, value).unwrap_err().0;
        assert!(refused("keys.file", Some("x")).starts_with("keys.file: only a restart"));
        assert!(refused("battle.battles_mix", Some("1")).contains("battle.battles_max meant?"));
        assert!(refused("battle.battles_max", Some("0")).starts_with("battle.battles_max: "));
        assert!(refused("battle.battles_max", Some("many")).starts_with("battle.battles_max: "));
        assert!(check("battle.battles_max", Some("7")).is_ok() && check("battle.battles_max", None).is_ok());
    }

    #[tokio::test]
    async fn who_follows_is_told_of_each_change_and_goes_back_to_its_own() {
        let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
        let told = Arc::new(Mutex::new(Vec::new()));
        let (tell, mut own) = (Arc::clone(&told), Config::default());
        own.battle.battles_max = 9;
        let change = move |config: &Config| tell.lock().unwrap().push(config.battle.battles_max);
        let following = tokio::spawn(follow(Arc::clone(&directory), own, change));
        let keyspace = Keyspace::default();
        for (value, expected) in [(Some("7"), &[7][..]), (Some("many"), &[7, 9]), (None, &[7, 9, 9])] {
            SettingsRecord::change(&directory, &keyspace, "battle.battles_max", value).await.unwrap();
            tokio::time::timeout(Duration::from_secs(30), async {
                while told.lock().unwrap().as_slice() != expected {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await
            .expect("it is told");
        }
        following.abort();
    }
}

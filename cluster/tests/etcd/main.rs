//! The directory in a real etcd.
//!
//! The conformance runs against the etcd at `ETCD_URL`; every other test starts members of its own, since it stops
//! and breaks them. Where there is no etcd a test says SKIPPED with its name.

mod faults;
mod link;
mod secured;
mod server;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tiltyard_cluster::directory::etcd::EtcdConfig;
use tiltyard_cluster::directory::{Directory, EtcdDirectory};
use tiltyard_cluster::node::Keyspace;
use tiltyard_cluster::testing::{capacity, conformance, elections, placements};

/// Says something past the harness, which keeps what tests print.
fn say(what: &str) {
    writeln!(std::io::stderr(), "{what}").expect("standard error is open");
}

fn skip(name: &str, why: &str) {
    say(&format!("SKIPPED {name}: {why}"));
}

fn directory(urls: &str) -> EtcdDirectory {
    let urls = urls.split(',').map(str::to_owned).collect();
    EtcdDirectory::new(EtcdConfig { urls, ..EtcdConfig::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_conforms() {
    let Ok(urls) = std::env::var("ETCD_URL") else { return skip("etcd_conforms", "ETCD_URL is not set") };
    let prefix = format!("/conformance-{}", std::process::id());
    conformance(Arc::new(directory(&urls)), &prefix, Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn battles_spread_over_nodes_that_are_listed_in_etcd_and_none_is_overfull() {
    let name = "battles_spread_over_nodes_that_are_listed_in_etcd_and_none_is_overfull";
    let Some(server) = server::Server::start(1).await else { return skip(name, "no etcd") };
    let directory: Arc<dyn Directory> = Arc::new(directory(&server.urls()));
    placements(Arc::clone(&directory), &Keyspace::parse("/roomy").unwrap()).await;
    capacity(directory, &Keyspace::parse("/tight").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elections_hold_on_etcd() {
    let name = "elections_hold_on_etcd";
    let Some(server) = server::Server::start(1).await else { return skip(name, "no etcd") };
    // Longer than a busy machine may take to keep a lease alive.
    let ttl = Duration::from_secs(8);
    elections(Arc::new(directory(&server.urls())), &Keyspace::default(), ttl).await;
}

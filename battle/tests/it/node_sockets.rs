//! Whole nodes, with threads and sockets on loopback.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tiltyard_battle::{Node, NodeConfig};
use tiltyard_cluster::NodeId;
use tiltyard_cluster::control::{ClusterKeys, ClusterSecret};
use tiltyard_cluster::directory::{Directory, MemoryDirectory};

use crate::game::Pushing;

fn config(folder: &Path) -> NodeConfig {
    let any = "127.0.0.1:0".parse().unwrap();
    NodeConfig {
        id: NodeId::parse("node-a").unwrap(),
        listen: any,
        control: any,
        workers: 1,
        battles_max: 4,
        recordings: folder.join("recordings"),
        outbox: folder.join("outbox"),
        keyframe_seconds: 10,
        catch_up_max: 5,
        lease: Duration::from_secs(3600),
        load_report: Duration::from_millis(50),
        keys: ClusterKeys::new(ClusterSecret::new(1, &[7; 32]).unwrap(), None),
        build: "test".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_in_order_is_off_every_list_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Arc::new(MemoryDirectory::new());
    let node = Node::<Pushing>::start(config(folder.path()), directory.clone()).await.unwrap();
    assert_eq!(directory.range("/tiltyard").await.unwrap().entries.len(), 1);
    node.shutdown(Duration::from_millis(100)).await;
    assert!(directory.range("/tiltyard").await.unwrap().entries.is_empty(), "its lease has an hour to live");
}

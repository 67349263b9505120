//! An etcd of one test's own, to be stopped, paused and broken.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tiltyard_cluster::directory::Directory as _;
use tokio::time::{Instant, sleep, timeout};

use crate::directory;

/// How long members may take to come up, on a machine that is busy.
const READY_MAX: Duration = Duration::from_secs(60);

/// Members of one cluster; they end with it.
pub(crate) struct Server {
    folder: TempDir,
    members: Vec<Member>,
    arguments: Vec<String>,
    scheme: &'static str,
}

struct Member {
    client: SocketAddr,
    peer: SocketAddr,
    process: Option<Child>,
}

impl Server {
    /// Starts that many members, of which each answers; nothing where etcd is not installed.
    pub(crate) async fn start(members: usize) -> Option<Self> {
        let mut server = Self::with(members, "http", &[])?;
        (0..members).for_each(|member| server.restart(member));
        server.ready().await;
        Some(server)
    }

    /// Prepares members with further arguments and starts none.
    pub(crate) fn with(members: usize, scheme: &'static str, arguments: &[String]) -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err() {
            return None;
        }
        // All ports are held at once, so that they differ.
        let ports: Vec<_> = (0..2 * members).map(|_| free_port()).collect();
        let addresses: Vec<_> = ports.iter().map(|port| port.local_addr().expect("it listens")).collect();
        let members = addresses
            .chunks(2)
            .map(|pair| Member { client: pair[0], peer: pair[1], process: None })
            .collect();
        let folder = tempfile::tempdir().expect("a temporary folder");
        Some(Self { folder, members, arguments: arguments.to_vec(), scheme })
    }

    /// The members' addresses, comma separated.
    pub(crate) fn urls(&self) -> String {
        let url = |member: &Member| format!("{}://{}", self.scheme, member.client);
        self.members.iter().map(url).collect::<Vec<_>>().join(",")
    }

    /// The address of a member.
    pub(crate) fn address(&self, member: usize) -> SocketAddr {
        self.members[member].client
    }

    /// Starts a member that does not run, with what it stored.
    pub(crate) fn restart(&mut self, number: usize) {
        let name = |number: usize| format!("member-{number}");
        let peers: Vec<_> = (0..self.members.len())
            .map(|number| format!("{}=http://{}", name(number), self.members[number].peer))
            .collect();
        let log = File::create(self.folder.path().join(format!("{number}.log"))).expect("a log");
        let member = &mut self.members[number];
        assert!(member.process.is_none(), "it runs");
        let (client, peer) =
            (format!("{}://{}", self.scheme, member.client), format!("http://{}", member.peer));
        let mut etcd = Command::new("etcd");
        etcd.args(["--name", &name(number), "--data-dir"]).arg(self.folder.path().join(name(number)));
        etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        etcd.args(["--initial-cluster", &peers.join(",")]).args(&self.arguments);
        etcd.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        member.process = Some(etcd.spawn().expect("etcd starts"));
    }

    /// Kills a member at once.
    pub(crate) fn kill(&mut self, number: usize) {
        let mut process = self.members[number].process.take().expect("it runs");
        process.kill().expect("it is ours");
        process.wait().expect("it is ours");
    }

    /// Makes a member hang.
    pub(crate) fn pause(&self, number: usize) {
        self.signal(number, "-STOP");
    }

    /// Lets a member go on.
    pub(crate) fn resume(&self, number: usize) {
        self.signal(number, "-CONT");
    }

    fn signal(&self, number: usize, signal: &str) {
        let process = self.members[number].process.as_ref().expect("it runs");
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(sent.expect("there is kill").success());
    }

    /// Waits until every member that runs answers a read that all have to agree on.
    pub(crate) async fn ready(&self) {
        for member in self.members.iter().filter(|member| member.process.is_some()) {
            answers(&directory(&format!("{}://{}", self.scheme, member.client))).await;
        }
    }

    /// The member that leads, as etcd itself says.
    pub(crate) fn leader(&self) -> usize {
        let urls = self.urls();
        let status = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &urls, "endpoint", "status"])
            .output()
            .expect("there is etcdctl");
        let status = String::from_utf8(status.stdout).expect("text");
        // endpoint, id, version, size, is leader, …
        let leads = |line: &str| line.split(", ").nth(4) == Some("true");
        let line = status.lines().find(|line| leads(line)).unwrap_or_else(|| panic!("no leader: {status}"));
        let at = |member: &Member| line.contains(&member.client.to_string());
        self.members.iter().position(at).expect("one of ours leads")
    }
}

/// A port below those that the system gives to connections: a client that tries again and again to reach a member
/// that is down would get the member's own port for its end some day.
fn free_port() -> TcpListener {
    loop {
        let random = RandomState::new().build_hasher().finish() % 10_000;
        let port = u16::try_from(10_000 + random).expect("it is small");
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
        }
    }
}

/// Waits until the directory answers.
pub(crate) async fn answers(directory: &tiltyard_cluster::directory::EtcdDirectory) {
    let started = Instant::now();
    while !matches!(timeout(Duration::from_secs(1), directory.get("/ready")).await, Ok(Ok(_))) {
        assert!(started.elapsed() < READY_MAX, "etcd does not answer");
        sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in self.members.iter_mut().filter_map(|member| member.process.as_mut()) {
            // One that ended by itself is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

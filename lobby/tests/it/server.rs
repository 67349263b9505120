//! A service of one test's own, to be killed, paused and started again.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long it may take to come up, on a machine that is busy.
const READY_MAX: Duration = Duration::from_secs(60);

/// A process that serves at one address for as long as this is there.
pub(crate) struct Server {
    program: String,
    arguments: Vec<String>,
    pub(crate) address: SocketAddr,
    folder: TempDir,
    process: Option<Child>,
}

impl Server {
    /// Starts a program with arguments that are made of its folder and its port.
    pub(crate) async fn start(program: &str, arguments: impl FnOnce(&str, u16) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let arguments = arguments(folder.path().to_str().unwrap(), address.port());
        let mut server = Self { program: program.to_owned(), arguments, address, folder, process: None };
        server.restart().await;
        server
    }

    /// Starts it again, with what it has in its folder, and waits until it takes connections.
    pub(crate) async fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let log = File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let deadline = Instant::now() + READY_MAX;
        while TcpStream::connect(self.address).is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            assert!(Instant::now() < deadline, "{} does not come up: {log:?}", self.program);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Makes it hang.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("it runs");
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// A port below those that the system gives to connections: a client that tries to reach a server that is gone would
/// else sooner or later be given its port.
fn free_address() -> SocketAddr {
    loop {
        let random = u16::from_le_bytes(tiltyard_netcode::system_random());
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + random % 12_000));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

//! The real binary in a folder of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tempfile::TempDir;

/// What the test harness says on standard output before its one test runs.
const HARNESS: &str = "\nrunning 1 test\n";

/// One run of the binary in a folder of its own, with no variable of ours from outside.
pub(crate) struct Program {
    folder: TempDir,
    /// The test of this binary that is the program, instead of the stock binary.
    test: Option<&'static str>,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), test: None }
    }

    /// A test of this binary that is the program for a game of its own: started as a process, it finds the command
    /// line in [`Program::LINE`].
    pub(crate) fn of_test(test: &'static str) -> Self {
        Self { test: Some(test), ..Self::new() }
    }

    /// The variable that holds the command line of a program that is a test.
    pub(crate) const LINE: &str = "PROGRAM_LINE";

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("a file");
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = match self.test {
            None => Command::new(env!("CARGO_BIN_EXE_tiltyard")),
            Some(_) => Command::new(std::env::current_exe().expect("the tests are a file")),
        };
        match self.test {
            None => command.args(line.split_whitespace()),
            // With one thread the harness would say more before it runs the test.
            Some(test) => {
                command.args([test, "--exact", "--nocapture", "--test-threads=2"]).env(Self::LINE, line)
            }
        };
        command.current_dir(self.path()).env("RUST_BACKTRACE", "1");
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TILTYARD_"))
        {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("the binary runs")
    }

    /// Runs with `--json`: the exit code and the one object on standard output.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> (i32, Json) {
        let run = self.run(&format!("--json {line}"));
        let text = String::from_utf8(run.stdout).expect("UTF-8");
        let said = if self.test.is_some() { text.strip_prefix(HARNESS).expect("the harness") } else { &text };
        assert_eq!(said.lines().count(), 1, "{line}: {text}");
        let object: Json = serde_json::from_str(said).expect("JSON");
        assert!(object.is_object());
        (run.status.code().expect("an exit code"), object)
    }

    /// Runs for a person: the exit code, standard output, standard error.
    pub(crate) fn person(&self, line: &str) -> (i32, String, String) {
        let run = self.run(line);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (run.status.code().expect("an exit code"), text(run.stdout), text(run.stderr))
    }
}

/// A house that stays up beside the test: `tiltyard up` on free ports. It is killed when the test fails.
pub(crate) struct Up {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) addresses: Json,
}

impl Up {
    /// Starts it, with battles of three seconds, and waits until it says that it is ready.
    pub(crate) fn start(program: &Program, line: &str) -> Self {
        Self::start_with(program, line, 3)
    }

    /// The same with battles of so many seconds.
    pub(crate) fn start_with(program: &Program, line: &str, battle_seconds: u32) -> Self {
        let mut command = program.command(&format!("--json {line}"));
        for name in ["GATE", "HTTP", "CONTROL"] {
            command.env(format!("TILTYARD_{name}_LISTEN"), "127.0.0.1:0");
        }
        command.env("TILTYARD_BATTLE_SECONDS", battle_seconds.to_string()).env("TILTYARD_LOG", "warn");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut text = String::new();
        if program.test.is_some() {
            HARNESS.lines().for_each(|_| drop(stdout.read_line(&mut text)));
            assert_eq!(std::mem::take(&mut text), HARNESS);
        }
        stdout.read_line(&mut text).expect("the house speaks");
        let addresses = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        Self { child, stdout, addresses }
    }

    pub(crate) fn gate(&self) -> &str {
        self.addresses["gate"].as_str().expect("an address")
    }

    /// Kills it as a fault would: nothing is closed, nothing is said.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is there to be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Sends a signal, such as `-HUP`.
    pub(crate) fn send(&self, signal: &str) {
        send(signal, &self.child);
    }

    /// Asks its operators' address for a page; gives the whole answer, or nothing when nobody answers.
    pub(crate) fn page(&self, path: &str) -> String {
        let http = self.addresses["http"].as_str().expect("an address");
        let mut answer = String::new();
        if let Ok(mut socket) = TcpStream::connect(http.strip_prefix("http://").expect("a URL")) {
            let asked = write!(socket, "GET {path} HTTP/1.1\r\nHost: house\r\n\r\n");
            let _ = asked.and_then(|()| socket.read_to_string(&mut answer));
        }
        answer
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end: the exit code, and what was said after the first line.
    pub(crate) fn interrupt(self) -> (Option<i32>, String) {
        interrupt(&self.child);
        self.ended()
    }

    /// Waits for the end: the exit code, and what was said after the first line.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let code = wait(&mut self.child);
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("the pipe is closed");
        (code, rest)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // After an orderly end there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends SIGINT to a child by its number.
pub(crate) fn interrupt(child: &Child) {
    send("-INT", child);
}

/// Sends a signal, such as `-TERM`, to a child by its number.
pub(crate) fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

/// Waits for a child's end for half a minute at most.
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status.code();
        }
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! What signals ask of the running subcommand.
//!
//! | signal | whoever serves | everybody else |
//! |---|---|---|
//! | SIGINT (Ctrl-C) | ends in order, without what runs | ends in order |
//! | SIGTERM | drains: what runs is finished first, within a grace | ends in order |
//! | SIGHUP | reads its keys anew | ends in order: the terminal is gone |
//! | SIGQUIT, or a second of SIGINT and SIGTERM | ends at once with code 1 | the same |
//! | SIGTSTP | stops until SIGCONT | the same |
//!
//! However it ends or stops, a terminal that was taken is given back first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::exit::Exit;

/// The number of SIGTSTP, which Ctrl-Z sends: tokio has no name for it.
const SIGTSTP: i32 = rustix::process::Signal::TSTP.as_raw();

/// How a run is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Soon and in order.
    InOrder,
    /// In order, after what runs has finished.
    Drained,
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// The terminal is gone, and the run ends.
    Ends,
    /// Files are read anew: see [`Stop::reread`].
    Rereads,
}

/// Tells every part of a run that it is asked to end. Clones share the same wish; it is never taken back.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: watch::Sender<Option<Ending>>,
    reread: Arc<Notify>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { asked: watch::Sender::new(None), reread: Arc::default() }
    }
}

impl Stop {
    /// Listens for signals from now on. A second SIGINT or SIGTERM ends the process at once with code 1, for a run
    /// whose orderly end hangs.
    ///
    /// # Errors
    /// The system refuses the handlers.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn on_signals(hangup: Hangup) -> io::Result<Self> {
        let stop = Self::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangups = signal(SignalKind::hangup())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut suspend = signal(SignalKind::from_raw(SIGTSTP))?;
        let asked = stop.clone();
        tokio::spawn(async move {
            loop {
                let ending = tokio::select! {
                    _ = interrupt.recv() => Ending::InOrder,
                    _ = terminate.recv() => Ending::Drained,
                    _ = quit.recv() => end_at_once(),
                    _ = hangups.recv() => match hangup {
                        // A terminal that goes tells more than once, and nobody is in a hurry.
                        Hangup::Ends => { asked.ask(Ending::InOrder); continue }
                        Hangup::Rereads => { asked.reread.notify_one(); continue }
                    },
                    _ = suspend.recv() => { pause().await; continue }
                };
                if asked.is_asked() {
                    end_at_once();
                }
                tracing::info!("ending in order; a second signal ends at once");
                asked.ask(ending);
            }
        });
        Ok(stop)
    }

    /// Asks for the end, as a signal does; the first wish counts.
    pub fn ask(&self, ending: Ending) {
        self.asked.send_if_modified(|asked| asked.is_none() && asked.replace(ending).is_none());
    }

    /// Whether the end was asked for: for loops that compute and do not await.
    pub fn is_asked(&self) -> bool {
        self.ending().is_some()
    }

    /// How the end was asked for, if it was.
    pub fn ending(&self) -> Option<Ending> {
        *self.asked.borrow()
    }

    /// Waits until files shall be read anew.
    pub async fn reread(&self) {
        self.reread.notified().await;
    }

    /// Waits until the end is asked for; returns at once when it already was.
    pub async fn asked(&self) {
        let mut receiver = self.asked.subscribe();
        // The sender lives in `self`, so the channel cannot close under this borrow.
        let _ = receiver.wait_for(Option::is_some).await;
    }
}

/// Stops the process until it is continued, as SIGTSTP does by itself.
async fn pause() {
    let Ok(mut continued) = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw())) else {
        return;
    };
    crate::play::lend();
    // A process may always stop itself. Its threads go on for a moment, so what it waits for is the continuation.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    continued.recv().await;
    crate::play::take_again();
}

/// For a run that a second signal, or SIGQUIT, wants gone.
fn end_at_once() -> ! {
    crate::play::give_back();
    std::process::exit(i32::from(Exit::Failed.code()));
}

/// Runs asynchronous work to its end on a runtime of its own, with the wish to end from signals in its hand.
/// Threads that are still busy a second after the work ended are left behind.
///
/// # Errors
/// The system refuses threads or signal handlers, or the work fails.
pub fn run_until_done<T, Work>(work: impl FnOnce(Stop) -> Work) -> anyhow::Result<T>
where
    Work: Future<Output = anyhow::Result<T>>,
{
    run(Hangup::Ends, work)
}

/// Does what [`run_until_done`] does for whoever serves: SIGHUP does not end it.
///
/// # Errors
/// As [`run_until_done`].
pub fn serve_until_done<T, Work>(work: impl FnOnce(Stop) -> Work) -> anyhow::Result<T>
where
    Work: Future<Output = anyhow::Result<T>>,
{
    run(Hangup::Rereads, work)
}

fn run<T, Work>(hangup: Hangup, work: impl FnOnce(Stop) -> Work) -> anyhow::Result<T>
where
    Work: Future<Output = anyhow::Result<T>>,
{
    let runtime = Builder::new_multi_thread().enable_all().build().context("starting threads")?;
    let result = runtime.block_on(async {
        let stop = Stop::on_signals(hangup).context("listening for signals")?;
        work(stop).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_reaches_waiters_before_and_after() {
        let stop = Stop::default();
        assert!(!stop.is_asked());
        let waiter = tokio::spawn({
            let stop = stop.clone();
            async move { stop.asked().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        stop.ask(Ending::Drained);
        stop.ask(Ending::InOrder);
        waiter.await.expect("the waiter ends");
        stop.asked().await;
        assert_eq!(stop.ending(), Some(Ending::Drained), "the first wish counts");
    }

    #[test]
    fn a_real_sigterm_is_a_wish_and_not_the_end() {
        let pid = std::process::id().to_string();
        let result = run_until_done(|stop| async move {
            assert!(!stop.is_asked());
            let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status().context("kill")?;
            assert!(sent.success());
            stop.asked().await;
            Ok(7)
        });
        assert_eq!(result.expect("the work ends by itself"), 7);
    }

    #[test]
    fn a_thread_that_hangs_does_not_hold_the_end_up() {
        let (release, hanging) = std::sync::mpsc::channel::<()>();
        run_until_done(|_| async move {
            tokio::task::spawn_blocking(move || hanging.recv());
            Ok(())
        })
        .expect("the work ends");
        drop(release);
    }
}

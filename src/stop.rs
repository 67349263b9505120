//! Ending in order: Ctrl-C and SIGTERM ask the running subcommand to finish, a second one ends at once.

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Exit;

/// Tells every part of a run that it is asked to end. Clones share the same wish; it is never taken back.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { asked: watch::Sender::new(false) }
    }
}

impl Stop {
    /// Listens for SIGINT and SIGTERM from now on. A second signal ends the process at once with code 1, for a run
    /// whose orderly end hangs.
    ///
    /// # Errors
    /// The system refuses the handlers.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let asked = stop.clone();
        tokio::spawn(async move {
            for count in 1_u32.. {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if count > 1 {
                    crate::play::give_back();
                    std::process::exit(i32::from(Exit::Failed.code()));
                }
                tracing::info!("ending in order; a second signal ends at once");
                asked.ask();
            }
        });
        Ok(stop)
    }

    /// Asks for the end, as a signal does.
    pub fn ask(&self) {
        self.asked.send_replace(true);
    }

    /// Whether the end was asked for: for loops that compute and do not await.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until the end is asked for; returns at once when it already was.
    pub async fn asked(&self) {
        let mut receiver = self.asked.subscribe();
        // The sender lives in `self`, so the channel cannot close under this borrow.
        let _ = receiver.wait_for(|asked| *asked).await;
    }
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
    let runtime = Builder::new_multi_thread().enable_all().build().context("starting threads")?;
    let result = runtime.block_on(async {
        let stop = Stop::on_signals().context("listening for signals")?;
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
        stop.ask();
        waiter.await.expect("the waiter ends");
        stop.asked().await;
        assert!(stop.is_asked());
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

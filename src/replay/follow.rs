//! `replay follow`: a recording that is being written now, shown as far as it is there.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tiltyard_engine::Game;
use tiltyard_replay::{HeaderError, PlayError, ReadError, SimulateError};
use tokio::time::sleep;

use super::watch::{Growth, ViewArgs, Watch};
use crate::exit::Exit;
use crate::output::Output;
use crate::stop::{Stop, run_until_done};

/// How often it is looked whether the recording has begun.
const LOOK: Duration = Duration::from_millis(200);

/// Which recording, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct FollowArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Begin at this tick instead of the newest
    #[arg(long, value_name = "T")]
    from: Option<u32>,
    /// End when nothing was written for so many seconds, as after its writer was killed
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u32>,
    #[command(flatten)]
    view: ViewArgs,
}

impl FollowArgs {
    /// Runs the subcommand.
    pub(super) fn run<G: Game>(&self, output: Output) -> anyhow::Result<Exit> {
        run_until_done(|stop| async move {
            let idle = self.idle.map(|seconds| Duration::from_secs(seconds.into()));
            let growth = Growth::of(&self.file);
            let Some(mut watch) = self.begin::<G>(output, &growth, idle, &stop).await? else {
                anyhow::bail!("{}: the recording has not begun yet", self.file.display());
            };
            watch.deck.live = !watch.film.is_complete();
            watch.deck.go(self.from.unwrap_or(watch.deck.last));
            if self.view.is_text(output) {
                watch.print_live(growth, idle, &stop).await?;
            } else {
                watch.in_terminal(Some((growth, idle)), &stop).await?;
            }
            Ok(watch.conclude())
        })
    }

    /// Waits until there is something to show; nothing if that does not come.
    async fn begin<G: Game>(
        &self,
        output: Output,
        growth: &Growth,
        idle: Option<Duration>,
        stop: &Stop,
    ) -> anyhow::Result<Option<Watch<'_, G>>> {
        loop {
            match Watch::open(output, &self.file, &self.view) {
                Err(error) if error.downcast_ref().is_some_and(is_too_early) => {}
                opened => return opened.map(Some).context("following"),
            }
            if idle.is_some_and(|idle| growth.idle() > idle) {
                return Ok(None);
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stop.asked() => return Ok(None),
            }
        }
    }
}

/// Whether a recording cannot be opened because its head, or a later part's first keyframe, is still to come.
fn is_too_early(error: &PlayError) -> bool {
    matches!(
        error,
        PlayError::Read(ReadError::Header(HeaderError::Torn))
            | PlayError::Simulate(SimulateError::NoState { .. })
    )
}

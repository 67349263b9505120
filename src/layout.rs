//! `tiltyard layout`: the layout of a game's records, for clients that have no engine.

use clap::Args;
use serde_json::json;
use tiltyard_engine::{Game, Registry};

use crate::exit::Exit;
use crate::output::Output;

/// There is nothing to choose.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LayoutArgs {}

impl LayoutArgs {
    /// Prints the layout, its hash first.
    pub(crate) fn run<G: Game>(self, output: Output) -> anyhow::Result<Exit> {
        let registry = Registry::of::<G>()?;
        let (hash, layout) = (registry.protocol_hash::<G>(), registry.layout::<G>());
        output.say(format!("# protocol hash {hash}\n{}", layout.trim_end()));
        output.result(&json!({ "game": G::NAME, "protocol_hash": hash.to_string(), "layout": layout }));
        Ok(Exit::Fine)
    }
}

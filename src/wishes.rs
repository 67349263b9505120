//! Feeds, lanes and scripts as they are wished for on the command line.

use clap::ValueEnum;
use tiltyard_client::FeedWish;
use tiltyard_netcode::LaneWish;

/// A lane by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LaneName {
    /// KCP while the path is clean, datagrams from the first sign of loss
    #[default]
    Auto,
    /// Always the reliable lane
    Kcp,
    /// Always datagrams
    Datagram,
}

impl From<LaneName> for LaneWish {
    fn from(name: LaneName) -> Self {
        match name {
            LaneName::Auto => Self::Auto,
            LaneName::Kcp => Self::Kcp,
            LaneName::Datagram => Self::Datagram,
        }
    }
}

/// A feed by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FeedName {
    /// States, as differences to what the player has
    Snapshot,
    /// The inputs of each tick; the player computes the states
    Frame,
    /// Snapshots on even seats, frames on odd ones
    #[default]
    Mixed,
}

impl From<FeedName> for FeedWish {
    fn from(name: FeedName) -> Self {
        match name {
            FeedName::Snapshot => Self::Snapshot,
            FeedName::Frame => Self::Frame,
            FeedName::Mixed => Self::Mixed,
        }
    }
}

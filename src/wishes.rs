//! Feeds, lanes and bad links as they are wished for on the command line.

use clap::{Args, ValueEnum};
use tiltyard_client::FeedWish;
use tiltyard_netcode::link::LinkConfig;
use tiltyard_netcode::{LaneWish, Transport, TransportWish};

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

/// A transport by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportName {
    /// UDP; TCP if that does not answer within a second, and then a WebSocket in TLS; QUIC before TCP where it is built in
    #[default]
    Auto,
    /// UDP or nothing
    Udp,
    /// TCP or nothing
    Tcp,
    /// A WebSocket in TLS or nothing
    Websocket,
    /// QUIC or nothing
    #[cfg(feature = "quic")]
    Quic,
}

impl From<TransportName> for TransportWish {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Auto => Self::Auto,
            TransportName::Udp => Self::Only(Transport::Udp),
            TransportName::Tcp => Self::Only(Transport::Tcp),
            TransportName::Websocket => Self::Only(Transport::WebSocket),
            #[cfg(feature = "quic")]
            TransportName::Quic => Self::Only(Transport::Quic),
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

/// The longest delay and jitter, milliseconds: longer ones are no link that a session survives.
const DELAY_MS_MAX: u64 = 10_000;

/// A bad link, if one is wished for.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct LinkArgs {
    /// Datagrams that a bad link loses each way, in percent, such as 5 or 0.25
    #[arg(long, value_name = "%", default_value = "0", value_parser = percent)]
    loss: u32,
    /// Time that every datagram takes each way, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=DELAY_MS_MAX))]
    delay: u64,
    /// At most so much more each way, drawn evenly, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=DELAY_MS_MAX))]
    jitter: u64,
    /// Datagrams that are held back each way so that later ones overtake them, in percent
    #[arg(long, value_name = "%", default_value = "0", value_parser = percent)]
    reorder: u32,
    /// Datagrams that arrive twice, in percent
    #[arg(long, value_name = "%", default_value = "0", value_parser = percent)]
    duplicate: u32,
}

impl LinkArgs {
    /// The link; nothing if none is wished for.
    pub(crate) fn link(self) -> Option<LinkConfig> {
        let Self { loss, delay: delay_ms, jitter: jitter_ms, reorder, duplicate } = self;
        let link = LinkConfig { delay_ms, jitter_ms, loss, reorder, duplicate };
        (link != LinkConfig::default()).then_some(link)
    }
}

/// A share as it is written in percent, in hundredths of a percent.
fn percent(text: &str) -> Result<u32, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 2 {
        return Err("write a number from 0 to 100 with two decimals at most".to_owned());
    }
    let hundredths = format!("{whole}{part:0<2}").parse().ok().filter(|hundredths| *hundredths <= 10_000);
    hundredths.ok_or_else(|| "a share is at most 100 percent".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_to_the_hundredth_of_a_percent() {
        for (text, hundredths) in
            [("0", 0), ("5", 500), ("0.25", 25), ("1.5", 150), ("99.99", 9_999), ("100.00", 10_000)]
        {
            assert_eq!(percent(text), Ok(hundredths), "{text}");
        }
        for text in [
            "",
            ".",
            "5.",
            ".5",
            "-1",
            "+1",
            "1e1",
            "NaN",
            "0.001",
            "100.01",
            "101",
            "5%",
            "99999999999999999999",
        ] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_link_that_does_nothing_is_none() {
        assert_eq!(LinkArgs::default().link(), None);
        let link = LinkArgs { jitter: 1, ..LinkArgs::default() }.link();
        assert_eq!(link, Some(LinkConfig { jitter_ms: 1, ..LinkConfig::default() }));
    }
}

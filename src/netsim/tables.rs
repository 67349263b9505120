//! Every feed on every lane over links that lose more and more: the tables of docs/netcode.md.

use serde_json::{Value, json};
use tiltyard_client::FeedWish;
use tiltyard_engine::{Game, StartError, TickRate};
use tiltyard_netcode::LaneWish;
use tiltyard_netcode::link::LinkConfig;

use super::run::{Figures, Plan};

/// Losses, in percent.
pub(super) const LOSSES: [u32; 5] = [0, 1, 5, 10, 20];
pub(super) const LANES: [(&str, LaneWish); 3] =
    [("auto", LaneWish::Auto), ("kcp", LaneWish::Kcp), ("datagram", LaneWish::Datagram)];
pub(super) const FEEDS: [(&str, FeedWish); 2] =
    [("snapshot", FeedWish::Snapshot), ("frame", FeedWish::Frame)];
/// The lane on which the players also predict: it costs time, and is the same on all.
const PREDICTING: &str = "auto";
/// How many there are of all.
pub(super) const CELLS: u64 = (LOSSES.len() * LANES.len() * FEEDS.len()) as u64;

/// The way of every datagram: 40 to 60 ms.
const LINK: LinkConfig = LinkConfig { delay_ms: 40, jitter_ms: 20, loss: 0, reorder: 0, duplicate: 0 };

/// One feed on one lane over one link.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) feed: &'static str,
    pub(super) lane: &'static str,
    /// Percent.
    pub(super) loss: u32,
    pub(super) figures: Figures,
}

impl Cell {
    pub(super) fn name(&self) -> String {
        format!("{} feed, lane {}, {} % lost", self.feed, self.lane, self.loss)
    }

    pub(super) fn object(&self) -> Value {
        json!({
            "feed": self.feed,
            "lane": self.lane,
            "loss": self.loss,
            "figures": super::object(&self.figures),
        })
    }
}

/// Simulates all of them, feed by feed and lane by lane.
pub(super) fn run<G: Game>(
    players: u16,
    rate: TickRate,
    minutes: u32,
    seed: u64,
    mut done: impl FnMut(),
) -> Result<Vec<Cell>, StartError> {
    let mut cells = Vec::new();
    for (feed, feed_wish) in FEEDS {
        for (lane, lane_wish) in LANES {
            for loss in LOSSES {
                let link = LinkConfig { loss: loss * 100, ..LINK };
                let plan = Plan {
                    players,
                    rate,
                    link,
                    lane: lane_wish,
                    feed: feed_wish,
                    minutes,
                    seed,
                    predicts: lane == PREDICTING,
                };
                cells.push(Cell { feed, lane, loss, figures: plan.run::<G>(|_| {})? });
                done();
            }
        }
    }
    Ok(cells)
}

/// The tables as Markdown: one for each feed, and one of the prediction.
pub(super) fn markdown(cells: &[Cell]) -> String {
    let mut text = String::new();
    for (feed, _) in FEEDS {
        text.push_str(&format!(
            "### The {feed} feed\n\n\
             | lane | lost % | state age p50 | p99 | max ms | input to state p50 | p99 ms | missed inputs % | \
             B/s up | B/s down |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        ));
        for cell in cells.iter().filter(|cell| cell.feed == feed) {
            let Figures { state_age, input_to_state, .. } = &cell.figures;
            let (up, down) = cell.figures.bytes_per_player_s();
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} | {} | {} | {:.3} | {up} | {down} |\n",
                cell.lane,
                cell.loss,
                state_age.quantile_ms(0.5),
                state_age.quantile_ms(0.99),
                state_age.max_ms(),
                input_to_state.quantile_ms(0.5),
                input_to_state.quantile_ms(0.99),
                cell.figures.missed_percent(),
            ));
        }
        text.push('\n');
    }
    text.push_str(
        "### Prediction of the own pose, lane auto\n\n\
         | feed | lost % | states confirmed | off % | off by mean | p99 m | jumps | ticks computed a tick |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for cell in cells.iter().filter(|cell| cell.lane == PREDICTING) {
        let Some(prediction) = &cell.figures.prediction else { continue };
        let confirmed = prediction.confirmed().max(1) as f64;
        text.push_str(&format!(
            "| {} | {} | {} | {:.2} | {:.4} | {:.3} | {} | {:.1} |\n",
            cell.feed,
            cell.loss,
            prediction.confirmed(),
            prediction.corrections as f64 * 100.0 / confirmed,
            prediction.error_mean_m(),
            prediction.error_quantile_m(0.99),
            prediction.jumps,
            prediction.ticks as f64 / cell.figures.inputs_due.max(1) as f64,
        ));
    }
    text.truncate(text.trim_end().len());
    text
}

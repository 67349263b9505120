//! How old the newest state is over what the link loses, as an SVG: a panel for each feed, a colour for each lane, half of
//! the time dashed and 99 of 100 milliseconds drawn through. The age is logarithmic.

use std::fmt::Write as _;

use super::tables::{Cell, FEEDS, LANES, LOSSES};

/// Size of the drawing and of a panel's plot, and where the first plot begins.
const SIZE: (f64, f64) = (900.0, 430.0);
const PLOT: (f64, f64) = (340.0, 300.0);
const ORIGIN: (f64, f64) = (70.0, 70.0);
/// From one panel to the next.
const STRIDE: f64 = 420.0;
const COLOURS: [&str; 3] = ["#1f5fbf", "#bf5f1f", "#2f8f4f"];

/// Draws the cells.
pub(super) fn draw(cells: &[Cell]) -> String {
    let ages = || {
        cells
            .iter()
            .flat_map(|cell| [0.5, 0.99].map(|share| cell.figures.state_age.quantile_ms(share).max(1)))
    };
    let low = (ages().min().unwrap_or(1) as f64).log2().floor();
    let high = (ages().max().unwrap_or(2) as f64).log2().ceil().max(low + 1.0);
    let loss_max = f64::from(LOSSES.into_iter().max().unwrap_or(1));
    let y = |ms: f64| ORIGIN.1 + PLOT.1 * (1.0 - (ms.max(1.0).log2() - low) / (high - low));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"28\" font-size=\"17\">Age of the newest state over loss each way, 40 to 60 ms one way</text>\n",
        SIZE.0, SIZE.1, ORIGIN.0
    );
    let mut put = |line: std::fmt::Arguments<'_>| writeln!(svg, "{line}").expect("a string takes everything");
    for (panel, (feed, _)) in FEEDS.iter().enumerate() {
        let left = ORIGIN.0 + STRIDE * panel as f64;
        let (right, bottom) = (left + PLOT.0, ORIGIN.1 + PLOT.1);
        let x = |loss: u32| left + PLOT.0 * f64::from(loss) / loss_max;
        put(format_args!("<text x=\"{left}\" y=\"{}\">{feed} feed</text>", ORIGIN.1 - 12.0));
        for loss in LOSSES {
            let at = x(loss);
            put(format_args!("<path d=\"M{at:.1} {}V{bottom}\" stroke=\"#ddd\"/>", ORIGIN.1));
            put(format_args!(
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{loss} %</text>",
                bottom + 20.0
            ));
        }
        let mut log = low;
        while log <= high {
            let (ms, at) = (log.exp2(), y(log.exp2()));
            put(format_args!("<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>"));
            put(format_args!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>",
                left - 8.0,
                at + 4.0
            ));
            log += 1.0;
        }
        for ((lane, _), colour) in LANES.iter().zip(COLOURS) {
            for (share, dashes) in [(0.5, " stroke-dasharray=\"5 4\""), (0.99, "")] {
                let of = |cell: &&Cell| cell.feed == *feed && cell.lane == *lane;
                let points: Vec<_> = cells
                    .iter()
                    .filter(of)
                    .map(|cell| {
                        let ms = cell.figures.state_age.quantile_ms(share) as f64;
                        format!("{:.1},{:.1}", x(cell.loss), y(ms))
                    })
                    .collect();
                put(format_args!(
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}>\
                     <title>{feed} feed, lane {lane}, {share}</title></polyline>",
                    points.join(" ")
                ));
            }
        }
    }
    for (index, ((lane, _), colour)) in LANES.iter().zip(COLOURS).enumerate() {
        let at = ORIGIN.0 + 110.0 * index as f64;
        let line = SIZE.1 - 12.0;
        put(format_args!("<text x=\"{at}\" y=\"{line}\" fill=\"{colour}\">lane {lane}</text>"));
    }
    put(format_args!(
        "<text x=\"{}\" y=\"{}\" fill=\"#555\">through: 99 of 100 milliseconds; dashed: half of them</text>",
        ORIGIN.0 + STRIDE,
        SIZE.1 - 12.0
    ));
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netsim::run::Figures;

    #[test]
    fn every_lane_of_every_feed_has_both_its_lines_with_a_point_for_each_loss() {
        let mut cells = Vec::new();
        for (feed, _) in FEEDS {
            for (lane, _) in LANES {
                for loss in LOSSES {
                    let mut figures = Figures::default();
                    figures.state_age.record(64 + u64::from(loss));
                    cells.push(Cell { feed, lane, loss, figures });
                }
            }
        }
        let svg = draw(&cells);
        assert_eq!(svg.matches("<polyline").count(), FEEDS.len() * LANES.len() * 2);
        let line = svg.lines().find(|line| line.contains("<polyline")).expect("a line");
        assert_eq!(line.matches(',').count() - 2, LOSSES.len(), "{line}");
        // 64 ms is the lowest line, and 20 % the right border.
        assert!(line.contains("points=\"70.0,370.0") && line.contains(" 410.0,"), "{line}");
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
}

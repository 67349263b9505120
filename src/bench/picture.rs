//! The cost of a tick over the number of actors, as an SVG: both axes logarithmic, so that what grows linearly is a line
//! as steep as the dashed one.

use std::fmt::Write as _;

use super::figures::Figures;

/// Size of the drawing, and what is left to each side of the plot for labels: left, right, top, bottom.
const SIZE: (f64, f64) = (760.0, 500.0);
const MARGINS: (f64, f64, f64, f64) = (80.0, 130.0, 60.0, 60.0);

/// One scene.
#[derive(Clone, Debug)]
pub(super) struct Point {
    name: String,
    actors: f64,
    tick_us: f64,
    limit_us: Option<f64>,
}

impl Point {
    pub(super) fn of(name: &str, figures: &Figures) -> Self {
        Self {
            name: name.to_owned(),
            actors: figures.actors.max(1) as f64,
            tick_us: figures.tick.p50_us,
            limit_us: figures.limit.map(|limit| limit.p50_us),
        }
    }
}

/// Powers of ten from below the least value to above the greatest.
fn decades(values: impl Iterator<Item = f64>) -> (i32, i32) {
    let logs = values.map(|value| value.max(1e-3).log10());
    let (low, high) = logs.fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
    let low = low.floor() as i32;
    (low, (high.ceil() as i32).max(low + 1))
}

/// Draws the points, which are at least one.
pub(super) fn draw(game: &str, points: &[Point]) -> String {
    let (left, right, top, bottom) = MARGINS;
    let (width, height) = (SIZE.0 - left - right, SIZE.1 - top - bottom);
    let (x_low, x_high) = decades(points.iter().map(|point| point.actors));
    let values = points.iter().flat_map(|point| [Some(point.tick_us), point.limit_us]).flatten();
    let (y_low, y_high) = decades(values);
    let share = |log: f64, (low, high): (i32, i32)| (log - f64::from(low)) / f64::from(high - low);
    let x = |actors: f64| left + width * share(actors.log10(), (x_low, x_high));
    let y = |us: f64| top + height * (1.0 - share(us.max(1e-3).log10(), (y_low, y_high)));

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{left}\" y=\"30\" font-size=\"17\">{}: a tick with its state hash, over the number of actors</text>\n",
        SIZE.0,
        SIZE.1,
        escaped(game),
    );
    let mut put = |line: std::fmt::Arguments<'_>| writeln!(svg, "{line}").expect("a string takes everything");
    let (end_x, end_y) = (left + width, top + height);
    for power in x_low..=x_high {
        let (value, at) = (10_f64.powi(power), x(10_f64.powi(power)));
        put(format_args!("<path d=\"M{at:.1} {top}V{end_y}\" stroke=\"#ddd\"/>"));
        put(format_args!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>", end_y + 20.0));
    }
    for power in y_low..=y_high {
        let (value, at) = (10_f64.powi(power), y(10_f64.powi(power)));
        put(format_args!("<path d=\"M{left} {at:.1}H{end_x}\" stroke=\"#ddd\"/>"));
        put(format_args!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value} µs</text>",
            left - 8.0,
            at + 4.0
        ));
    }
    put(format_args!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">actors</text>",
        left + width / 2.0,
        end_y + 45.0
    ));

    // As steep as what grows linearly, through the last point.
    if let Some(last) = points.last() {
        let first_us = last.tick_us * points[0].actors / last.actors;
        put(format_args!(
            "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#999\" stroke-dasharray=\"4 4\"/>",
            x(points[0].actors),
            y(first_us),
            x(last.actors),
            y(last.tick_us),
        ));
        put(format_args!(
            "<text x=\"{}\" y=\"{}\" fill=\"#777\">dashed: linear</text>",
            left + 12.0,
            top + 20.0
        ));
    }
    let engine: Vec<_> = points.iter().map(|point| (point, point.tick_us)).collect();
    let by_hand: Vec<_> = points.iter().filter_map(|point| Some((point, point.limit_us?))).collect();
    for (label, colour, series, above) in
        [("engine", "#1f5fbf", engine, true), ("by hand", "#bf5f1f", by_hand, false)]
    {
        let Some((last, last_us)) = series.last() else { continue };
        let line: Vec<_> =
            series.iter().map(|(point, us)| format!("{:.1},{:.1}", x(point.actors), y(*us))).collect();
        put(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        ));
        for (point, us) in &series {
            let (x, y) = (x(point.actors), y(*us));
            put(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"><title>{}: {us:.2} µs</title></circle>",
                escaped(&point.name)
            ));
            let (dx, anchor) = if above { (-8.0, "end") } else { (8.0, "start") };
            let dy = if above { -8.0 } else { 18.0 };
            put(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{us:.1}</text>",
                x + dx,
                y + dy
            ));
        }
        let shift = if above { -14.0 } else { 4.0 };
        put(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{label}</text>",
            x(last.actors) + 40.0,
            y(*last_us) + shift
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

/// A name as XML may have it.
fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, actors: f64, tick_us: f64, limit_us: Option<f64>) -> Point {
        Point { name: name.to_owned(), actors, tick_us, limit_us }
    }

    #[test]
    fn every_point_is_drawn_and_linear_cost_is_a_straight_line() {
        let points = [
            point("small", 10.0, 1.0, Some(0.5)),
            point("a<b", 100.0, 10.0, Some(5.0)),
            point("large", 1000.0, 100.0, Some(50.0)),
        ];
        let svg = draw("skirmish", &points);
        assert_eq!(svg.matches("<circle").count(), 6);
        assert!(svg.contains("a&lt;b: 10.00 µs") && svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        // x from 80 to 630, y from 440 to 60 over three decades: the engine's line goes through their thirds.
        let line = |svg: &str| svg.lines().find(|line| line.contains("polyline")).expect("a line").to_owned();
        let (first, middle, last) = ("80.0,", "355.0,", "630.0,");
        for place in [first, middle, last] {
            assert!(line(&svg).contains(place), "{}", line(&svg));
        }
    }

    #[test]
    fn a_game_with_one_scene_and_nothing_by_hand_is_drawn_too() {
        let svg = draw("waiting", &[point("short", 1.0, 0.3, None)]);
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(!svg.contains("by hand") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}

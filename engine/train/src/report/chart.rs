//! Owns a chart of lines as SVG.
//!
//! Refuses to know what the lines are. Points that are no numbers are left out. Bound: the points.

use std::fmt::Write;

use super::escaped;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
/// Room for numbers at the left and below, for names above.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;
/// Points of a line that are few enough to be marked.
const MARKED_MAX: usize = 60;

/// A line.
pub(super) struct Series<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// One direction of a chart: numbers, and where they are drawn.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let ends = (f64::INFINITY, f64::NEG_INFINITY);
        let (least, most) = values.fold(ends, |(a, b), value| (a.min(value), b.max(value)));
        match () {
            () if least > most => Self { least: 0.0, most: 1.0, from, to },
            () if least == most => Self { least: least - 0.5, most: most + 0.5, from, to },
            () => Self { least, most, from, to },
        }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.least) / (self.most - self.least) * (self.to - self.from)
    }

    /// The same from a round number to a round number.
    fn widened(self) -> Self {
        let step = self.tick_step();
        let (least, most) = ((self.least / step).floor() * step, (self.most / step).ceil() * step);
        Self { least, most, ..self }
    }

    /// How far one round number is from the next.
    fn tick_step(&self) -> f64 {
        let rough = (self.most - self.least) / 5.0;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * power);
        step.into_iter().find(|step| *step >= rough).unwrap_or(rough)
    }

    /// Round numbers along it, and how many decimals they have.
    fn ticks(&self) -> (Vec<f64>, usize) {
        let step = self.tick_step();
        // What is round but for the last bits is round.
        let first = (self.least / step - 1e-9).ceil() as i64;
        let last = (self.most / step + 1e-9).floor() as i64;
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        ((first..=last.min(first + 20)).map(|tick| tick as f64 * step).collect(), decimals)
    }
}

/// A chart of these lines, the first two in colours of their own.
pub(super) fn chart(title: &str, below: &str, series: &[Series<'_>]) -> String {
    let finite = |(x, y): &&(f64, f64)| x.is_finite() && y.is_finite();
    let all = || series.iter().flat_map(|series| &series.points).filter(finite);
    let across = Axis::of(all().map(|(x, _)| *x), LEFT, WIDTH - RIGHT);
    let up = Axis::of(all().map(|(_, y)| *y), HEIGHT - BOTTOM, TOP).widened();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escaped(title)
    );
    let (ticks, decimals) = up.ticks();
    // Writing to a `String` cannot fail, here and below.
    for tick in ticks {
        let (y, x, end) = (up.at(tick), LEFT - 8.0, WIDTH - RIGHT);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\"/>\
             <text x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">{tick:.decimals$}</text>",
            y + 4.0
        );
    }
    let (ticks, decimals) = across.ticks();
    for tick in ticks {
        let (x, y) = (across.at(tick), HEIGHT - BOTTOM + 18.0);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{tick:.decimals$}</text>"
        );
    }
    let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0);
    let below = escaped(below);
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{below}</text>");
    let mut name_x = LEFT;
    for (index, series) in series.iter().enumerate() {
        let points = series.points.iter().filter(finite);
        let points: Vec<(f64, f64)> = points.map(|(x, y)| (across.at(*x), up.at(*y))).collect();
        let text: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let text = text.join(" ");
        let _ = writeln!(svg, "<polyline class=\"line line-{index}\" points=\"{text}\"/>");
        if points.len() <= MARKED_MAX {
            for (x, y) in points {
                let _ = write!(
                    svg,
                    "<circle class=\"dot-{index}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
                );
            }
            svg.push('\n');
        }
        let (name, x) = (escaped(series.name), name_x + 18.0);
        let _ = writeln!(
            svg,
            "<rect class=\"dot-{index}\" x=\"{name_x}\" y=\"8\" width=\"12\" height=\"12\"/>\
             <text x=\"{x}\" y=\"18\">{name}</text>"
        );
        name_x += 40.0 + 7.0 * series.name.chars().count() as f64;
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let check = |least: f64, most: f64, expected: &[f64], decimals: usize| {
            let axis = Axis::of([least, most].into_iter(), 0.0, 1.0);
            let (ticks, found) = axis.ticks();
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
            assert!(ticks.iter().zip(expected).all(near), "{ticks:?}");
            assert_eq!((ticks.len(), found), (expected.len(), decimals), "{ticks:?}");
        };
        check(0.0, 1.0, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 1);
        check(1.0, 360.0, &[100.0, 200.0, 300.0], 0);
        check(0.051, 2.32, &[0.5, 1.0, 1.5, 2.0], 1);
        check(0.9, 0.93, &[0.9, 0.91, 0.92, 0.93], 2);
        check(3.0, 3.0, &[2.6, 2.8, 3.0, 3.2, 3.4], 1);
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let points = vec![(1.0, f64::NAN), (2.0, 0.5), (3.0, f64::INFINITY), (4.0, 1.0)];
        let svg = chart("<t>", "x", &[Series { name: "a & b", points }]);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("&lt;t&gt;") && svg.contains("a &amp; b"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let empty = chart("t", "x", &[Series { name: "none", points: Vec::new() }]);
        assert!(empty.contains("points=\"\""));
    }
}

//! A picture of lines over two logarithmic axes, as SVG.
//!
//! It is shown on pages whose background nobody knows: so it has none of its own, and says its colours twice, for those
//! who prefer dark pages too. Every line has its name at its end, since colours alone are told apart by few.
//!
//! This module must not know what the lines are.

use std::fmt::Write as _;

/// The canvas. On the right is room for the names of the lines.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 56.0;

/// Two names are at least so far apart.
const NAME_HEIGHT: f64 = 17.0;

/// Colours of the lines on light and on dark pages. There are never more lines than this.
const COLOURS: [(&str, &str); 4] =
    [("#0550ae", "#79c0ff"), ("#bc4c00", "#ffa657"), ("#1a7f37", "#7ee787"), ("#8250df", "#d2a8ff")];

/// What is drawn.
#[derive(Debug)]
pub(crate) struct Picture<'a> {
    pub(crate) title: &'a str,
    pub(crate) across: &'a str,
    pub(crate) up: &'a str,
    /// Every one of these has its mark on the horizontal axis.
    pub(crate) marks: &'a [f64],
    pub(crate) lines: Vec<Line<'a>>,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
    /// A limit, not a measurement at each point.
    pub(crate) dashed: bool,
}

impl Picture<'_> {
    /// The picture. `None`: there is nothing to draw.
    pub(crate) fn to_svg(&self) -> Option<String> {
        let points = || self.lines.iter().flat_map(|line| &line.points).filter(|(x, y)| *x > 0.0 && *y > 0.0);
        let across = Axis::over(points().map(|point| point.0), LEFT, WIDTH - RIGHT)?;
        let up = Axis::decades(points().map(|point| point.1), HEIGHT - BOTTOM, TOP)?;
        let mut svg = String::new();
        head(&mut svg, self.title);
        self.grid(&mut svg, &across, &up);
        for (at, line) in self.lines.iter().enumerate() {
            draw(&mut svg, line, at % COLOURS.len(), &across, &up);
        }
        self.names(&mut svg, &up);
        svg.push_str("</svg>\n");
        Some(svg)
    }

    fn grid(&self, svg: &mut String, across: &Axis, up: &Axis) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, main) in up.grid() {
            let y = up.place(value);
            let class = if main { "grid" } else { "grid fine" };
            add(svg, format_args!("<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{right}\"/>\n"));
            if main {
                let (x, y, text) = (LEFT - 8.0, y + 4.0, number(value));
                add(svg, format_args!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>\n"));
            }
        }
        for mark in self.marks {
            let (x, text, below) = (across.place(*mark), number(*mark), bottom + 18.0);
            add(svg, format_args!("<path class=\"grid fine\" d=\"M{x:.1} {TOP}V{bottom}\"/>\n"));
            add(svg, format_args!("<text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{text}</text>\n"));
        }
        add(svg, format_args!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\n"));
        let (middle, below) = (f64::midpoint(LEFT, right), HEIGHT - 14.0);
        let (across, up) = (escaped(self.across), escaped(self.up));
        add(svg, format_args!("<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{across}</text>\n"));
        let middle = f64::midpoint(TOP, bottom);
        add(
            svg,
            format_args!("<text transform=\"translate(16 {middle}) rotate(-90)\" text-anchor=\"middle\">{up}</text>\n"),
        );
    }

    /// At the ends of the lines, moved apart where they would stand upon each other.
    fn names(&self, svg: &mut String, up: &Axis) {
        let ends = self.lines.iter().map(|line| line.points.last().map_or(TOP, |point| up.place(point.1)));
        let mut places: Vec<(usize, f64)> = ends.enumerate().collect();
        places.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut above = TOP - NAME_HEIGHT;
        for (at, y) in places {
            let y = y.max(above + NAME_HEIGHT);
            above = y;
            let (x, y, name) = (WIDTH - RIGHT + 8.0, y + 4.0, escaped(self.lines[at].name));
            let colour = at % COLOURS.len();
            add(svg, format_args!("<text class=\"name{colour}\" x=\"{x}\" y=\"{y:.1}\">{name}</text>\n"));
        }
    }
}

fn head(svg: &mut String, title: &str) {
    let title = escaped(title);
    add(
        svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>{title}</title>\n<style>\n"
        ),
    );
    let theme = |svg: &mut String, text: &str, grid: &str, colour: fn((&'static str, &'static str)) -> &'static str| {
        add(svg, format_args!("text {{ fill: {text} }} .axis {{ stroke: {text}; fill: none }}\n"));
        add(svg, format_args!(".grid {{ stroke: {grid}; fill: none }} .fine {{ stroke-dasharray: 1 4 }}\n"));
        for (at, pair) in COLOURS.into_iter().enumerate() {
            let colour = colour(pair);
            add(
                svg,
                format_args!(
                    ".line{at} {{ stroke: {colour}; stroke-width: 2.2; fill: none }} \
                     .dot{at}, .name{at} {{ fill: {colour} }}\n"
                ),
            );
        }
    };
    theme(svg, "#24292f", "#d0d7de", |pair| pair.0);
    svg.push_str("@media (prefers-color-scheme: dark) {\n");
    theme(svg, "#e6edf3", "#444c56", |pair| pair.1);
    svg.push_str("}\n</style>\n");
    add(svg, format_args!("<text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"600\">{title}</text>\n"));
}

fn draw(svg: &mut String, line: &Line<'_>, colour: usize, across: &Axis, up: &Axis) {
    let places: Vec<(f64, f64)> = line.points.iter().map(|(x, y)| (across.place(*x), up.place(*y))).collect();
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let dashes = if line.dashed { " stroke-dasharray=\"7 5\"" } else { "" };
    add(svg, format_args!("<path class=\"line{colour}\"{dashes} d=\"M{}\"/>\n", path.join("L")));
    if !line.dashed {
        for (x, y) in places {
            add(svg, format_args!("<circle class=\"dot{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\"/>\n"));
        }
    }
}

/// A logarithmic axis: values from `least` to `most` stand between two places of the canvas.
#[derive(Debug)]
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// From the least of the values to the most of them.
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let bounds = values.fold(None, |bounds: Option<(f64, f64)>, value| {
            Some(bounds.map_or((value, value), |(least, most)| (least.min(value), most.max(value))))
        });
        let (least, most) = bounds?;
        Some(Self { least, most: most.max(least * 1.01), from, to })
    }

    /// The same, from a power of ten to a power of ten.
    fn decades(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let axis = Self::over(values, from, to)?;
        let (least, most) = (axis.least.log10().floor(), axis.most.log10().ceil());
        Some(Self { least: 10_f64.powf(least), most: 10_f64.powf(most), ..axis })
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.max(f64::MIN_POSITIVE) / self.least).ln() / (self.most / self.least).ln();
        self.from + part * (self.to - self.from)
    }

    /// The powers of ten, which are the main lines, with twice and five times each between them.
    fn grid(&self) -> Vec<(f64, bool)> {
        let decades = std::iter::successors(Some(self.least), |last| Some(last * 10.0));
        let decades = decades.take_while(|decade| *decade <= self.most * 1.001);
        let lines = decades.flat_map(|decade| [(decade, true), (decade * 2.0, false), (decade * 5.0, false)]);
        lines.filter(|(value, _)| *value <= self.most * 1.001).collect()
    }
}

/// `20000` as `20 k`, `0.1` as it is.
fn number(value: f64) -> String {
    match value {
        1_000_000.0.. => format!("{} M", value / 1e6),
        10_000.0.. => format!("{} k", value / 1e3),
        _ => format!("{value}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn add(svg: &mut String, text: std::fmt::Arguments<'_>) {
    svg.write_fmt(text).expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_factors_are_equal_ways() {
        let axis = Axis { least: 1.0, most: 100.0, from: 0.0, to: 200.0 };
        assert_eq!((axis.place(1.0), axis.place(100.0)), (0.0, 200.0));
        assert!((axis.place(10.0) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn an_axis_of_decades_ends_at_powers_of_ten() {
        let axis = Axis::decades([30.0, 4_000.0].into_iter(), 0.0, 1.0).unwrap();
        assert!((axis.least - 10.0).abs() < 1e-9 && (axis.most - 10_000.0).abs() < 1e-6, "{axis:?}");
        let main = axis.grid().into_iter().filter(|(_, main)| *main).count();
        assert_eq!((main, axis.grid().len()), (4, 10));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([1.0, 1024.0, 20_000.0, 3e6].map(number), ["1", "1024", "20 k", "3 M"]);
    }

    #[test]
    fn a_picture_has_its_lines_with_their_names_and_both_themes() {
        let line = |name, dashed| Line { name, points: vec![(1.0, 10.0), (1024.0, 900.0)], dashed };
        let lines = vec![line("W1 & more", false), line("limit", true)];
        let picture = Picture { title: "T", across: "x", up: "y", marks: &[1.0, 1024.0], lines };
        let svg = picture.to_svg().unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("W1 &amp; more") && svg.contains("prefers-color-scheme: dark"));
        assert_eq!((svg.matches("<circle").count(), svg.matches("stroke-dasharray=\"7 5\"").count()), (2, 1));
        assert!(Picture { lines: Vec::new(), ..picture }.to_svg().is_none());
    }

    #[test]
    fn names_do_not_stand_upon_each_other() {
        let lines = ["a", "b"].map(|name| Line { name, points: vec![(1.0, 10.0), (2.0, 10.0)], dashed: false });
        let picture = Picture { title: "", across: "", up: "", marks: &[], lines: lines.into() };
        let svg = picture.to_svg().unwrap();
        let of = |name: &str| {
            let line = svg.lines().find(|line| line.ends_with(&format!(">{name}</text>"))).unwrap();
            line.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse::<f64>().unwrap()
        };
        assert!((of("a") - of("b")).abs() >= NAME_HEIGHT);
    }
}

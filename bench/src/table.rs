//! The table: each figure with its median, least and most, and the ratio to a limit of the same round.
//!
//! This module must not know how anything is measured.

use serde_json::{Value, json};

use crate::processor::Taken;

/// What a figure must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bar {
    /// The ratio, at least or at most.
    AtLeast(f64),
    AtMost(f64),
    /// The figure itself, at least or at most.
    FigureAtLeast(f64),
    FigureAtMost(f64),
    None,
}

/// The part of the table that a figure stands in, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Limits,
    Host,
    Peer,
}

/// One measurement.
#[derive(Debug)]
pub(crate) struct Figure {
    part: Part,
    name: String,
    load: &'static str,
    unit: &'static str,
    value: f64,
    /// What it is compared with, in the same unit, and how that is called.
    limit: Option<(f64, &'static str)>,
    bar: Bar,
    processor: Option<Taken>,
    latencies: Option<(f64, f64)>,
}

impl Figure {
    /// A figure of which nothing more is known yet than what it is.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            part: Part::Host,
            name: name.into(),
            load: "–",
            unit,
            value,
            limit: None,
            bar: Bar::None,
            processor: None,
            latencies: None,
        }
    }

    /// Where it stands, if not among the figures of the host.
    pub(crate) fn of(mut self, part: Part) -> Self {
        self.part = part;
        self
    }

    /// How the load came.
    pub(crate) fn over(mut self, load: &'static str) -> Self {
        self.load = load;
        self
    }

    /// What it is compared with.
    pub(crate) fn against(mut self, name: &'static str, limit: f64) -> Self {
        self.limit = Some((limit, name));
        self
    }

    /// What it must reach.
    pub(crate) fn bar(mut self, bar: Bar) -> Self {
        self.bar = bar;
        self
    }

    /// The processor time behind it.
    pub(crate) fn took(mut self, taken: Taken) -> Self {
        self.processor = Some(taken);
        self
    }

    /// The latencies behind it: their median and the 99th percentile, in milliseconds.
    pub(crate) fn latencies(mut self, latencies: (f64, f64)) -> Self {
        self.latencies = Some(latencies);
        self
    }
}

#[derive(Debug)]
struct Row {
    part: Part,
    name: String,
    load: &'static str,
    unit: &'static str,
    values: Vec<f64>,
    ratios: Vec<f64>,
    compared_with: Option<&'static str>,
    bar: Bar,
    processor: Vec<Taken>,
    latencies: Vec<(f64, f64)>,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

const HEAD: &str = "\
| figure | load | median | least | most | unit | ratio | to | bar | p50, p99 in ms | processors busy: host, database, generator, others |
|---|---|--:|--:|--:|---|--:|---|---|---|---|
";

impl Table {
    /// Adds a limit of the database.
    pub(crate) fn limit(&mut self, name: &'static str, unit: &'static str, value: f64) {
        self.add(Figure::new(name, value, unit).of(Part::Limits).over("pgbench"));
    }

    /// Adds a measurement to the row of its name.
    pub(crate) fn add(&mut self, figure: Figure) {
        eprintln!("  {}: {} {}", figure.name, shown(figure.value), figure.unit);
        let at = self.0.iter().position(|row| row.name == figure.name).unwrap_or_else(|| {
            self.0.push(Row {
                part: figure.part,
                name: figure.name,
                load: figure.load,
                unit: figure.unit,
                values: Vec::new(),
                ratios: Vec::new(),
                compared_with: figure.limit.map(|(_, name)| name),
                bar: figure.bar,
                processor: Vec::new(),
                latencies: Vec::new(),
            });
            self.0.len() - 1
        });
        let row = &mut self.0[at];
        row.values.push(figure.value);
        row.ratios.extend(figure.limit.map(|(limit, _)| figure.value / limit));
        row.processor.extend(figure.processor);
        row.latencies.extend(figure.latencies);
    }

    /// What was measured last for a row. `None`: there is no such row.
    pub(crate) fn last(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|row| row.name == name)?.values.last().copied()
    }

    /// The median of a row. `None`: there is no such row.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|row| row.name == name).map(|row| median(&row.values))
    }

    /// The table as people read it.
    pub(crate) fn to_markdown(&self) -> String {
        self.in_order().map(Row::to_markdown).fold(HEAD.to_owned(), |text, row| text + &row)
    }

    fn in_order(&self) -> impl Iterator<Item = &Row> {
        let mut rows: Vec<&Row> = self.0.iter().collect();
        rows.sort_by_key(|row| row.part);
        rows.into_iter()
    }

    /// The rows for programs.
    pub(crate) fn to_json(&self) -> Value {
        self.in_order().map(Row::to_json).collect()
    }

    /// The names of the rows whose bar is missed.
    pub(crate) fn missed(&self) -> Vec<&str> {
        self.0.iter().filter(|row| row.holds() == Some(false)).map(|row| row.name.as_str()).collect()
    }
}

impl Row {
    fn to_markdown(&self) -> String {
        let sorted = sorted(&self.values);
        let (least, most) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        let ratio = self.ratio().map_or_else(String::new, shown);
        let bar = match self.bar {
            Bar::AtLeast(bar) => format!("≥ {bar} × {}", self.verdict()),
            Bar::AtMost(bar) => format!("≤ {bar} × {}", self.verdict()),
            Bar::FigureAtLeast(bar) => format!("≥ {bar} {} {}", self.unit, self.verdict()),
            Bar::FigureAtMost(bar) => format!("≤ {bar} {} {}", self.unit, self.verdict()),
            Bar::None => String::new(),
        };
        let processor =
            self.cores().map_or_else(String::new, |cores| cores.map(|part| format!("{part:.2}")).join(", "));
        let latencies =
            self.p50_and_p99().map_or_else(String::new, |(p50, p99)| format!("{}, {}", shown(p50), shown(p99)));
        format!(
            "| {} | {} | {} | {} | {} | {} | {ratio} | {} | {bar} | {latencies} | {processor} |\n",
            self.name,
            self.load,
            shown(median(&self.values)),
            shown(least),
            shown(most),
            self.unit,
            self.compared_with.unwrap_or_default(),
        )
    }

    fn ratio(&self) -> Option<f64> {
        (!self.ratios.is_empty()).then(|| median(&self.ratios))
    }

    /// The medians of the rounds.
    fn p50_and_p99(&self) -> Option<(f64, f64)> {
        let of = |part: fn(&(f64, f64)) -> f64| median(&self.latencies.iter().map(part).collect::<Vec<_>>());
        (!self.latencies.is_empty()).then(|| (of(|both| both.0), of(|both| both.1)))
    }

    /// The same.
    fn cores(&self) -> Option<[f64; 4]> {
        let part = |at: usize| median(&self.processor.iter().map(|taken| taken.cores()[at]).collect::<Vec<_>>());
        (!self.processor.is_empty()).then(|| [0, 1, 2, 3].map(part))
    }

    fn holds(&self) -> Option<bool> {
        match self.bar {
            Bar::AtLeast(bar) => Some(self.ratio()? >= bar),
            Bar::AtMost(bar) => Some(self.ratio()? <= bar),
            Bar::FigureAtLeast(bar) => Some(median(&self.values) >= bar),
            Bar::FigureAtMost(bar) => Some(median(&self.values) <= bar),
            Bar::None => None,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.holds() {
            Some(true) => "holds",
            Some(false) => "**MISSED**",
            None => "",
        }
    }

    fn to_json(&self) -> Value {
        let processor = self.cores().map(|[host, database, generator, others]| {
            json!({ "host": host, "database": database, "generator": generator, "others": others })
        });
        json!({
            "figure": self.name, "load": self.load, "unit": self.unit, "values": self.values,
            "median": median(&self.values), "ratio": self.ratio(), "ratio_to": self.compared_with,
            "holds": self.holds(), "p50_and_p99_ms": self.p50_and_p99(), "processors_busy": processor,
        })
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The one in the middle; of two, their mean.
pub(crate) fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let at = |at: usize| sorted.get(at).copied().unwrap_or(0.0);
    f64::midpoint(at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2))
}

/// A figure with as many digits as mean something.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_each_round_and_the_median_of_them_counts() {
        let mut table = Table::default();
        for (value, limit) in [(10.0, 100.0), (40.0, 100.0), (300.0, 1000.0)] {
            table.add(Figure::new("W1", value, "/s").over("HTTP").against("pgbench", limit).bar(Bar::AtLeast(0.3)));
        }
        let text = table.0[0].to_markdown();
        assert_eq!(text, "| W1 | HTTP | 40.0 | 10.0 | 300 | /s | 0.30 | pgbench | ≥ 0.3 × holds |  |  |\n");
        assert_eq!(table.median("W1"), Some(40.0));
        assert!(table.missed().is_empty() && table.median("W2").is_none());
    }

    #[test]
    fn a_missed_bar_is_told() {
        let mut table = Table::default();
        table.add(Figure::new("latency", 2.0, "ms").against("pgbench", 1.0).bar(Bar::AtMost(1.6)));
        assert!(table.to_markdown().contains("≤ 1.6 × **MISSED**"));
        assert_eq!((&table.to_json()[0]["holds"], table.missed()), (&json!(false), vec!["latency"]));
    }

    #[test]
    fn a_figure_may_have_a_bar_of_its_own() {
        let mut table = Table::default();
        table.add(Figure::new("idle", 0.4, "%").bar(Bar::FigureAtMost(0.5)));
        assert!(table.to_markdown().contains("≤ 0.5 % holds"));
    }

    #[test]
    fn processors_are_the_parties_time_in_the_time_that_went_by() {
        let mut table = Table::default();
        let taken = Taken { host: 2.0, database: 3.0, generator: 1.0, others: 0.0, wall: 4.0 };
        table.add(Figure::new("W1", 1.0, "/s").took(taken).latencies((1.0, 12.34)));
        assert!(table.to_markdown().contains("| 1.00, 12.3 | 0.50, 0.75, 0.25, 0.00 |"));
    }

    #[test]
    fn limits_come_first_and_the_peer_last() {
        let mut table = Table::default();
        table.add(Figure::new("peer", 1.0, "/s").of(Part::Peer));
        table.add(Figure::new("host", 1.0, "/s"));
        table.limit("limit", "/s", 1.0);
        let names: Vec<_> = table.in_order().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["limit", "host", "peer"]);
    }

    #[test]
    fn the_median_of_two_is_between_them() {
        assert_eq!(median(&[1.0, 2.0]), 1.5);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }
}

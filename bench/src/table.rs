//! The table: each figure with its median, least and most, and the ratio to a limit of the same round.

use std::io::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use crate::processor::Taken;

/// What a figure must reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    /// The ratio to the limit, at least.
    AtLeast(f64),
    /// The ratio to the limit, at most.
    AtMost(f64),
    /// The figure itself, at least or at most.
    FigureAtLeast(f64),
    FigureAtMost(f64),
    None,
}

/// One measurement of one round.
#[derive(Debug)]
pub(crate) struct Figure<'a> {
    pub(crate) name: &'a str,
    /// How the load came: over HTTP, or from within.
    pub(crate) load: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) value: f64,
    /// The limit of the same round, in the same unit.
    pub(crate) limit: Option<f64>,
    pub(crate) bar: Bar,
    pub(crate) processor: Option<Taken>,
}

#[derive(Debug)]
struct Row {
    name: String,
    load: String,
    unit: String,
    values: Vec<f64>,
    ratios: Vec<f64>,
    bar: Bar,
    processor: Option<Taken>,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// Adds a limit of the database.
    pub(crate) fn limit(&mut self, name: &str, unit: &str, value: f64) {
        self.add(&Figure { name, load: "pgbench", unit, value, limit: None, bar: Bar::None, processor: None });
    }

    /// Adds a figure of this round.
    pub(crate) fn add(&mut self, figure: &Figure<'_>) {
        eprintln!("  {}: {:.3} {}", figure.name, figure.value, figure.unit);
        let row = match self.0.iter_mut().position(|row| row.name == figure.name) {
            Some(at) => &mut self.0[at],
            None => {
                self.0.push(Row {
                    name: figure.name.into(),
                    load: figure.load.into(),
                    unit: figure.unit.into(),
                    values: Vec::new(),
                    ratios: Vec::new(),
                    bar: figure.bar,
                    processor: figure.processor,
                });
                self.0.last_mut().expect("it has just been added")
            }
        };
        row.values.push(figure.value);
        row.ratios.extend(figure.limit.map(|limit| figure.value / limit));
        row.processor = figure.processor.or(row.processor);
    }

    /// Prints the table for people or programs.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            let rows: Vec<Value> = self.0.iter().map(Row::to_json).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
            return Ok(());
        }
        writeln!(
            out,
            "| figure | load | median | least | most | unit | ratio | bar | processor host / database / generator |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
        for row in &self.0 {
            writeln!(out, "{}", row.to_markdown())?;
        }
        Ok(())
    }
}

impl Row {
    fn to_markdown(&self) -> String {
        let sorted = sorted(&self.values);
        let (least, most) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        let ratio = self.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let bar = match self.bar {
            Bar::AtLeast(bar) => format!("≥ {bar} {}", self.verdict()),
            Bar::AtMost(bar) => format!("≤ {bar} {}", self.verdict()),
            Bar::FigureAtLeast(bar) => format!("≥ {bar} {} {}", self.unit, self.verdict()),
            Bar::FigureAtMost(bar) => format!("≤ {bar} {} {}", self.unit, self.verdict()),
            Bar::None => String::new(),
        };
        let processor = self.processor.map_or_else(String::new, |taken| {
            let all = (taken.host + taken.database + taken.generator).max(f64::EPSILON);
            let percent = |part: f64| 100.0 * part / all;
            format!(
                "{:.0} % / {:.0} % / {:.0} %",
                percent(taken.host),
                percent(taken.database),
                percent(taken.generator)
            )
        });
        format!(
            "| {} | {} | {} | {} | {} | {} | {ratio} | {bar} | {processor} |",
            self.name,
            self.load,
            shown(median(&self.values)),
            shown(least),
            shown(most),
            self.unit
        )
    }

    fn ratio(&self) -> Option<f64> {
        (!self.ratios.is_empty()).then(|| median(&self.ratios))
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
            Some(false) => "MISSED",
            None => "",
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "figure": self.name, "load": self.load, "unit": self.unit, "values": self.values,
            "median": median(&self.values), "ratio": self.ratio(), "holds": self.holds(),
            "processor": self.processor.map(|taken| json!({
                "host": taken.host, "database": taken.database, "generator": taken.generator,
            })),
        })
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(values: &[f64]) -> f64 {
    sorted(values).get(values.len() / 2).copied().unwrap_or(0.0)
}

fn shown(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, limit: f64, bar: Bar) -> Figure<'static> {
        Figure { name: "W1", load: "HTTP", unit: "/s", value, limit: Some(limit), bar, processor: None }
    }

    #[test]
    fn a_ratio_is_that_of_each_round_and_the_median_of_them_counts() {
        let mut table = Table::default();
        for (value, limit) in [(10.0, 100.0), (40.0, 100.0), (300.0, 1000.0)] {
            table.add(&figure(value, limit, Bar::AtLeast(0.3)));
        }
        let text = table.0[0].to_markdown();
        assert_eq!(text, "| W1 | HTTP | 40.00 | 10.00 | 300 | /s | 0.30 | ≥ 0.3 holds |  |");
    }

    #[test]
    fn a_missed_bar_is_told() {
        let mut table = Table::default();
        table.add(&figure(2.0, 1.0, Bar::AtMost(1.6)));
        assert!(table.0[0].to_markdown().contains("≤ 1.6 MISSED"));
        assert_eq!(table.0[0].to_json()["holds"], false);
    }
}

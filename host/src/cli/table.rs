//! A table of plain columns, for people.
//!
//! Cells come from the database, where anybody may have written them, so they are escaped here. Columns are padded by
//! characters, not by the width of a terminal's cells; programs read `--json` instead.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::escape;

/// What stands between two columns.
const GAP: &str = "  ";

/// Rows under a line of headings.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    headings: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(crate) fn new(headings: [&'static str; N]) -> Self {
        Self { headings, rows: Vec::new() }
    }

    /// Adds a row; an empty cell shows as `-`.
    pub(crate) fn push(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { escape::line(&cell) }));
    }

    fn widths(&self) -> [usize; N] {
        let mut widths = self.headings.map(|heading| heading.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let line = |cells: [&str; N]| {
            let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            padded.join(GAP).trim_end().to_owned()
        };
        f.write_str(&line(self.headings))?;
        for row in &self.rows {
            write!(f, "\n{}", line(row.each_ref().map(String::as_str)))?;
        }
        Ok(())
    }
}

/// A time of the database (milliseconds since 1970) as local RFC 3339, to the second.
pub(crate) fn local_time(milliseconds: i64) -> String {
    time_in(&TimeZone::system(), milliseconds)
}

/// A number that is no time (a foreign writer's mistake) is shown as it is.
fn time_in(zone: &TimeZone, milliseconds: i64) -> String {
    match Timestamp::from_millisecond(milliseconds) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        Err(_) => milliseconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["ID", "NAME", "STATUS"]);
        table.push(["a-long-id".into(), "grüße".into(), "SUCCESS".into()]);
        table.push(["b".into(), String::new(), "PENDING".into()]);
        assert_eq!(table.to_string(), "ID         NAME   STATUS\na-long-id  grüße  SUCCESS\nb          -      PENDING");
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(Table::new(["ID", "NAME"]).to_string(), "ID  NAME");
    }

    #[test]
    fn a_cell_cannot_break_its_row() {
        let mut table = Table::new(["ID"]);
        table.push(["a\nb\x1b[2J".into()]);
        assert_eq!(table.to_string(), "ID\na\\nb\\u{1b}[2J");
    }

    #[test]
    fn times_are_local() {
        let zone = TimeZone::fixed(tz::offset(2));
        assert_eq!(time_in(&zone, 1_700_000_000_999), "2023-11-15T00:13:20+02:00");
        assert_eq!(time_in(&TimeZone::UTC, 0), "1970-01-01T00:00:00+00:00");
        assert_eq!(time_in(&zone, i64::MAX), "9223372036854775807");
    }
}

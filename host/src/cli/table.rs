//! A table of plain columns, for people.
//!
//! Cells come from the database, where anybody may have written them, so they are escaped here. A terminal is as wide as it
//! is: a row that breaks in its middle cannot be read, so columns give way in an order that each table chooses. An id, which
//! people copy, never does. Without a terminal nothing gives way. Columns are padded by characters, not by the width of a
//! terminal's cells; programs read `--json` instead.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{escape, output};

/// What stands between two columns.
const GAP: usize = 2;

/// What marks a cell that was cut.
const CUT: char = '…';

/// What becomes of a column in a narrow terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Give {
    /// Nothing.
    Nothing,
    /// Its cells are cut, but not to less than so many characters.
    Cells(usize),
    /// It goes; the last one first.
    Itself,
    /// The same, and it is not there at all if no row has anything in it.
    Unused,
}

/// The head of a column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    heading: &'static str,
    give: Give,
}

/// A column that is always shown whole.
pub(crate) const fn whole(heading: &'static str) -> Column {
    Column { heading, give: Give::Nothing }
}

/// A column whose cells are cut where there is no room, but not to less than `least` characters.
pub(crate) const fn cut(heading: &'static str, least: usize) -> Column {
    Column { heading, give: Give::Cells(least) }
}

/// A column that is left out where there is no room.
pub(crate) const fn optional(heading: &'static str) -> Column {
    Column { heading, give: Give::Itself }
}

/// A column that is left out where there is no room, and where there is nothing in it.
pub(crate) const fn if_used(heading: &'static str) -> Column {
    Column { heading, give: Give::Unused }
}

/// What an empty cell shows.
const EMPTY: &str = "-";

/// Rows under a line of headings.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(crate) fn new(columns: [Column; N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; an empty cell shows as `-`.
    pub(crate) fn push(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { EMPTY.to_owned() } else { escape::line(&cell) }));
    }

    /// The table as standard output takes it: as wide as the terminal if it is one, with bold headings if it shows colours.
    pub(crate) fn for_output(&self) -> String {
        self.render(output::width(), output::colour(&std::io::stdout()))
    }

    fn render(&self, most: Option<usize>, colour: bool) -> String {
        let widths = self.fit(most.unwrap_or(usize::MAX));
        let line = |cells: [&str; N]| {
            let shown = cells.iter().zip(widths).filter_map(|(cell, width)| Some((cell, width?)));
            let padded: Vec<String> = shown.map(|(cell, width)| format!("{:width$}", shortened(cell, width))).collect();
            padded.join(&" ".repeat(GAP)).trim_end().to_owned()
        };
        let headings = line(self.columns.map(|column| column.heading));
        let mut text = if colour { format!("\x1b[1m{headings}\x1b[0m") } else { headings };
        for row in &self.rows {
            text.push('\n');
            text.push_str(&line(row.each_ref().map(String::as_str)));
        }
        text
    }

    /// How wide each column is in a line of at most `most` characters; `None` for one that is left out.
    fn fit(&self, most: usize) -> [Option<usize>; N] {
        let mut widths = self.columns.map(|column| Some(column.heading.chars().count()));
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(Some(cell.chars().count()));
            }
        }
        for index in (0..N).rev() {
            let gives = match self.columns[index].give {
                Give::Itself => excess(&widths, most) > 0,
                Give::Unused => excess(&widths, most) > 0 || self.rows.iter().all(|row| row[index] == EMPTY),
                Give::Nothing | Give::Cells(_) => false,
            };
            if gives {
                widths[index] = None;
            }
        }
        for index in (0..N).rev() {
            if let (Some(width), Give::Cells(least)) = (widths[index], self.columns[index].give) {
                let least = least.max(self.columns[index].heading.chars().count()).min(width);
                widths[index] = Some(width.saturating_sub(excess(&widths, most)).max(least));
            }
        }
        widths
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(None, false))
    }
}

/// By how many characters a line of these columns is too long.
fn excess(widths: &[Option<usize>], most: usize) -> usize {
    let shown = widths.iter().flatten();
    let length = shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1);
    length.saturating_sub(most)
}

/// The cell with at most `width` characters.
fn shortened(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain([CUT]).collect()
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
    fn a_column_that_nobody_uses_is_left_out() {
        let mut table = Table::new([whole("ID"), if_used("WAITS"), optional("AT")]);
        table.push(["a".into(), String::new(), "1".into()]);
        assert_eq!(table.to_string(), "ID  AT\na   1");
        table.push(["b".into(), "slot".into(), String::new()]);
        assert_eq!(table.to_string(), "ID  WAITS  AT\na   -      1\nb   slot   -");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([whole("ID"), cut("NAME", 1), optional("STATUS")]);
        table.push(["a-long-id".into(), "grüße".into(), "SUCCESS".into()]);
        table.push(["b".into(), String::new(), "PENDING".into()]);
        assert_eq!(table.to_string(), "ID         NAME   STATUS\na-long-id  grüße  SUCCESS\nb          -      PENDING");
    }

    #[test]
    fn a_narrow_terminal_loses_columns_before_cells() {
        let mut table = Table::new([whole("ID"), cut("NAME", 5), optional("ATTEMPTS"), optional("HOST")]);
        table.push(["an-id".into(), "a name".into(), "1".into(), "blue".into()]);
        let shown = |most| table.render(Some(most), false);
        assert_eq!(shown(28), "ID     NAME    ATTEMPTS\nan-id  a name  1");
        assert_eq!(shown(29), "ID     NAME    ATTEMPTS  HOST\nan-id  a name  1         blue");
        assert_eq!(shown(13), "ID     NAME\nan-id  a name");
        assert_eq!(shown(12), "ID     NAME\nan-id  a na…");
        // What must stay stays, whatever the terminal does with it.
        assert_eq!(shown(3), "ID     NAME\nan-id  a na…");
    }

    #[test]
    fn headings_are_bold_where_colours_are_shown() {
        assert_eq!(Table::new([whole("ID")]).render(None, true), "\x1b[1mID\x1b[0m");
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(Table::new([whole("ID"), whole("NAME")]).to_string(), "ID  NAME");
    }

    #[test]
    fn a_cell_cannot_break_its_row() {
        let mut table = Table::new([whole("ID")]);
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

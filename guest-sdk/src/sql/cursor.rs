//! Rows that are read page by page.

use std::fmt;
use std::vec;

use serde::de::DeserializeOwned;

use super::rows;
use crate::{Result, host};

/// How many rows are fetched at once, unless the program chooses: a page of rows of a hundred kilobytes still fits into
/// a result, and the time for going to the database does not count any more.
const PAGE: u32 = 100;

/// The rows of a statement, fetched as the program goes over them; made by [`cursor`](super::cursor).
///
/// An iterator whose items are results. After an error there are no more rows.
pub struct Cursor<Row> {
    open: Option<host::Cursor>,
    page: u32,
    fetched: vec::IntoIter<Row>,
    /// How many rows were fetched so far.
    count: u64,
}

impl<Row: DeserializeOwned> Cursor<Row> {
    pub(super) fn new(open: host::Cursor) -> Self {
        Cursor { open: Some(open), page: PAGE, fetched: Vec::new().into_iter(), count: 0 }
    }

    /// How many rows are fetched at once: 100 unless set. More are quicker if rows are small; a page must not be larger
    /// than 16 MiB of JSON.
    pub fn page(mut self, rows: u32) -> Self {
        self.page = rows.max(1);
        self
    }

    fn fetch(&mut self) -> Result<()> {
        // Taken out, and put back only if there are more rows: dropping the cursor closes it.
        let Some(open) = self.open.take() else { return Ok(()) };
        let rows = rows::read(&open.next(self.page)?, self.count)?;
        if rows.len() >= usize::try_from(self.page).unwrap_or(usize::MAX) {
            self.open = Some(open);
        }
        self.count += rows.len() as u64;
        self.fetched = rows.into_iter();
        Ok(())
    }
}

impl<Row: DeserializeOwned> Iterator for Cursor<Row> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.fetched.next() {
            return Some(Ok(row));
        }
        match self.fetch() {
            Ok(()) => self.fetched.next().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<Row> fmt::Debug for Cursor<Row> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("page", &self.page).field("count", &self.count).finish_non_exhaustive()
    }
}

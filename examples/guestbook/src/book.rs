//! The entries, and the rule that one request leaves one entry.
//!
//! A client that gets no answer asks again, and cannot know whether the first request arrived. With an idempotency key
//! it need not know: the second request is answered with the entry of the first.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::store::{Store, StoreError};

/// How long a name may be, in characters: longer than any name, short enough for a page.
pub(crate) const LONGEST_NAME: usize = 200;

/// How long an idempotency key may be, in bytes. Those of a workflow are its id and two numbers.
pub(crate) const LONGEST_IDEMPOTENCY_KEY: usize = 512;

/// How many entries the book has room for: they are all in memory, about 0.5 kB each, so 50 MB.
const MOST_ENTRIES: usize = 100_000;

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its number, from 1.
    pub(crate) id: u64,
    /// With which key it was made.
    pub(crate) key: Key,
    /// Who signed.
    pub(crate) name: String,
    /// When, in UTC, to the millisecond (RFC 3339).
    pub(crate) recorded_at: String,
}

/// What the store keeps for an entry.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    entry: Entry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
}

/// Why nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The name is empty or too long.
    #[error("a name has 1 to {LONGEST_NAME} characters")]
    Name,
    /// The idempotency key is empty or too long.
    #[error("an Idempotency-Key has 1 to {LONGEST_IDEMPOTENCY_KEY} bytes")]
    IdempotencyKey,
    /// The idempotency key stands for another signature.
    #[error("this Idempotency-Key was used for another name already")]
    OtherRequest,
    /// There is no more room.
    #[error("the guestbook is full")]
    Full,
    /// The entry could not be kept.
    #[error("the guestbook could not write: {0}")]
    Store(#[from] StoreError),
}

/// The guestbook.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: Vec<Entry>,
    /// The entries by what their requests were known by. Two signers may use the same idempotency key by chance.
    requests: HashMap<(Key, String), usize>,
    store: Option<Store>,
}

impl Book {
    /// A book that is forgotten when the program ends.
    pub(crate) fn in_memory() -> Self {
        Self::default()
    }

    /// A book with the entries of a file, which is created if it is missing.
    pub(crate) fn open(file: &Path) -> Result<Self, StoreError> {
        let (store, lines) = Store::open::<Line>(file)?;
        let mut book = Self { store: Some(store), ..Self::default() };
        for line in lines {
            book.add(line);
        }
        Ok(book)
    }

    /// Records a signature, or returns the entry that the same request has left before. When this returns an entry, it
    /// is on disk (if there is a store).
    pub(crate) fn sign(&mut self, key: Key, name: &str, idempotency_key: Option<&str>) -> Result<Entry, Refused> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME {
            return Err(Refused::Name);
        }
        if idempotency_key.is_some_and(|key| key.is_empty() || key.len() > LONGEST_IDEMPOTENCY_KEY) {
            return Err(Refused::IdempotencyKey);
        }
        let idempotency_key = idempotency_key.map(str::to_owned);
        let request = idempotency_key.clone().map(|idempotency_key| (key, idempotency_key));
        if let Some(place) = request.and_then(|request| self.requests.get(&request)) {
            let entry = self.entries[*place].clone();
            return if entry.name == name { Ok(entry) } else { Err(Refused::OtherRequest) };
        }
        if self.entries.len() >= MOST_ENTRIES {
            return Err(Refused::Full);
        }
        let id = self.entries.last().map_or(1, |last| last.id + 1);
        let line = Line { entry: Entry { id, key, name: name.to_owned(), recorded_at: now() }, idempotency_key };
        if let Some(store) = &mut self.store {
            store.append(&line)?;
        }
        let entry = line.entry.clone();
        self.add(line);
        Ok(entry)
    }

    /// The signatures made with a key, oldest first.
    pub(crate) fn signed_with(&self, key: Key) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.key == key).cloned().collect()
    }

    /// All signatures, oldest first.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn add(&mut self, line: Line) {
        if let Some(idempotency_key) = line.idempotency_key {
            self.requests.insert((line.entry.key, idempotency_key), self.entries.len());
        }
        self.entries.push(line.entry);
    }
}

fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_leaves_one_entry() {
        let (mut book, key) = (Book::in_memory(), Key::new());
        let first = book.sign(key, "Mike", Some("run-1-1")).unwrap();
        assert_eq!(book.sign(key, "Mike", Some("run-1-1")).unwrap(), first);
        assert_eq!(book.signed_with(key), [first]);
        assert!(matches!(book.sign(key, "Peter", Some("run-1-1")), Err(Refused::OtherRequest)));
    }

    #[test]
    fn other_requests_leave_entries_of_their_own() {
        let (mut book, key, other) = (Book::in_memory(), Key::new(), Key::new());
        book.sign(key, "Mike", None).unwrap();
        book.sign(key, "Mike", None).unwrap();
        book.sign(key, "Mike", Some("a")).unwrap();
        book.sign(other, "Mike", Some("a")).unwrap();
        let ids: Vec<u64> = book.entries().iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [1, 2, 3, 4]);
        assert_eq!(book.signed_with(other).len(), 1);
    }

    #[test]
    fn names_and_idempotency_keys_have_limits() {
        let (mut book, key) = (Book::in_memory(), Key::new());
        assert!(matches!(book.sign(key, " ", None), Err(Refused::Name)));
        assert!(matches!(book.sign(key, &"ü".repeat(LONGEST_NAME + 1), None), Err(Refused::Name)));
        assert_eq!(book.sign(key, &"ü".repeat(LONGEST_NAME), None).unwrap().id, 1);
        assert!(matches!(book.sign(key, "Mike", Some("")), Err(Refused::IdempotencyKey)));
        let long = "k".repeat(LONGEST_IDEMPOTENCY_KEY + 1);
        assert!(matches!(book.sign(key, "Mike", Some(&long)), Err(Refused::IdempotencyKey)));
    }

    #[test]
    fn a_full_book_takes_no_more() {
        let (mut book, key) = (Book::in_memory(), Key::new());
        for _ in 0..MOST_ENTRIES {
            book.sign(key, "Mike", None).unwrap();
        }
        assert!(matches!(book.sign(key, "Mike", None), Err(Refused::Full)));
    }

    #[test]
    fn a_book_with_a_store_remembers_entries_and_requests() {
        let folder = tempfile::tempdir().unwrap();
        let (file, key) = (folder.path().join("guestbook.jsonl"), Key::new());
        let mut book = Book::open(&file).unwrap();
        let first = book.sign(key, "Mike", Some("run-1-1")).unwrap();
        let second = book.sign(key, "Peter", None).unwrap();
        drop(book);

        let mut book = Book::open(&file).unwrap();
        assert_eq!(book.entries(), [first.clone(), second]);
        assert_eq!(book.sign(key, "Mike", Some("run-1-1")).unwrap(), first);
        assert_eq!(book.sign(key, "Mike", None).unwrap().id, 3);
    }
}

//! The file that the entries are kept in: one JSON object a line, only ever appended to.
//!
//! The guestbook may be killed too. A line that was answered for is on disk. One that was being written when the
//! process died is cut off at the next start: nobody got an answer for it, and its client asks again.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The operating system refused.
    #[error("`{}`: {cause}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Another guestbook has it open.
    #[error("`{}` is used by another guestbook", .0.display())]
    InUse(PathBuf),
    /// A line is not an entry.
    #[error("`{}`, line {line}, is not an entry: {cause}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

/// The open file. Its lock is held for as long as this lives.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    file: File,
    /// How long the file is: all of it whole lines.
    length: u64,
}

impl Store {
    /// Opens the file, creates it if it is missing, and reads its lines.
    pub(crate) fn open<L: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<L>), StoreError> {
        let failed = |cause| StoreError::System { path: path.to_owned(), cause };
        let options = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = options.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut lines = Vec::new();
        for (index, line) in text[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let malformed = |cause| StoreError::Malformed { path: path.to_owned(), line: index + 1, cause };
            lines.push(serde_json::from_slice(line).map_err(malformed)?);
        }
        let mut store = Self { path: path.to_owned(), file, length: whole as u64 };
        store.cut().map_err(failed)?;
        Ok((store, lines))
    }

    /// Appends a line. When this returns, it is on disk; after an error, nothing of it is left.
    pub(crate) fn append(&mut self, line: &impl Serialize) -> Result<(), StoreError> {
        let mut text = serde_json::to_vec(line).map_err(|cause| self.failed(cause.into()))?;
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(cause) = written {
            // Half a line would spoil the next one. If even this fails, the next start cuts it off.
            let _ = self.cut();
            return Err(self.failed(cause));
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// Cuts off what is behind the last whole line.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        Ok(())
    }

    fn failed(&self, cause: io::Error) -> StoreError {
        StoreError::System { path: self.path.clone(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_at_the_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "1\n2\n3").unwrap();
        let (mut store, lines) = Store::open::<u32>(&path).unwrap();
        assert_eq!(lines, [1, 2]);
        store.append(&4).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n4\n");
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "1\nhello\n").unwrap();
        let error = Store::open::<u32>(&path).unwrap_err().to_string();
        assert!(error.contains("line 2, is not an entry"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\nhello\n", "a file that is not ours stays as it is");
    }

    #[test]
    fn two_guestbooks_cannot_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let first = Store::open::<u32>(&path).unwrap();
        assert!(matches!(Store::open::<u32>(&path), Err(StoreError::InUse(_))));
        drop(first);
        Store::open::<u32>(&path).unwrap();
    }
}

//! Savepoints: how a guest goes on after a statement that failed.
//!
//! Postgres aborts a transaction at its first error. A savepoint divides it, and the host has to know which failure was
//! undone with which part: a body that returns `Ok` although one was not would commit nothing.

use super::guest_session::{Doomed, GuestSession, refused};
use super::guest_sql::SqlFailure;

/// How many savepoints may be open at once. Each costs the server memory and locks; code nests them by call depth.
const MAX_SAVEPOINTS: usize = 100;

impl GuestSession {
    /// Opens a savepoint.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn savepoint(&mut self) -> Result<Result<(), SqlFailure>, Doomed> {
        if self.savepoints.len() >= MAX_SAVEPOINTS {
            return Ok(Err(refused(format!("more than {MAX_SAVEPOINTS} savepoints would be open at once"))));
        }
        let result = self.control(&format!("SAVEPOINT s{}", self.savepoints.len())).await?;
        if result.is_ok() {
            self.savepoints.push(self.first_failure.clone());
        }
        Ok(result)
    }

    /// Closes the newest savepoint and keeps its effects.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn release(&mut self) -> Result<Result<(), SqlFailure>, Doomed> {
        let Some(depth) = self.savepoints.len().checked_sub(1) else {
            return Ok(Err(refused("there is no open savepoint")));
        };
        let result = self.control(&format!("RELEASE SAVEPOINT s{depth}")).await?;
        if result.is_ok() {
            self.savepoints.pop();
            self.cursors.released(depth);
        }
        Ok(result)
    }

    /// Undoes everything since the newest savepoint and closes it.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn rollback_to(&mut self) -> Result<Result<(), SqlFailure>, Doomed> {
        let Some(depth) = self.savepoints.len().checked_sub(1) else {
            return Ok(Err(refused("there is no open savepoint")));
        };
        let result = self.control(&format!("ROLLBACK TO SAVEPOINT s{depth}; RELEASE SAVEPOINT s{depth}")).await?;
        if result.is_ok() {
            self.first_failure = self.savepoints.pop().flatten();
            self.cursors.undone(depth);
        }
        Ok(result)
    }

    /// How many savepoints are open.
    pub(super) fn depth(&self) -> usize {
        self.savepoints.len()
    }
}

//! What a database call can fail with, and the questions that callers ask about it.

use tokio_postgres::error::SqlState;

use super::guest_sql::Severity;

/// A failed call. Never a workflow's outcome: callers wait and try again, or tell an operator.
#[derive(Debug, thiserror::Error)]
#[error("{}", Shown(.0))]
pub struct DatabaseError(#[from] tokio_postgres::Error);

impl DatabaseError {
    /// True when the connection is gone: what the call did, if anything, is not known.
    #[must_use]
    pub fn is_connection_lost(&self) -> bool {
        is_connection_lost(&self.0)
    }

    /// The SQLSTATE, where the server answered.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.0.code().map(SqlState::code)
    }
}

/// True when the connection cannot be used any more, and it is not known what the call did.
pub(super) fn is_connection_lost(error: &tokio_postgres::Error) -> bool {
    Severity::of(error) == Severity::ConnectionLost
}

struct Shown<'a>(&'a tokio_postgres::Error);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The driver's own text is "db error"; what happened is in the server's answer.
        match self.0.as_db_error() {
            Some(db) => write!(f, "{} (SQLSTATE {})", db.message(), db.code().code()),
            None => match std::error::Error::source(self.0) {
                Some(source) => write!(f, "{}: {source}", self.0),
                None => write!(f, "{}", self.0),
            },
        }
    }
}

//! What went wrong with a guest's SQL, and what the transaction does about it.
//!
//! Three kinds of failure meet here and must not be mixed up. A conflict with another transaction is nobody's fault:
//! the step is run again and the guest never hears of it. A lost connection says nothing about the guest either. All
//! else is the guest's own failure and goes to it with everything that the server said, so that its author can find
//! the place. Taking a failure of the third kind for one of the first two would run a broken step for ever.

use std::error::Error;
use std::fmt;

use tokio_postgres::error::{ErrorPosition, Severity as ServerSeverity, SqlState};
use tokio_postgres::types::Type;

use super::form::TypeName;

/// Failures that this host finds itself; the server's have an SQLSTATE of five characters instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostCode {
    /// The statement is not sent to the server.
    StatementRefused,
    /// The parameters are not a JSON array, or not as many as the statement has.
    ParameterCount,
    /// A parameter does not fit its type.
    ParameterMismatch,
    /// A column has a type that has no JSON form.
    UnsupportedType,
    /// Two columns of a result have the same name.
    DuplicateColumn,
    /// The result is larger than a guest may ask for.
    ResultTooLarge,
    /// The statement takes too long, and goes on although it was cancelled. One that ends has the server's code, 57014.
    StatementTimeout,
    /// The session ended while the statement ran. It is not known whether it had an effect.
    ConnectionLost,
    /// The driver could not understand the server, or could not send the statement.
    Protocol,
}

impl HostCode {
    /// The code as guests see it. It is stable: programs compare it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StatementRefused => "statement_refused",
            Self::ParameterCount => "parameter_count",
            Self::ParameterMismatch => "parameter_mismatch",
            Self::UnsupportedType => "unsupported_type",
            Self::DuplicateColumn => "duplicate_column",
            Self::ResultTooLarge => "result_too_large",
            Self::StatementTimeout => "statement_timeout",
            Self::ConnectionLost => "connection_lost",
            Self::Protocol => "protocol",
        }
    }
}

/// What a failure means for the attempt that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Another transaction was in the way: run the step again in a new transaction.
    Retry,
    /// The session is gone: run the step again on another connection.
    ConnectionLost,
    /// The statement failed and the guest is told. The transaction can only go on behind a savepoint.
    Statement,
}

impl Severity {
    /// Classifies what the driver returned for a statement.
    pub fn of(error: &tokio_postgres::Error) -> Self {
        let Some(server) = error.as_db_error() else {
            // The driver reports the end of the connection as closed, or as the I/O error that ended it. Its other
            // I/O errors are answers that it could not parse, after which the connection is of no use either, and
            // statements that it could not encode, which bind and the size limits rule out.
            let is_io = error.source().is_some_and(|cause| cause.is::<std::io::Error>());
            return if error.is_closed() || is_io { Self::ConnectionLost } else { Self::Statement };
        };
        match server.parsed_severity() {
            // The server ends the session after these, whatever the code says.
            Some(ServerSeverity::Fatal | ServerSeverity::Panic) => Self::ConnectionLost,
            // A class 08 code of an ordinary error is not about this connection: a foreign table's server may be
            // unreachable for ever, so it is the guest's failure like any other.
            _ if is_conflict(server.code()) => Self::Retry,
            _ => Self::Statement,
        }
    }
}

fn is_conflict(code: &SqlState) -> bool {
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
}

/// A failed call of guest SQL, as the guest sees it.
///
/// What is mostly absent is boxed, to keep the many results small that carry no failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlFailure {
    /// An SQLSTATE, or one of `HostCode`.
    pub code: String,
    /// What happened.
    pub message: String,
    /// More about it, from the server.
    pub detail: Option<Box<str>>,
    /// What to do about it.
    pub hint: Option<Box<str>>,
    /// The constraint that was violated.
    pub constraint: Option<Box<str>>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
}

impl SqlFailure {
    /// A failure that the host found itself.
    pub fn host(code: HostCode, message: impl Into<String>) -> Self {
        let code = code.as_str().to_owned();
        Self { code, message: message.into(), detail: None, hint: None, constraint: None, position: None }
    }

    /// The same failure with advice.
    pub fn with_hint(self, hint: impl Into<Box<str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// True when the session is unfit for another guest although it lives: its prepared statements are not what the
    /// driver believes. A guest can bring that about with a DO block that runs DEALLOCATE or PREPARE. The connection
    /// must then be closed instead of going back to the pool.
    pub fn spoils_session(&self) -> bool {
        [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT]
            .iter()
            .any(|code| code.code() == self.code)
            || self.code == HostCode::Protocol.as_str()
    }
}

impl SqlFailure {
    /// What the driver returned for running a statement with parameters of these types. A value that the server could
    /// not read is blamed on its parameter, which the server names in the error's context only.
    pub fn of_run(error: &tokio_postgres::Error, types: &[Type]) -> Self {
        let mut failure = Self::from(error);
        let context = error.as_db_error().and_then(|server| server.where_()).unwrap_or_default();
        // A type may have lines of its own before this one: json tells where in the text it stopped.
        let parameter = context.lines().find_map(|line| line.strip_prefix("unnamed portal parameter $"));
        let number = parameter.and_then(|rest| {
            let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
            rest[..digits].parse::<usize>().ok()
        });
        if let Some((number, ty)) = number.and_then(|number| Some((number, types.get(number.checked_sub(1)?)?))) {
            failure.message = format!("bind `${number}` of type `{}`: {}", TypeName(ty), failure.message);
        }
        failure
    }
}

impl From<&tokio_postgres::Error> for SqlFailure {
    fn from(error: &tokio_postgres::Error) -> Self {
        let Some(server) = error.as_db_error() else {
            let code = match Severity::of(error) {
                Severity::ConnectionLost => HostCode::ConnectionLost,
                Severity::Retry | Severity::Statement => HostCode::Protocol,
            };
            let message = match error.source() {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            };
            return Self::host(code, message);
        };
        Self {
            code: server.code().code().to_owned(),
            message: server.message().to_owned(),
            detail: server.detail().map(Box::from),
            hint: server.hint().map(Box::from),
            constraint: server.constraint().map(Box::from),
            position: match server.position() {
                Some(ErrorPosition::Original(position)) => Some(*position),
                // A place in the text of a function would point to nowhere in the guest's statement.
                Some(ErrorPosition::Internal { .. }) | None => None,
            },
        }
    }
}

impl fmt::Display for SqlFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)?;
        if let Some(detail) = &self.detail {
            write!(f, "\ndetail: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl Error for SqlFailure {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::test_server::TestServer;

    async fn failure_of(client: &tokio_postgres::Client, sql: &str) -> (Severity, SqlFailure) {
        let error = client.query(sql, &[]).await.expect_err(sql);
        (Severity::of(&error), SqlFailure::from(&error))
    }

    fn raise(code: &str) -> String {
        format!("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$")
    }

    #[tokio::test]
    async fn what_the_server_says_reaches_the_guest() {
        let client = TestServer::shared().connect().await;
        client.batch_execute("CREATE TEMP TABLE t (id int CONSTRAINT only_once UNIQUE)").await.expect("a table");
        client.batch_execute("INSERT INTO t VALUES (1)").await.expect("a row");
        let (severity, failure) = failure_of(&client, "INSERT INTO t VALUES (1)").await;
        assert_eq!(severity, Severity::Statement);
        assert_eq!((failure.code.as_str(), failure.constraint.as_deref()), ("23505", Some("only_once")));
        assert_eq!(failure.detail.as_deref(), Some("Key (id)=(1) already exists."));
        let (_, failure) = failure_of(&client, "SELECT é FROM t WHERE missing").await;
        assert_eq!((failure.code.as_str(), failure.position), ("42703", Some(8)));
        let (_, failure) = failure_of(&client, "SELECT 'é', missing FROM t").await;
        assert_eq!(failure.position, Some(13), "the position counts characters");
    }

    #[tokio::test]
    async fn conflicts_are_tried_again_and_other_errors_are_not() {
        let client = TestServer::shared().connect().await;
        for (code, expected) in [
            ("40001", Severity::Retry),
            ("40P01", Severity::Retry),
            ("40002", Severity::Statement),
            ("55P03", Severity::Statement),
            // A foreign server out of reach is not a lost connection of ours.
            ("08006", Severity::Statement),
            ("57P01", Severity::Statement),
        ] {
            assert_eq!(failure_of(&client, &raise(code)).await.0, expected, "{code}");
        }
    }

    #[tokio::test]
    async fn the_end_of_the_session_is_a_lost_connection() {
        let client = TestServer::shared().connect().await;
        let (severity, failure) = failure_of(&client, "SELECT pg_terminate_backend(pg_backend_pid())").await;
        assert_eq!((severity, failure.code.as_str()), (Severity::ConnectionLost, "57P01"));
        let (severity, failure) = failure_of(&client, "SELECT 1").await;
        assert_eq!((severity, failure.code.as_str()), (Severity::ConnectionLost, "connection_lost"));
    }

    #[tokio::test]
    async fn a_guest_that_drops_the_drivers_statements_spoils_its_session() {
        let client = TestServer::shared().connect().await;
        client
            .batch_execute("CREATE TYPE pg_temp.a AS ENUM ('x'); CREATE TYPE pg_temp.b AS ENUM ('y')")
            .await
            .expect("types");
        client.query("SELECT 'x'::pg_temp.a", &[]).await.expect("the driver prepares its look-up of types");
        client.batch_execute("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$").await.expect("the server allows it");
        let (severity, failure) = failure_of(&client, "SELECT 'y'::pg_temp.b").await;
        assert_eq!((severity, failure.code.as_str()), (Severity::Statement, "26000"));
        assert!(failure.spoils_session());
        assert!(!failure_of(&client, "SELECT missing").await.1.spoils_session());
    }
}

//! Every call to the host, one thin function each.
//!
//! The rest of the crate speaks in its own types and does not know the bindings. A program that is built for the
//! machine it is written on, for its own tests, has no host: there each call is an error that says so, where the
//! generated stubs would abort.

use serde_json::{Map, Value};

use crate::{
    Error, Result,
    bindings::dbos::host::{communicator, log, sleep, sql, transaction, types, workflow},
};

pub use crate::bindings::dbos::host::log::Level;

/// The name of errors about a call that is not available where it was made.
pub(crate) const PHASE_ERROR: &str = "PhaseError";

/// The name of errors about a statement.
pub(crate) const SQL_ERROR: &str = "SqlError";

/// Fails where there is no host to call.
fn inside(call: &str) -> Result<()> {
    if cfg!(target_family = "wasm") {
        return Ok(());
    }
    let message = format!("`{call}` is only available in a component that dbos-host runs");
    Err(Error::new(message).with_name(PHASE_ERROR).do_not_retry())
}

pub(crate) fn call_transaction(step: &str, arguments: &str) -> Result<String> {
    inside("transaction.call")?;
    transaction::call(step, arguments).map_err(from_failure)
}

pub(crate) fn call_communicator(step: &str, arguments: &str) -> Result<String> {
    inside("communicator.call")?;
    communicator::call(step, arguments).map_err(from_failure)
}

pub(crate) fn sleep(milliseconds: u64) -> Result<()> {
    inside("sleep.sleep")?;
    sleep::sleep(milliseconds).map_err(from_failure)
}

pub(crate) fn workflow_id() -> Result<String> {
    inside("workflow.id")?;
    workflow::id().map_err(from_failure)
}

pub(crate) fn start_workflow(name: &str, arguments: &str, id: Option<String>, awaited: bool) -> Result<String> {
    inside("workflow.start")?;
    workflow::start(name, arguments, &workflow::StartOptions { id, awaited }).map_err(from_failure)
}

pub(crate) fn outcome(id: &str) -> Result<String> {
    inside("workflow.outcome")?;
    workflow::outcome(id).map_err(from_failure)
}

pub(crate) fn idempotency_key() -> Result<String> {
    inside("workflow.idempotency-key")?;
    workflow::idempotency_key().map_err(from_failure)
}

pub(crate) fn query(statement: &str, parameters: &str) -> Result<String> {
    inside("sql.query")?;
    sql::query(statement, parameters).map_err(from_sql_error)
}

pub(crate) fn execute(statement: &str, parameters: &str) -> Result<u64> {
    inside("sql.execute")?;
    sql::execute(statement, parameters).map_err(from_sql_error)
}

/// A cursor of the database; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Cursor(sql::Cursor);

pub(crate) fn open_cursor(statement: &str, parameters: &str) -> Result<Cursor> {
    inside("sql.open")?;
    sql::open(statement, parameters).map(Cursor).map_err(from_sql_error)
}

impl Cursor {
    pub(crate) fn next(&self, most: u32) -> Result<String> {
        self.0.next(most).map_err(from_sql_error)
    }
}

pub(crate) fn savepoint() -> Result<()> {
    inside("sql.savepoint")?;
    sql::savepoint().map_err(from_sql_error)
}

pub(crate) fn release() -> Result<()> {
    inside("sql.release")?;
    sql::release().map_err(from_sql_error)
}

pub(crate) fn rollback_to() -> Result<()> {
    inside("sql.rollback-to")?;
    sql::rollback_to().map_err(from_sql_error)
}

/// Writes a log line; without a host, to standard error.
pub(crate) fn log(level: Level, message: &str) {
    match inside("log.write") {
        Ok(()) => log::write(level, message),
        Err(_) => eprintln!("[{level:?}] {message}"),
    }
}

/// Tells the host why the program is about to abort.
pub(crate) fn panic(message: &str, location: Option<&str>) {
    match inside("log.panic") {
        Ok(()) => log::panic(message, location),
        Err(_) => eprintln!("panicked at {}: {message}", location.unwrap_or("an unknown place")),
    }
}

/// Fails where there is no host that could send a request.
pub(crate) fn may_send_requests() -> Result<()> {
    inside("http")
}

/// The error that the host hands over.
///
/// A function, because the bindings make the type a standard error, for which `From` exists already and would keep
/// nothing but its text.
fn from_failure(failure: types::Failure) -> Error {
    let types::Failure { name, message, code, data, retryable } = failure;
    Error::from_parts(name, message, code, data, retryable)
}

/// The error that is handed to the host.
pub(crate) fn into_failure(error: &Error) -> types::Failure {
    types::Failure {
        name: error.name().to_owned(),
        message: error.message().to_owned(),
        code: error.code().map(str::to_owned),
        data: error.data_text().map(str::to_owned),
        retryable: error.is_retryable(),
    }
}

/// What the code of an SQL error begins with when the statement never reached the database.
const WRONG_PHASE: &str = "wrong_phase";

/// The error of a statement: its SQLSTATE is the code, what else the database said is the data.
fn from_sql_error(error: sql::SqlError) -> Error {
    let sql::SqlError { code, message, detail, hint, constraint, position } = error;
    let name = if code == WRONG_PHASE { PHASE_ERROR } else { SQL_ERROR };
    let said = [
        ("detail", detail.map(Value::from)),
        ("hint", hint.map(Value::from)),
        ("constraint", constraint.map(Value::from)),
        ("position", position.map(Value::from)),
    ];
    let data: Map<String, Value> = said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    let error = Error::new(message).with_name(name).with_code(code);
    if data.is_empty() { error } else { error.with_data(data) }
}

#[cfg(test)]
mod tests {
    use super::{from_failure, from_sql_error, into_failure, sql::SqlError};
    use crate::Error;

    #[test]
    fn an_error_crosses_to_the_host_and_back_unchanged() {
        let data = "{\"b\":1, \"a\":123456789012345678901234567890}".to_owned();
        let error = Error::from_parts("N".into(), "m".into(), Some("c".into()), Some(data.clone()), false);
        let failure = into_failure(&error);
        assert_eq!(failure.data.as_deref(), Some(data.as_str()));
        let back = from_failure(failure);
        assert_eq!((back.name(), back.message(), back.code(), back.is_retryable()), ("N", "m", Some("c"), false));
        assert_eq!(back.data_text(), Some(data.as_str()));
    }

    #[test]
    fn without_a_host_a_call_says_so() {
        let error = super::query("SELECT 1", "[]").unwrap_err();
        assert_eq!(error.message(), "`sql.query` is only available in a component that dbos-host runs");
        assert_eq!(error.name(), super::PHASE_ERROR);
    }

    #[test]
    fn an_error_of_the_database_keeps_what_the_database_said() {
        let error = |code: &str| SqlError {
            code: code.into(),
            message: "duplicate key".into(),
            detail: Some("Key (id)=(1) already exists.".into()),
            hint: None,
            constraint: Some("greetings_pkey".into()),
            position: Some(3),
        };
        let unique = from_sql_error(error("23505"));
        assert_eq!((unique.name(), unique.code(), unique.is_retryable()), ("SqlError", Some("23505"), true));
        let data = serde_json::json!(
            {"detail": "Key (id)=(1) already exists.", "constraint": "greetings_pkey", "position": 3});
        assert_eq!(unique.data(), Some(data));
        assert_eq!(from_sql_error(error("wrong_phase")).name(), "PhaseError");
    }
}

//! SQL in a transaction. Its errors are the database's, and keep what the database said.

use serde_json::{Map, Value};

use super::{PHASE_ERROR, inside};
use crate::{Error, Result, bindings::dbos::host::sql};

/// The name of errors about a statement.
pub(crate) const SQL_ERROR: &str = "SqlError";

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
    use super::{from_sql_error, sql::SqlError};

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

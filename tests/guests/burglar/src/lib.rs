//! Tries whatever SQL it is given.

use dbos_guest::{prelude::*, serde_json};

#[transaction]
fn try_sql(statement: &str) -> Result<Vec<serde_json::Value>> {
    sql::query(statement, params![])
}

/// Runs the statements in transactions of their own, and tells what came of each.
#[workflow]
fn burgle(statements: Vec<String>) -> Vec<String> {
    let told = |statement: &String| match try_sql(statement) {
        Ok(rows) => serde_json::Value::Array(rows).to_string(),
        Err(error) => format!("{}: {error}", error.code().unwrap_or("no code")),
    };
    statements.iter().map(told).collect()
}

/// Takes an error for an answer.
#[transaction]
fn try_sql_and_ignore(statement: &str) -> String {
    match sql::query::<serde_json::Value>(statement, params![]) {
        Ok(rows) => format!("{} rows", rows.len()),
        Err(error) => format!("ignored: {error}"),
    }
}

/// Runs one statement whose failure the transaction does not see, and tells what the workflow sees.
#[workflow]
fn burgle_and_ignore(statement: &str) -> String {
    try_sql_and_ignore(statement).unwrap_or_else(|error| format!("failed: {error}"))
}

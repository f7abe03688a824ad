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

#[transaction]
fn try_together(statements: Vec<String>) -> Result<()> {
    statements.iter().try_for_each(|statement| sql::query::<serde_json::Value>(statement, params![]).map(drop))
}

/// Runs all statements in one transaction, and tells what came of it.
#[workflow]
fn burgle_together(statements: Vec<String>) -> String {
    match try_together(statements) {
        Ok(()) => "committed".to_owned(),
        Err(error) => format!("{}: {error}", error.code().unwrap_or("no code")),
    }
}

#[transaction(isolation = "read committed")]
fn lock_and_wait(table: &str) -> Result<()> {
    sql::execute(&format!("LOCK TABLE {table}"), params![])?;
    std::thread::sleep(Duration::from_secs(3600));
    Ok(())
}

/// Keeps what others need, and does nothing with it.
#[workflow]
fn lock(table: &str) -> String {
    lock_and_wait(table)
        .map_or_else(|error| format!("{}: {error}", error.code().unwrap_or("no code")), |()| "kept".to_owned())
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

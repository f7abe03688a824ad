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

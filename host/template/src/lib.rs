//! An app for dbos-host: it welcomes visitors, each in a workflow that runs to its end whatever crashes.

use dbos_guest::prelude::*;

/// A row of the table `visits`.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Visit {
    name: String,
    greeting: String,
}

/// What a visitor is told who was here so many times before. Plain code like this is tested as any other.
fn greeting(name: &str, earlier: i64) -> String {
    match earlier {
        0 => format!("Welcome, {name}!"),
        1 => format!("Welcome back, {name}!"),
        times => format!("Welcome back, {name}! This is visit number {}.", times + 1),
    }
}

/// A step: what it writes and the record that it has run are one commit.
#[transaction]
fn record_visit(name: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Earlier {
        visits: i64,
    }
    let earlier: Earlier = sql::query_one("SELECT count(*) AS visits FROM visits WHERE name = $1", params![name])?;
    let greeting = greeting(name, earlier.visits);
    sql::execute("INSERT INTO visits (name, greeting) VALUES ($1, $2)", params![name, &greeting])?;
    Ok(greeting)
}

/// Killed at any line, it goes on there when the host is started again.
#[workflow]
fn welcome(name: &str) -> Result<String> {
    let greeting = record_visit(name)?;
    sleep(Duration::from_millis(100))?;
    log::info!("{name} was welcomed");
    Ok(greeting)
}

/// Runs the workflow and answers with its result.
#[get("/welcome/{name}")]
fn welcome_route(name: &str) -> Result<String> {
    welcome(name)
}

/// All visits so far.
#[get("/visits")]
#[transaction(read_only)]
fn visits() -> Result<Vec<Visit>> {
    sql::query("SELECT name, greeting FROM visits ORDER BY id", params![])
}

#[cfg(test)]
mod tests {
    use super::greeting;

    #[test]
    fn visitors_are_counted() {
        assert_eq!(greeting("Ann", 0), "Welcome, Ann!");
        assert_eq!(greeting("Ann", 1), "Welcome back, Ann!");
        assert_eq!(greeting("Ann", 4), "Welcome back, Ann! This is visit number 5.");
    }
}

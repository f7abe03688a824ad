//! Steps that fail and are tried again, or not.

use dbos_guest::prelude::*;

fn ask(path: &str) -> Result<String> {
    let url = env::var("OUTSIDE_URL")?;
    http::get(format!("{url}/{path}")).idempotency_key()?.send()?.error_for_status()?.text()
}

/// Four attempts with 10, 20 and 30 seconds between them: the third wait would be 40 without its limit.
#[communicator(attempts = 4, interval = "10s", backoff = 2.0, max_interval = "30s")]
fn ask_four_times() -> Result<String> {
    ask("four")
}

#[communicator]
fn ask_once() -> Result<String> {
    ask("once")
}

#[communicator(attempts = 4, interval = "10s")]
fn ask_and_give_up() -> Result<String> {
    ask("give-up").map_err(Error::do_not_retry)
}

/// Two attempts of a fifth of a second each.
#[communicator(attempts = 2, timeout = "200ms")]
fn ask_in_a_hurry() -> Result<String> {
    ask("hurry")
}

#[transaction]
fn mark(text: &str) -> String {
    text.to_owned()
}

/// Calls the communicator of this name, and then a transaction with what it was told.
#[workflow]
fn asks(how: &str) -> Result<String> {
    let told = match how {
        "four" => ask_four_times(),
        "once" => ask_once(),
        "give up" => ask_and_give_up(),
        "hurry" => ask_in_a_hurry(),
        _ => bail!("there is no such way: `{how}`"),
    };
    mark(&told.unwrap_or_else(|error| format!("error: {error}")))
}

/// Reads, and writes what it has computed from what it read: two of them at once get in each other's way.
#[transaction]
fn increment() -> Result<i64> {
    #[derive(Deserialize)]
    struct Counter {
        value: i64,
    }
    let counter: Counter = sql::query_one("SELECT value FROM counter", params![])?;
    sql::execute("UPDATE counter SET value = $1", params![counter.value + 1])?;
    Ok(counter.value + 1)
}

#[workflow]
fn increments() -> Result<i64> {
    increment()
}

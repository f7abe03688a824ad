//! Steps that compute, and leave nothing outside before one of them sends a request.

use dbos_guest::prelude::*;

/// Sends nothing.
#[communicator]
fn draw(n: u32) -> u32 {
    log::info!("drew {n}");
    n * n
}

/// Sends a request, and has little time for it.
#[communicator(timeout = "300ms")]
fn tell(run: &str, sum: u32) -> Result<String> {
    log::info!("telling {sum}");
    let url = env::var("OUTSIDE_URL")?;
    http::post(format!("{url}/tell")).json(&json!({ "run": run, "sum": sum }))?.send()?.error_for_status()?.text()
}

fn sum(times: u32) -> Result<u32> {
    let mut sum = 0;
    for n in 1..=times {
        sum += draw(n)?;
    }
    log::info!("the sum is {sum}");
    Ok(sum)
}

#[workflow]
fn draws(times: u32) -> Result<u32> {
    sum(times)
}

#[workflow]
fn draws_and_tells(run: &str, times: u32) -> Result<String> {
    let sum = sum(times)?;
    tell(run, sum)
}

/// Reads nothing, and tells whoever listens to the database.
#[transaction(read_only)]
fn shout(sum: u32) -> Result<()> {
    sql::query::<dbos_guest::serde_json::Value>(
        "SELECT pg_notify('said', $1) IS NULL AS done",
        params![sum.to_string()],
    )?;
    Ok(())
}

#[workflow]
fn draws_and_shouts(times: u32) -> Result<()> {
    shout(sum(times)?)
}

/// Sends a request, and waits for its answer.
#[communicator]
fn ask(run: &str) -> Result<String> {
    log::info!("asking");
    let url = env::var("OUTSIDE_URL")?;
    http::post(format!("{url}/ask")).json(&json!({ "run": run }))?.send()?.error_for_status()?.text()
}

/// Computes for longer than a record takes to the disk.
#[workflow]
fn draws_thinks_and_asks(run: &str) -> Result<String> {
    draw(1)?;
    let mut number = 1_u64;
    for n in 0..200_000_000 {
        number = std::hint::black_box(number.wrapping_mul(31).wrapping_add(n));
    }
    log::info!("thought of {}", number % 2);
    ask(run)
}

/// Fails without having sent anything, and is tried again.
#[communicator(attempts = 2, interval = "1ms")]
fn fail(sum: u32) -> Result<()> {
    bail!("no use for {sum}")
}

#[workflow]
fn draws_and_fails(times: u32) -> Result<()> {
    fail(sum(times)?)
}

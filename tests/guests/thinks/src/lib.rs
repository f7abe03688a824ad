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

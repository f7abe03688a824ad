//! How long it takes until all runs are past their next step after a kill: from the start of the process.
//!
//! Each run has made three steps and sleeps when the host is killed; what it waits for is due when the next host starts.
//! One run is made by the host, the others are copies of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::place::{Place, until, until_looking_every};
use crate::server::Server;
use crate::table::{Bar, Figure, Table};

/// What each run has recorded at its end: three steps, a sleep, and the step behind it.
const RECORDS: i64 = 5;

/// So much for a thousand runs, and no more for each of many.
const BAR_MS_OF_THOUSAND: f64 = 600.0;

/// Measures it.
pub(super) async fn measure(server: &Server, runs: u32, table: &mut Table) -> Result<()> {
    let place = Place::new(server, "").await;
    let (mut serving, _) = place.start().await?;
    serving.host.start_workflow("steps_then_sleep", "first", &json!({ "steps": 3, "milliseconds": 3_600_000 })).await;
    until("the run sleeps", async || place.sleepers().await == 1).await?;
    serving.host.kill9().await;
    place.copy_run("first", 0, runs - 1).await;
    place.wake().await;
    place.settle().await;
    ensure!(place.sleepers().await == i64::from(runs), "make {runs} runs");

    let begun = Instant::now();
    let clock = server.clock(None);
    let mut host = place.builder.launch();
    let clock = clock.of_new(host.process_id());
    // The index of what is PENDING answers this, and is empty at the end. A look a hundredth of the time apart is exact
    // enough, and slows nobody down.
    let pending = "SELECT count(*) FROM (SELECT FROM dbos.workflow_status WHERE status = 'PENDING' LIMIT 1) AS one";
    let pause = Duration::from_micros(u64::from(runs) * 5);
    until_looking_every(pause, "all runs end", async || place.count(pending).await == 0).await?;
    let time = begun.elapsed().as_secs_f64() * 1e3;
    let taken = clock.stop();
    host.kill9().await;
    let records = place.count("SELECT count(*) FROM dbos.operation_outputs WHERE error IS NULL").await;
    let ended = place.count("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'").await;
    ensure!(
        ended == i64::from(runs) && records == RECORDS * i64::from(runs),
        "recover {runs} runs: {ended} have ended well, with {records} records"
    );

    let bar = BAR_MS_OF_THOUSAND * f64::from(runs) / 1_000.0;
    let name = format!("recovery: {} runs past their next step, from the start of the process", with_commas(runs));
    table.add(Figure::new(name, time, "ms").over("restart").bar(Bar::FigureAtMost(bar)).took(taken));
    Ok(())
}

/// `10000` as people read it.
fn with_commas(number: u32) -> String {
    let digits = number.to_string();
    let comma = |at: usize| if at > 0 && (digits.len() - at).is_multiple_of(3) { "," } else { "" };
    digits.char_indices().map(|(at, digit)| format!("{}{digit}", comma(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_legible() {
        assert_eq!([7, 999, 1_000, 100_000].map(with_commas), ["7", "999", "1,000", "100,000"]);
    }
}

//! What a history costs: a run with so many recorded steps is due when the host starts, replays all of them and makes one
//! step more.
//!
//! From outside there is only the time from the start of the process to the outcome, so what a history costs is the
//! difference to a start with a short one. Reading it and replaying it cannot be told apart that way; the host's own log,
//! at the level `debug`, says how long each instance lived, which begins when the history is read. What an instance costs
//! whatever it replays falls out of the difference between two lengths.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Measured;
use crate::place::{Place, until};
use crate::server::Server;
use crate::table::{Bar, Figure};

/// Recorded steps.
const LENGTHS: [u32; 5] = [100, 1_000, 10_000, 20_000, 50_000];

/// What is taken off, and the length that the bar is about.
const SHORT: u32 = LENGTHS[0];
const BAR: u32 = LENGTHS[2];
const LONG: u32 = LENGTHS[4];

/// The series of the picture.
pub(crate) const IN_ALL: &str = "from restart to outcome";
pub(crate) const REPLAYED: &str = "of it: the replay";

/// The run that is measured.
const RUN: &str = "long";

/// Measures all lengths, in one round.
pub(super) async fn measure(server: &Server, measured: &mut Measured) -> Result<()> {
    let mut of_lengths = Vec::new();
    for steps in LENGTHS {
        let times = one(server, steps).await?;
        for (series, value) in [(IN_ALL, times.in_all), (REPLAYED, times.instance)] {
            measured.history.entry(series).or_default().entry(steps).or_default().push(value);
        }
        of_lengths.push((steps, times));
    }
    let of = |steps: u32| of_lengths.iter().find(|(own, _)| *own == steps).map(|(_, times)| times);
    let (short, bar, long) = (of(SHORT).context("short")?, of(BAR).context("middle")?, of(LONG).context("long")?);
    let in_all = bar.in_all - short.in_all;
    let figure = Figure::new("replay: 10,000 recorded steps of one run, in all", in_all, "ms");
    measured.table.add(figure.over("restart, less one with 100").bar(Bar::FigureAtMost(100.0)));
    let rate = f64::from(LONG - SHORT) / (long.instance - short.instance) * 1e3;
    let figure = Figure::new("replay: recorded steps, once the history is read", rate, "/s");
    measured.table.add(figure.over("the host's log, 50,000 less 100").bar(Bar::FigureAtLeast(500_000.0)));
    Ok(())
}

/// In milliseconds.
struct Times {
    in_all: f64,
    instance: f64,
}

async fn one(server: &Server, steps: u32) -> Result<Times> {
    // The longest is as long as a history may be by default, without its sleep and its last step.
    let mut place = Place::new(server, "limits:\n  steps_per_run: 100000").await;
    place.builder =
        place.builder.clone().environment("DBOS_LOG", "info,executor=debug").environment("DBOS_LOG_FORMAT", "json");
    let (mut serving, _) = place.start().await?;
    serving.host.start_workflow("steps_then_sleep", RUN, &json!({ "steps": 1, "milliseconds": 3_600_000 })).await;
    until("the run sleeps", async || place.sleepers().await == 1).await?;
    serving.host.kill9().await;
    place.lengthen(RUN, steps).await?;
    place.wake().await;
    place.settle().await;

    let begun = Instant::now();
    let mut host = place.builder.launch();
    until("the run ends", async || place.database.status(RUN).await.as_deref() == Some("SUCCESS")).await?;
    let in_all = begun.elapsed().as_secs_f64() * 1e3;
    let records = place.count("SELECT count(*) FROM dbos.operation_outputs").await;
    ensure!(records == i64::from(steps) + 2, "replay {steps} steps and make one more: there are {records} records");
    let instance = instance(&host.log(), steps)?;
    host.kill9().await;
    Ok(Times { in_all, instance })
}

/// How long the instance lived that had this history, by the host's log.
fn instance(log: &str, steps: u32) -> Result<f64> {
    let records = u64::from(steps) + 1;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut lives = lines.filter(|line| line["message"] == "an instance has ended" && line["records"] == records);
    let life = lives.next().and_then(|line| line["milliseconds"].as_f64());
    life.with_context(|| format!("find the instance with {records} records in the host's log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_with_the_history_is_found_in_the_log() {
        let log = "no JSON\n\
                   {\"message\":\"an instance has ended\",\"records\":0,\"milliseconds\":1.5}\n\
                   {\"message\":\"an instance has ended\",\"records\":101,\"milliseconds\":2.5}\n";
        assert_eq!(instance(log, 100).unwrap(), 2.5);
        assert!(instance(log, 200).is_err());
    }
}

//! What is measured, a file for each question: what is done in every round, and what is done once because it takes long.

mod commits;
mod curves;
mod growth;
mod peer;
mod rates;
mod receivers;
mod recovery;
mod replay;
mod standing;

use std::collections::BTreeMap;

pub(crate) use self::curves::SERIES as SERIES_OF_THROUGHPUT;

use anyhow::Result;

use crate::limits::Limits;
use crate::options::{Options, Topic};
use crate::server::Server;
use crate::table::Table;

/// The lines of the picture of histories.
pub(crate) const SERIES_OF_HISTORY: [&str; 2] = [replay::IN_ALL, replay::REPLAYED];

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) table: Table,
    /// Points of the pictures: concurrency, and workflows in a second.
    pub(crate) throughput: BTreeMap<&'static str, Vec<(f64, f64)>>,
    /// Recorded steps, and milliseconds of each round.
    pub(crate) history: BTreeMap<&'static str, BTreeMap<u32, Vec<f64>>>,
    /// What was not measured, with the reason.
    pub(crate) notes: Vec<String>,
}

/// Measures all that was asked for.
pub(crate) async fn run(server: &Server, options: &Options) -> Result<Measured> {
    let mut measured = Measured::default();
    let mut limits = Limits::prepare(server).await;
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        peer::measure(server, options, &mut measured).await?;
        rates::measure(server, options, &mut limits, &mut measured).await?;
        if options.wants(Topic::Replay) {
            replay::measure(server, &mut measured).await?;
        }
        if options.wants(Topic::Recovery) {
            recovery::measure(server, 1_000, &mut measured.table).await?;
        }
    }
    eprintln!("once");
    if options.wants(Topic::Recovery) {
        recovery::measure(server, 10_000, &mut measured.table).await?;
        if options.long {
            recovery::measure(server, 100_000, &mut measured.table).await?;
        }
    }
    if options.wants(Topic::Commits) {
        commits::measure(server, &mut measured.table).await?;
    }
    if options.wants_any(&[Topic::Idle, Topic::Memory, Topic::Sleepers]) {
        standing::measure(server, options, &mut measured.table).await?;
    }
    if options.wants(Topic::Receivers) {
        receivers::measure(server, &mut measured.table).await?;
    }
    if options.wants(Topic::Curves) {
        curves::measure(server, &mut measured).await?;
    }
    if options.wants(Topic::Growth) {
        if options.long {
            growth::measure(server, &mut limits, &mut measured.table).await?;
        } else {
            measured
                .notes
                .push("Growth to a million finished runs, and recovery of 100,000: only with `--long`.".into());
        }
    }
    Ok(measured)
}

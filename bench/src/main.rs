//! What the host costs, as ratios to what the database under it can do.
//!
//! Figures of a machine say little about another one, and the same machine drifts by a third within an hour. So nothing is
//! compared with a figure from before: each round measures the database's own limits with `pgbench`, then the host, and
//! each figure is a ratio to the limit of the same round. A ratio is what the host is answerable for.
//!
//! `cargo xtask bench` builds everything with the profile for users and runs this.

mod limits;
mod load;
mod processor;
mod table;
mod workloads;

use anyhow::{Result, bail};
use dbos_host_tests::TestPostgres;

use crate::table::Table;

/// Rounds, from which the median, the least and the most are shown.
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let server = TestPostgres::start();
    let mut table = Table::default();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        let limits = limits::measure(&server).await?;
        limits.note(&mut table);
        workloads::run(&server, &limits, &options.only, &mut table).await?;
    }
    table.print(options.json)
}

struct Options {
    rounds: usize,
    json: bool,
    only: Vec<String>,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { rounds: ROUNDS, json: false, only: Vec::new() };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = true,
                "--rounds" => match arguments.next().and_then(|n| n.parse().ok()) {
                    Some(rounds) if rounds > 0 => options.rounds = rounds,
                    _ => bail!("understand `--rounds`: a number is expected behind it"),
                },
                name if !name.starts_with('-') => options.only.push(name.to_owned()),
                other => bail!("understand `{other}`\nusage: cargo xtask bench [-- [--json] [--rounds N] [WORKLOAD…]]"),
            }
        }
        Ok(options)
    }
}

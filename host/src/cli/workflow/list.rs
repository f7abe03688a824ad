//! `dbos-host workflow list`: the newest runs.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::{Span, Timestamp, Zoned};

use super::waits;
use crate::cli::args::ConfigArgs;
use crate::cli::config::Config;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::open::Opened;
use crate::cli::output;
use crate::cli::table::{Table, cut, if_used, local_time, optional, whole};
use crate::database::{ListFilter, RunRow};
use crate::workflow::{EpochMs, Status};

/// How many runs are listed at most. They are held in memory and read by a person; programs page through the API.
const MOST: i64 = 10_000;

/// List workflows, the newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dbos-host workflow list --status ERROR --limit 5
  dbos-host workflow list --name greeting_workflow --json
  dbos-host workflow list --app shop --since 2h")]
pub(crate) struct ListArgs {
    /// Only those in this status
    #[arg(long, value_parser = status_parser(), ignore_case = true)]
    pub(crate) status: Option<Status>,

    /// Only runs of the workflow of this name
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// Only those of this app
    #[arg(long)]
    pub(crate) app: Option<String>,

    /// Only those created since: a time like `2026-08-01T12:00:00Z`, or how long ago, like `2h` or `3 days`
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<EpochMs>,

    /// How many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=MOST))]
    pub(crate) limit: u32,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Takes a status as the database writes it, in capitals or not.
fn status_parser() -> impl TypedValueParser<Value = Status> {
    let names = Status::ALL.map(Status::as_str);
    PossibleValuesParser::new(names).map(|name| {
        Status::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(&name))
            .expect("the parser lets only the names of statuses through")
    })
}

/// A time, or a span before now.
fn since(text: &str) -> Result<EpochMs, &'static str> {
    const EXPECTED: &str = "expected a time like `2026-08-01T12:00:00Z`, or how long ago, like `2h` or `3 days`";
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(EpochMs(time.as_millisecond()));
    }
    let span: Span = text.parse().map_err(|_| EXPECTED)?;
    // Days and weeks are those of this machine's calendar.
    let then = Zoned::now().checked_sub(span.abs()).map_err(|_| EXPECTED)?;
    Ok(EpochMs(then.timestamp().as_millisecond()))
}

/// Lists runs.
pub(crate) async fn execute(args: &ListArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    let opened = Opened::open_ready(&config).await?;
    let filter = ListFilter {
        status: args.status,
        name: args.name.clone(),
        app: args.app.clone(),
        since: args.since,
        limit: args.limit.into(),
    };
    let runs = opened.database.list_runs(&filter).await;
    opened.close().await?;
    let runs = runs.map_err(|error| Failure::to("list workflows").because(error).exit(Exit::Database))?;
    if args.json {
        output::print(&super::pretty(&runs)?)?;
        return Ok(Exit::Success);
    }
    output::print(&table(&runs))?;
    Ok(Exit::Success)
}

/// The runs in lines; with their apps, if there are several.
fn table(runs: &[RunRow]) -> String {
    let cells = |run: &RunRow| {
        let (status, created) = (run.status.to_string(), local_time(run.created_at.0));
        let executor = run.executor.clone().unwrap_or_default();
        let waits = run.waiting.as_ref().map(|waiting| waits::in_short(&waiting.reason)).unwrap_or_default();
        [run.id.clone(), status, run.name.clone(), waits, created, run.attempts.to_string(), executor]
    };
    if runs.windows(2).all(|pair| pair[0].app == pair[1].app) {
        let mut table = Table::new([
            whole("ID"),
            whole("STATUS"),
            cut("NAME", 8),
            if_used("WAITS"),
            optional("CREATED"),
            optional("ATTEMPTS"),
            optional("EXECUTOR"),
        ]);
        runs.iter().for_each(|run| table.push(cells(run)));
        return table.for_output();
    }
    let mut table = Table::new([
        whole("ID"),
        cut("APP", 8),
        whole("STATUS"),
        cut("NAME", 8),
        if_used("WAITS"),
        optional("CREATED"),
        optional("ATTEMPTS"),
        optional("EXECUTOR"),
    ]);
    for run in runs {
        let [id, status, name, waits, created, attempts, executor] = cells(run);
        table.push([id, run.app.clone().unwrap_or_default(), status, name, waits, created, attempts, executor]);
    }
    table.for_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_a_span() {
        assert_eq!(since("2026-08-01T12:00:00Z"), Ok(EpochMs(1_785_585_600_000)));
        let now = Timestamp::now().as_millisecond();
        for (text, seconds) in [("2h", 7200), ("90 minutes", 5400), ("1w", 604_800)] {
            let EpochMs(then) = since(text).expect("a span");
            // An hour more or less for a change of the clocks.
            assert!((now - then - seconds * 1000).abs() < 3_700_000, "{text}");
        }
        assert!(since("yesterday").is_err() && since("").is_err());
    }
}

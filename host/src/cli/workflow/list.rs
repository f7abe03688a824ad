//! `dbos-host workflow list`: the newest runs.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::args::ConfigArgs;
use crate::cli::config::Config;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::open::Opened;
use crate::cli::output;
use crate::cli::table::{Table, local_time};
use crate::database::ListFilter;
use crate::workflow::Status;

/// How many runs are listed at most. They are held in memory and read by a person; programs page through the API.
const MOST: i64 = 10_000;

/// List workflows, the newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dbos-host workflow list --status ERROR --limit 5
  dbos-host workflow list --name greeting_workflow --json")]
pub(crate) struct ListArgs {
    /// Only those in this status
    #[arg(long, value_parser = status_parser(), ignore_case = true)]
    pub(crate) status: Option<Status>,

    /// Only runs of the workflow of this name
    #[arg(long)]
    pub(crate) name: Option<String>,

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

/// Lists runs.
pub(crate) async fn execute(args: &ListArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    let opened = Opened::open_ready(&config).await?;
    let filter = ListFilter { status: args.status, name: args.name.clone(), limit: args.limit.into() };
    let runs = opened.database.list_runs(&filter).await;
    opened.close().await?;
    let runs = runs.map_err(|error| Failure::to("list workflows").because(error).exit(Exit::Database))?;
    if args.json {
        output::print(&super::pretty(&runs)?)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(["ID", "STATUS", "NAME", "CREATED", "ATTEMPTS", "EXECUTOR"]);
    for run in runs {
        let (status, created) = (run.status.to_string(), local_time(run.created_at.0));
        table.push([run.id, status, run.name, created, run.attempts.to_string(), run.executor.unwrap_or_default()]);
    }
    output::print(&table.to_string())?;
    Ok(Exit::Success)
}

//! `dbos-host workflow get`: one run.

use clap::Args;

use super::waits;
use crate::cli::args::ConfigArgs;
use crate::cli::config::Config;
use crate::cli::escape;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::open::Opened;
use crate::cli::output;
use crate::cli::table::local_time;
use crate::database::RunRow;
use crate::workflow::{EpochMs, WorkflowId};

/// Show a workflow: its status, arguments, and result or error
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The workflow's id
    #[arg(value_name = "ID")]
    pub(crate) id: String,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Shows a run.
pub(crate) async fn execute(args: &GetArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    let opened = Opened::open_ready(&config).await?;
    let run = opened.database.run(&WorkflowId::stored(&args.id)).await;
    opened.close().await?;
    let run = run.map_err(|error| Failure::to("read the workflow").because(error).exit(Exit::Database))?;
    let run = run.ok_or_else(|| super::not_found(&args.id))?;
    output::print(&if args.json { super::pretty(&run)? } else { for_people(&run) })?;
    Ok(Exit::Success)
}

fn for_people(run: &RunRow) -> String {
    let time = |at: Option<EpochMs>| at.map(|at| local_time(at.0));
    let json = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    let lines = [
        ("id", Some(run.id.clone())),
        ("status", Some(run.status.to_string())),
        ("name", Some(run.name.clone())),
        ("app", run.app.clone()),
        ("version", run.version.clone()),
        ("executor", run.executor.clone()),
        ("attempts", Some(run.attempts.to_string())),
        ("parent", run.parent.clone()),
        ("created", time(Some(run.created_at))),
        ("updated", time(Some(run.updated_at))),
        ("completed", time(run.completed_at)),
        ("deadline", time(run.deadline)),
        ("waits for", run.waiting.as_ref().map(|waiting| waits::in_words(&waiting.reason))),
        ("since", run.waiting.as_ref().map(|waiting| local_time(waiting.since.0))),
        ("input", json(&run.input)),
        ("output", json(&run.output)),
        ("error", json(&run.error)),
        ("undo", run.undo.as_ref().map(|undo| format!("{} ({})", undo.id, undo.status))),
    ];
    let shown = lines.into_iter().filter_map(|(name, value)| Some((name, value?)));
    shown.map(|(name, value)| format!("{name:9}  {}\n", escape::line(&value))).collect()
}

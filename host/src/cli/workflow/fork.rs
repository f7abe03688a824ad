//! `dbos-host workflow fork`: has a workflow done again from one of its steps, under another id.
//!
//! It works on the database alone: the next host that serves the app runs the fork, within a second if it is running.

use clap::Args;
use serde_json::json;

use super::cut::{CutArgs, refused};
use crate::cli::args::ConfigArgs;
use crate::cli::config::Config;
use crate::cli::escape;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::open::Opened;
use crate::cli::output;
use crate::database::NewFork;
use crate::executor::fresh_id;
use crate::workflow::WorkflowId;

/// Fork a workflow: do it again from one of its steps, under another id
///
/// The fork has the same arguments and everything that was recorded before the step, events and streams included. The
/// workflow itself stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dbos-host workflow fork order-7 --failed
  dbos-host workflow fork order-7 --step 3 --app-version current --id order-7-again")]
pub(crate) struct ForkArgs {
    /// The workflow's id
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    cut: CutArgs,

    /// The id of the fork [default: a new one]
    #[arg(long = "id", value_name = "ID", value_parser = new_id)]
    fork: Option<WorkflowId>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

fn new_id(text: &str) -> Result<WorkflowId, &'static str> {
    WorkflowId::chosen(text).map_err(|error| error.reason())
}

/// Forks a run.
pub(crate) async fn execute(args: &ForkArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    let id = args.fork.clone().unwrap_or_else(fresh_id);
    let new = NewFork { id, cut: args.cut.cut(), version: args.cut.version() };
    let opened = Opened::open_ready(&config).await?;
    let forked = opened.database.fork(&WorkflowId::stored(&args.id), &new).await;
    opened.close().await?;
    let forked = forked
        .map_err(|error| Failure::to(format!("fork the workflow `{}`", args.id)).because(error).exit(Exit::Database))?;
    let step = forked.map_err(|refusal| refused("fork", &args.id, &refusal))?;
    output::print(&match args.json {
        true => super::pretty(&json!({ "id": new.id.as_str(), "forkedFrom": args.id, "startStep": step.get() }))?,
        false => format!("{}  goes on from step {step}", escape::line(new.id.as_str())),
    })?;
    Ok(Exit::Success)
}

//! `dbos-host workflow rewind`: has a workflow done again from one of its steps, under its own id.
//!
//! It works on the database alone: the next host that serves the app takes the workflow up, within a second if it is running.

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
use crate::workflow::WorkflowId;

/// Rewind a workflow that has ended: do it again from one of its steps
///
/// What it has recorded from the step on is deleted, with its result, the events that it has set since, and the messages that
/// it has received since or not at all. What its steps have done outside of that stays done.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dbos-host workflow rewind order-7 --failed
  dbos-host workflow rewind order-7 --step 3 --app-version current")]
pub(crate) struct RewindArgs {
    /// The workflow's id
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    cut: CutArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

/// Rewinds a run.
pub(crate) async fn execute(args: &RewindArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    let opened = Opened::open_ready(&config).await?;
    let run = WorkflowId::stored(&args.id);
    let rewound = opened.database.rewind(&run, args.cut.cut(), &args.cut.version()).await;
    opened.close().await?;
    let rewound = rewound
        .map_err(|error| Failure::to(format!("rewind the workflow `{run}`")).because(error).exit(Exit::Database))?;
    let step = rewound.map_err(|refusal| refused("rewind", &args.id, &refusal))?;
    output::print(&match args.json {
        true => super::pretty(&json!({ "id": args.id, "startStep": step.get() }))?,
        false => format!("{}  goes on from step {step}", escape::line(&args.id)),
    })?;
    Ok(Exit::Success)
}

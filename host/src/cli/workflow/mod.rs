//! `dbos-host workflow …`: looks at runs, stops them, lets them go on, and has them done again.

pub(crate) mod cancel;
mod change;
mod cut;
pub(crate) mod events;
pub(crate) mod fork;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod resume;
pub(crate) mod rewind;
pub(crate) mod steps;
mod waits;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::failure::Failure;
use crate::workflow::Code;

/// List, show, cancel, resume, fork and rewind workflows
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dbos-host workflow list --status PENDING
  dbos-host workflow get 0198c5a4-7d2e-7c50-9f0b-3d1f4a6b8c9d
  dbos-host workflow steps 0198c5a4-7d2e-7c50-9f0b-3d1f4a6b8c9d --json
  dbos-host workflow cancel 0198c5a4-7d2e-7c50-9f0b-3d1f4a6b8c9d")]
pub(crate) struct WorkflowArgs {
    #[command(subcommand)]
    pub(crate) command: WorkflowCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowCommand {
    List(list::ListArgs),
    Get(get::GetArgs),
    Steps(steps::StepsArgs),
    Events(events::EventsArgs),
    Cancel(cancel::CancelArgs),
    Resume(resume::ResumeArgs),
    Fork(fork::ForkArgs),
    Rewind(rewind::RewindArgs),
}

/// Runs the command.
pub(crate) async fn execute(args: &WorkflowArgs) -> Result<Exit, Failure> {
    match &args.command {
        WorkflowCommand::List(args) => list::execute(args).await,
        WorkflowCommand::Get(args) => get::execute(args).await,
        WorkflowCommand::Steps(args) => steps::execute(args).await,
        WorkflowCommand::Events(args) => events::execute(args).await,
        WorkflowCommand::Cancel(args) => cancel::execute(args).await,
        WorkflowCommand::Resume(args) => resume::execute(args).await,
        WorkflowCommand::Fork(args) => fork::execute(args).await,
        WorkflowCommand::Rewind(args) => rewind::execute(args).await,
    }
}

fn not_found(id: &str) -> Failure {
    Failure::to(format!("find the workflow `{id}`"))
        .because("there is none with this id")
        .exit(Exit::NotFound)
        .code(Code("no_such_workflow"))
}

fn pretty(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::to("write JSON").because(error))
}

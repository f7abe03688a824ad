//! `dbos-host workflow cancel`: stops runs, wherever they are.
//!
//! It works on the database alone. Hosts that run find out within a second, those that do not have nothing to stop.

use clap::Args;

use super::change::{Change, Verdict};
use crate::cli::args::ConfigArgs;
use crate::cli::config::Config;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::open::Opened;
use crate::database::{Cancel, HowToCancel};

/// Cancel workflows
///
/// Nothing is recorded for a cancelled workflow any more, and its instance is dropped within a second: a transaction is
/// rolled back, a request is given up. `workflow resume` takes it up again from its records.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dbos-host workflow cancel 0198c5a4-7d2e-7c50-9f0b-3d1f4a6b8c9d
  dbos-host workflow cancel order-7 order-8 --children")]
pub(crate) struct CancelArgs {
    /// The workflows' ids
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,

    /// Cancel everything that they have started as well
    #[arg(long)]
    pub(crate) children: bool,

    /// Leave what their steps have done as it is
    ///
    /// Steps that have an undo are undone when their workflow is cancelled; with this they are not.
    #[arg(long)]
    pub(crate) without_undo: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Cancels runs.
pub(crate) async fn execute(args: &CancelArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    let runs = super::change::distinct(&args.ids);
    let opened = Opened::open_ready(&config).await?;
    let how = HowToCancel { of: None, without_undo: args.without_undo };
    let ends = match args.children {
        true => opened.database.cancel_with_children(&runs, how).await,
        false => opened.database.cancel(&runs, how).await,
    };
    opened.close().await?;
    let ends = ends.map_err(|error| Failure::to("cancel workflows").because(error).exit(Exit::Database))?;
    let changes = ends.into_iter().filter_map(|(run, end)| {
        let verdict = match end {
            Cancel::Cancelled => Verdict::Done("cancelled"),
            Cancel::Already => Verdict::Done("already_cancelled"),
            // A child that has ended by itself is nothing that went wrong.
            Cancel::Ended(_) if !runs.contains(&run) => return None,
            Cancel::Ended(status) => Verdict::Ended(status),
            Cancel::Unknown => Verdict::Unknown,
        };
        Some(Change { run, verdict })
    });
    super::change::report("cancel", changes.collect(), args.json)
}

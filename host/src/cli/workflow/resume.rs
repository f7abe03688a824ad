//! `dbos-host workflow resume`: lets runs go on that were cancelled or given up.
//!
//! It works on the database alone: the next host that serves the app takes them, within a second if it is running.

use clap::Args;

use super::change::{Change, Verdict};
use crate::cli::args::ConfigArgs;
use crate::cli::config::Config;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::open::Opened;
use crate::database::Resume;

/// Resume workflows
///
/// A workflow that was cancelled, or stopped after too many attempts, goes on behind its last recorded step. One that has
/// not ended is taken from whoever has it and begun again from its records, at once and with a fresh count of attempts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dbos-host workflow resume 0198c5a4-7d2e-7c50-9f0b-3d1f4a6b8c9d
  dbos-host workflow resume order-7 order-8 --json")]
pub(crate) struct ResumeArgs {
    /// The workflows' ids
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Resumes runs.
pub(crate) async fn execute(args: &ResumeArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    let opened = Opened::open_ready(&config).await?;
    let mut changes = Vec::new();
    let mut failed = None;
    for run in super::change::distinct(&args.ids) {
        let verdict = match opened.database.resume(&run, None).await {
            Ok(Resume::Resumed) => Verdict::Done("resumed"),
            Ok(Resume::Ended(status)) => Verdict::Ended(status),
            Ok(Resume::Undone) => Verdict::Undone,
            Ok(Resume::Unknown) => Verdict::Unknown,
            Err(error) => {
                failed = Some(Failure::to(format!("resume the workflow `{run}`")).because(error).exit(Exit::Database));
                break;
            }
        };
        changes.push(Change { run, verdict });
    }
    opened.close().await?;
    // What was done before the database went away is told all the same.
    let reported = super::change::report("resume", changes, args.json);
    failed.map_or(reported, Err)
}

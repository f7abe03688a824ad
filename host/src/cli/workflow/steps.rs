//! `dbos-host workflow steps`: what a run has recorded.

use clap::Args;

use crate::cli::args::ConfigArgs;
use crate::cli::config::Config;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::open::Opened;
use crate::cli::output;
use crate::cli::table::{Table, cut, local_time, optional, whole};
use crate::workflow::WorkflowId;

/// Show the recorded steps of a workflow, in their order
#[derive(Debug, Args)]
pub(crate) struct StepsArgs {
    /// The workflow's id
    #[arg(value_name = "ID")]
    pub(crate) id: String,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// The longest result in the table, in characters; `--json` has all of it.
const SHOWN: usize = 60;

/// Shows the steps of a run.
pub(crate) async fn execute(args: &StepsArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    let opened = Opened::open_ready(&config).await?;
    let id = WorkflowId::stored(&args.id);
    let found = async { Ok((opened.database.run(&id).await?, opened.database.steps(&id).await?)) }.await;
    opened.close().await?;
    let (run, steps) = found.map_err(|error: crate::database::DatabaseError| {
        Failure::to("read the workflow's steps").because(error).exit(Exit::Database)
    })?;
    if run.is_none() {
        return Err(super::not_found(&args.id));
    }
    if args.json {
        output::print(&super::pretty(&steps)?)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new([whole("STEP"), whole("NAME"), optional("ENDED"), optional("CHILD"), cut("RESULT", 16)]);
    for step in steps {
        let result = match (&step.error, &step.output) {
            (Some(error), _) => format!("error: {error}"),
            (None, Some(output)) => output.to_string(),
            (None, None) => String::new(),
        };
        let shown: String = result.chars().take(SHOWN).collect();
        let more = if shown.len() < result.len() { "…" } else { "" };
        let ended = step.completed_at.map(|at| local_time(at.0)).unwrap_or_default();
        table.push([step.step.to_string(), step.name, ended, step.child.unwrap_or_default(), format!("{shown}{more}")]);
    }
    output::print(&table.for_output())?;
    Ok(Exit::Success)
}

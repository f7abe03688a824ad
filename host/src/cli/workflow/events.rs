//! `dbos-host workflow events`: what a run shows.

use clap::Args;
use serde_json::{Map, Value};

use crate::cli::args::ConfigArgs;
use crate::cli::config::Config;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::open::Opened;
use crate::cli::output;
use crate::cli::table::{Table, cut, whole};
use crate::database::stored_json;
use crate::workflow::WorkflowId;

/// Show what a workflow has set with `set_event`: the last value of each
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// The workflow's id
    #[arg(value_name = "ID")]
    pub(crate) id: String,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// The longest value in the table, in characters; `--json` has all of it.
const SHOWN: usize = 200;

/// Shows the events of a run.
pub(crate) async fn execute(args: &EventsArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    let opened = Opened::open_ready(&config).await?;
    let events = opened.database.events(&WorkflowId::stored(&args.id), (i64::MAX, 0), i32::MAX).await;
    opened.close().await?;
    let events =
        events.map_err(|error| Failure::to("read the workflow's events").because(error).exit(Exit::Database))?;
    let events = events.ok_or_else(|| super::not_found(&args.id))?;
    if args.json {
        let values = events.into_iter().map(|(key, value)| (key, stored_json(Some(value)).unwrap_or_default()));
        output::print(&super::pretty(&values.collect::<Map<String, Value>>())?)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new([whole("KEY"), cut("VALUE", 16)]);
    for (key, value) in events {
        let shown: String = value.chars().take(SHOWN).collect();
        let more = if shown.len() < value.len() { "…" } else { "" };
        table.push([key, format!("{shown}{more}")]);
    }
    output::print(&table.for_output())?;
    Ok(Exit::Success)
}

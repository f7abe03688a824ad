//! `dbos-host reset`: begins anew with an empty database.
//!
//! For development, and dangerous everywhere else. So it says what would be deleted, thing by thing, before it asks; it
//! asks on a terminal, and wants `--yes` where there is none; and it does not take the database away from under a host.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use clap::Args;

use super::args::ConfigArgs;
use super::config::Config;
use super::exit::Exit;
use super::failure::Failure;
use super::open::Opened;
use super::{escape, output};
use crate::database::{Belongings, ResetError};
use crate::local_postgres::{LocalData, LocalPostgresError};
use crate::workflow::Code;

/// Delete the workflows, the system tables and the apps' own tables
#[derive(Debug, Args)]
#[command(after_help = "With a local Postgres, all of its data are deleted. With a database of your own: the schemas \
`dbos` and `dbos_host`, and what the roles of the apps own; the rest stays. What goes is told first. \
`dbos-host migrate` makes everything anew.

Examples:
  dbos-host reset
  dbos-host reset --yes         without a question, for scripts")]
pub(crate) struct ResetArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Also while a host runs, whose workflows then fail
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

/// Deletes everything, after it was told and confirmed.
pub(crate) async fn execute(args: &ResetArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    if config.database_url.is_some() {
        let opened = Opened::open(&config).await?;
        let done = reset_database(args, &opened).await;
        opened.close().await?;
        done
    } else {
        reset_local(args, &config).await
    }
}

async fn reset_database(args: &ResetArgs, opened: &Opened) -> Result<Exit, Failure> {
    let failed = |error| action().because(error).exit(Exit::Database);
    let found = opened.database.belongings().await.map_err(failed)?;
    if found.is_empty() {
        return nothing_to_delete();
    }
    output::tell(&what_goes(&opened.place(), &found));
    confirm(args)?;
    opened.database.reset(args.force).await.map_err(|error| match error {
        ResetError::Running(_) => running(error),
        other => action().because(other).exit(Exit::Database),
    })?;
    output::print("Deleted.")?;
    Ok(Exit::Success)
}

async fn reset_local(args: &ResetArgs, config: &Config) -> Result<Exit, Failure> {
    let failed = |error| action().because(error).exit(Exit::Database);
    let Some(found) = LocalData::find(&config.state).await.map_err(failed)? else { return nothing_to_delete() };
    output::tell(&format!(
        "This deletes the local Postgres in `{}` with everything in it ({} MiB).",
        found.home().display(),
        found.bytes().div_ceil(1024 * 1024)
    ));
    confirm(args)?;
    found.remove(args.force).await.map_err(|error| match error {
        LocalPostgresError::InUse { .. } => running(error),
        other => failed(other),
    })?;
    output::print("Deleted.")?;
    Ok(Exit::Success)
}

fn action() -> Failure {
    Failure::to("reset the database")
}

fn running(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    action().because(error).hint("stop it first; `--force` resets all the same").code(Code("host_running"))
}

fn nothing_to_delete() -> Result<Exit, Failure> {
    output::print("There is nothing to delete.")?;
    Ok(Exit::Success)
}

/// Everything that goes, for a person who has to decide.
fn what_goes(place: &str, found: &Belongings) -> String {
    let mut text = format!("This deletes, in the database {place}:\n");
    // Writing to a `String` cannot fail.
    for schema in &found.schemas {
        let _ = writeln!(text, "  the schema `{schema}` with everything in it");
    }
    for (app, runs) in &found.runs {
        let app =
            app.as_deref().map_or_else(|| "without an app".to_owned(), |app| format!("of `{}`", escape::line(app)));
        let _ = writeln!(text, "    {runs} {} {app}", if *runs == 1 { "workflow" } else { "workflows" });
    }
    for (role, owned) in found.owned.iter().filter(|(_, owned)| !owned.is_empty()) {
        let _ = writeln!(text, "  what the role `{}` owns there:", escape::line(role));
        for thing in owned {
            let _ = writeln!(text, "    {}", escape::line(thing));
        }
    }
    text
}

/// Returns when somebody wants it.
fn confirm(args: &ResetArgs) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    let not_confirmed = |why: &str| action().because(why.to_owned()).code(Code("not_confirmed"));
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(not_confirmed("there is no terminal on which it could be confirmed")
            .hint("say `--yes`")
            .exit(Exit::Usage));
    }
    output::ask("Delete all of it? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| action().because(error))?;
    if is_yes(&answer) { Ok(()) } else { Err(not_confirmed("it was not confirmed; nothing is deleted")) }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        assert!(is_yes("y\n") && is_yes(" Yes \n"));
        assert!(!is_yes("\n") && !is_yes("") && !is_yes("no\n") && !is_yes("yesterday\n"));
    }

    #[test]
    fn everything_that_goes_is_named() {
        let found = Belongings {
            schemas: vec!["dbos".into(), "dbos_host".into()],
            runs: vec![(Some("shop".into()), 1), (None, 2)],
            owned: vec![("dbos_x_shop".into(), vec!["table public.orders".into()]), ("idle".into(), Vec::new())],
        };
        assert_eq!(
            what_goes("h:5432/x", &found),
            "This deletes, in the database h:5432/x:\n  the schema `dbos` with everything in it\n  the schema `dbos_host` with \
             everything in it\n    1 workflow of `shop`\n    2 workflows without an app\n  what the role `dbos_x_shop` owns \
             there:\n    table public.orders\n"
        );
    }
}

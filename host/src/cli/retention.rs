//! `dbos-host retention`: removes workflows that have ended.
//!
//! It works on the database alone, beside running hosts. It may be ended at any point: each page of runs is one transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::args::ConfigArgs;
use super::config::{Config, retention as values};
use super::exit::Exit;
use super::failure::Failure;
use super::open::Opened;
use super::output;
use super::progress::telling;
use crate::retention::{Keep, Manner, Swept, sweep};
use crate::workflow::{AppName, Code};

/// Remove finished workflows that are too old or too many
///
/// What is removed is what is older than the age, and what is behind the newest of the count. With a workflow everything
/// that belongs to it goes: its input, result, records and messages, and its id, so that a start with the same id is another
/// workflow. Components go that no workflow needs any more.
#[derive(Debug, Args)]
#[command(after_help = "Workflows stay that have not ended, those that one which has not ended or can be resumed may \
still need (its children above all), and those of apps that the configuration does not name.

A running host does the same by itself if `retention.age` or `retention.count` is set.

Examples:
  dbos-host retention --age \"90 days\" --dry-run
  dbos-host retention --count 1000000 --app orders
  dbos-host retention          what `retention` in dbos-config.yaml says")]
pub(crate) struct RetentionArgs {
    /// Remove those that ended longer ago, like `90 days` or `12h` [default: `retention.age`]
    #[arg(long, value_name = "TIME", value_parser = |text: &str| values::age(text))]
    pub(crate) age: Option<Duration>,

    /// Keep this many of each app, the newest [default: `retention.count`]
    #[arg(long, value_name = "NUMBER", value_parser = |text: &str| values::count(text))]
    pub(crate) count: Option<u32>,

    /// Only those of this app
    #[arg(long, value_name = "NAME", value_parser = AppName::parse)]
    pub(crate) app: Option<AppName>,

    /// Remove nothing, and say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Removes runs, or says which.
pub(crate) async fn execute(args: &RetentionArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    let mut keep = Vec::new();
    for app in &config.apps {
        let name = app.name()?;
        if args.app.as_ref().is_none_or(|wanted| wanted == name) {
            keep.push((name.clone(), args.keep(app.retention)));
        }
    }
    if let (Some(wanted), true) = (&args.app, keep.is_empty()) {
        return Err(action().because(format!("the configuration has no app `{wanted}`")).exit(Exit::NotFound));
    }
    if keep.iter().all(|(_, keep)| keep.is_everything()) {
        return Err(action()
            .because("nothing says which may go, and so all are kept")
            .hint("give `--age` or `--count`, or set `retention.age` or `retention.count`")
            .exit(Exit::Usage)
            .code(Code("nothing_may_go")));
    }
    let opened = Opened::open_ready(&config).await?;
    let removed = remove(args, &opened, &keep).await;
    opened.close().await?;
    let (swept, components) = removed?;
    output::print(&if args.json {
        as_json(&swept, &components)?
    } else {
        for_people(args.dry_run, &swept, &components)
    })?;
    Ok(Exit::Success)
}

impl RetentionArgs {
    /// What the command line says, or else the configuration: with either of the two options, both are the command line's.
    fn keep(&self, configured: Keep) -> Keep {
        let given = Keep { age: self.age, count: self.count };
        if given.is_everything() { configured } else { given }
    }
}

async fn remove(
    args: &RetentionArgs,
    opened: &Opened,
    keep: &[(AppName, Keep)],
) -> Result<(BTreeMap<String, Swept>, Vec<String>), Failure> {
    let failed = |error| action().because(error).exit(Exit::Database);
    let (what, manner) = if args.dry_run {
        ("looking for finished workflows", Manner::DryRun)
    } else {
        ("removing finished workflows", Manner::Swift)
    };
    let swept = telling(|| what.to_owned(), sweep(&opened.database, keep, manner)).await.map_err(failed)?;
    let components = opened.database.remove_unused_components(args.dry_run).await.map_err(failed)?;
    Ok((swept.unwrap_or_default(), components))
}

fn action() -> Failure {
    Failure::to("remove finished workflows")
}

fn for_people(dry_run: bool, swept: &BTreeMap<String, Swept>, components: &[String]) -> String {
    let count = |n: u64, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
    let done = if dry_run { "would be removed" } else { "removed" };
    let mut lines: Vec<String> = Vec::new();
    for (app, Swept { removed, needed }) in swept {
        let stay = if *needed == 0 {
            String::new()
        } else {
            format!("; {needed} more stay, since workflows that can go on may need them")
        };
        lines.push(format!("{app}: {} {done}{stay}", count(*removed, "workflow")));
    }
    lines.extend(components.iter().map(|digest| format!("component {digest}: {done}")));
    lines.join("\n")
}

fn as_json(swept: &BTreeMap<String, Swept>, components: &[String]) -> Result<String, Failure> {
    let apps: Vec<_> = swept
        .iter()
        .map(|(app, Swept { removed, needed })| json!({ "app": app, "removed": removed, "needed": needed }))
        .collect();
    let text = serde_json::to_string_pretty(&json!({ "apps": apps, "components": components }));
    text.map_err(|error| Failure::to("write JSON").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_for_each_app() {
        let swept = BTreeMap::from([
            ("orders".to_owned(), Swept { removed: 1, needed: 0 }),
            ("shop".to_owned(), Swept { removed: 20, needed: 3 }),
        ]);
        assert_eq!(
            for_people(false, &swept, &["ab".to_owned()]),
            "orders: 1 workflow removed\nshop: 20 workflows removed; 3 more stay, since workflows that can go on may need \
             them\ncomponent ab: removed"
        );
        assert!(for_people(true, &swept, &[]).starts_with("orders: 1 workflow would be removed\n"));
    }
}

//! `dbos-host config`: the keys that a configuration may have, for those who are about to write one.

use clap::Args;
use serde_json::{Value, json};

use super::keys::{KEYS, Key, Owner, Shape};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::table::Table;

/// Show the keys that dbos-config.yaml may have
///
/// A key with a dot stands below another one: `http.listen` is `listen:`, indented, in the lines after `http:`.
/// With several apps, the keys of each app stand below its name: `apps:`, then `orders:`, then `wasm:`.
/// In values, `${VAR}` is replaced by the environment variable VAR, `${VAR:-default}` by the default if it is not set.
/// The commands under `database.migrate` are left to the shell, which replaces the same variables.
#[derive(Debug, Args)]
pub(crate) struct ConfigReferenceArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the keys.
pub(crate) fn execute(args: &ConfigReferenceArgs) -> Result<Exit, Failure> {
    output::print(&if args.json { as_json() } else { for_people() })?;
    Ok(Exit::Success)
}

fn for_people() -> String {
    let table = |of_app: bool| {
        let mut table = Table::new(["KEY", "DEFAULT", "OVERRIDDEN BY", "MEANING"]);
        for key in KEYS.iter().filter(|key| (key.owner != Owner::Host) == of_app) {
            let over: Vec<&str> = [key.flag, key.variable].into_iter().flatten().collect();
            let about = match key.range() {
                Some(range) => format!("{} ({range})", key.about),
                None => key.about.to_owned(),
            };
            table.push([key.path.to_owned(), key.default.replace('`', ""), over.join(", "), about]);
        }
        table.to_string()
    };
    format!("The host:\n\n{}\n\nAn app, at the top or below its name in `apps`:\n\n{}", table(false), table(true))
}

fn as_json() -> String {
    let keys: Vec<Value> = KEYS.iter().map(describe).collect();
    format!("{:#}", Value::Array(keys))
}

fn describe(key: &Key) -> Value {
    let (owner, shape) = (
        match key.owner {
            Owner::Host => "host",
            Owner::App => "app",
            Owner::OnlyApp => "only app",
        },
        match key.shape {
            Shape::Single => "text",
            Shape::List => "list",
            Shape::Map => "map",
            Shape::Apps => "apps",
        },
    );
    json!({
        "key": key.path, "of": owner, "holds": shape, "default": key.default, "range": key.range(),
        "flag": key.flag, "variable": key.variable, "meaning": key.about,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line() {
        let text = for_people();
        for key in KEYS {
            let mut lines = text.lines().filter(|line| line.split(' ').next() == Some(key.path));
            let line = lines.next().unwrap_or_else(|| panic!("{} has no line", key.path));
            let more = [key.flag, key.variable, key.range().as_deref().map(|_| "to")];
            assert!(line.contains(key.about), "{line}");
            assert!(more.into_iter().flatten().all(|word| line.contains(word)), "{line}");
            assert_eq!(lines.next(), None);
        }
    }
}

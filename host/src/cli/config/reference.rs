//! `dbos-host config`: the keys that a configuration may have, for those who are about to write one.

use clap::Args;
use serde_json::{Value, json};

use super::keys::{KEYS, Key};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::table::{Table, cut, whole};

/// Show the keys that dbos-config.yaml may have
#[derive(Debug, Args)]
#[command(after_help = "A key with a dot stands below another one: `http.listen` is `listen:`, indented, in the \
lines after `http:`. In values, `${VAR}` is replaced by the environment variable VAR, `${VAR:-default}` by the default \
if it is not set. The commands under `database.migrate` are left to the shell, which replaces the same variables.")]
pub(crate) struct ConfigReferenceArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the keys.
pub(crate) fn execute(args: &ConfigReferenceArgs) -> Result<Exit, Failure> {
    output::print(&if args.json { as_json() } else { table().for_output() })?;
    Ok(Exit::Success)
}

fn as_json() -> String {
    let key = |key: &Key| json!({ "key": key.path, "default": key.default, "meaning": key.about });
    format!("{:#}", KEYS.iter().map(key).collect::<Value>())
}

fn table() -> Table<3> {
    let mut table = Table::new([whole("KEY"), cut("DEFAULT", 16), cut("MEANING", 32)]);
    for key in KEYS {
        table.push([key.path, key.default, key.about].map(str::to_owned));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line() {
        let text = table().to_string();
        for (line, key) in text.lines().skip(1).zip(KEYS) {
            assert!(line.starts_with(key.path) && line.ends_with(key.about), "{line}");
        }
        assert_eq!(text.lines().count(), KEYS.len() + 1);
    }
}

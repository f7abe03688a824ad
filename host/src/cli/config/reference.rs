//! `dbos-host config`: the keys that a configuration may have, for those who are about to write one.

use clap::Args;

use super::keys::KEYS;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::table::Table;

/// Show the keys that dbos-config.yaml may have
///
/// A key with a dot stands below another one: `http.listen` is `listen:`, indented, in the lines after `http:`.
/// In values, `${VAR}` is replaced by the environment variable VAR, `${VAR:-default}` by the default if it is not set.
/// The commands under `database.migrate` are left to the shell, which replaces the same variables.
#[derive(Debug, Args)]
pub(crate) struct ConfigReferenceArgs {}

/// Prints the keys.
pub(crate) fn execute() -> Result<Exit, Failure> {
    output::print(&text())?;
    Ok(Exit::Success)
}

fn text() -> String {
    let mut table = Table::new(["KEY", "DEFAULT", "MEANING"]);
    for key in KEYS {
        table.push([key.path, key.default, key.about].map(str::to_owned));
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line() {
        let text = text();
        for (line, key) in text.lines().skip(1).zip(KEYS) {
            assert!(line.starts_with(key.path) && line.ends_with(key.about), "{line}");
        }
        assert_eq!(text.lines().count(), KEYS.len() + 1);
    }
}

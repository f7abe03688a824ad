//! `dbos-host version`: which program this is.

use clap::Args;

use super::exit::Exit;
use super::failure::Failure;
use super::output;

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The package of interfaces that guests are built against.
const INTERFACE: &str = "dbos:host@0.1.0";

/// Show the version of the host, and of the interface for its guests
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the versions.
pub(crate) fn execute(args: &VersionArgs) -> Result<Exit, Failure> {
    output::print(&text(args.json))?;
    Ok(Exit::Success)
}

fn text(json: bool) -> String {
    if json {
        serde_json::json!({ "version": VERSION, "interface": INTERFACE }).to_string()
    } else {
        format!("dbos-host {VERSION} ({INTERFACE})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_the_one_in_the_repository() {
        let contract = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/host.wit"));
        assert!(contract.contains(&format!("\npackage {INTERFACE};\n")));
    }

    #[test]
    fn versions_are_for_people_or_programs() {
        assert_eq!(text(false), format!("dbos-host {VERSION} (dbos:host@0.1.0)"));
        assert_eq!(text(true), format!(r#"{{"interface":"dbos:host@0.1.0","version":"{VERSION}"}}"#));
    }
}

//! The first page of `--help`.
//!
//! Whoever types `dbos-host` for the first time should see on one screen (24 lines of 80 columns) what it can do, in the
//! order in which it is needed. clap lists subcommands in one block; here they stand in groups, made from the same
//! grammar, so that no command can be missing. This module must not know what the commands do.

use std::fmt::Write;

use clap::{Command, CommandFactory};

use super::args::Arguments;

/// The commands by what they are for.
const GROUPS: [(&str, &[&str]); 3] = [
    ("Develop", &["new", "build", "inspect", "reset"]),
    ("Run", &["migrate", "run", "deploy", "retention"]),
    ("Look", &["workflow", "config", "version", "completions"]),
];

/// The grammar of the command line, with its first page of help.
pub(crate) fn grammar() -> Command {
    let command = Arguments::command();
    let template =
        format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}{{after-help}}", groups(&command).trim_end());
    command.help_template(template)
}

fn groups(command: &Command) -> String {
    let header = command.get_styles().get_header();
    let mut text = String::new();
    let mut group = |title: &str, names: &[&str]| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "\n{header}{title}:{header:#}");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            let _ = writeln!(text, "  {name:11}  {}", about.unwrap_or_default());
        }
    };
    for (title, names) in GROUPS {
        group(title, names);
    }
    let others = others(command);
    if !others.is_empty() {
        group("Other", &others);
    }
    text
}

/// Commands that stand in no group.
fn others(command: &Command) -> Vec<&str> {
    let grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    command.get_subcommands().map(Command::get_name).filter(|name| !grouped(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_in_one_group() {
        let command = Arguments::command();
        assert_eq!(others(&command), Vec::<&str>::new(), "give it a place in `GROUPS`");
        for (_, names) in GROUPS {
            for name in names {
                let about = command.find_subcommand(name).and_then(Command::get_about);
                assert!(about.is_some_and(|about| about.to_string().len() <= 65), "`{name}`: one line of 80 columns");
            }
        }
    }

    #[test]
    fn the_first_page_fits_a_terminal() {
        let help = grammar().render_help().to_string();
        assert!(help.lines().count() <= 24, "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }

    #[test]
    fn the_grammar_contradicts_nothing() {
        grammar().debug_assert();
    }
}

//! Running other programs, and talking to the person who waits for them.
//!
//! Every command that changes something is shown before it runs, and its output is not hidden: someone whose machine
//! differs from ours can see what was tried and try it by hand. Progress goes to standard error, results go to standard output.
//!
//! This module must not know what the commands are for.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Tells the user what happens.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Prints a result.
pub(crate) fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("write to standard output")
}

/// Shows a command that is about to run.
pub(crate) fn show(command: &Command) {
    say(&format!("  $ {}", display(command)));
}

/// Runs a command that shares our terminal. True when it ended well; an error only when it could not be started.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    show(command);
    let status = command.status().with_context(|| format!("start `{}`", display(command)))?;
    Ok(status.success())
}

/// Runs a command that shares our terminal, and fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    if !succeeds(command)? {
        bail!("run `{}`: see its output above", display(command));
    }
    Ok(())
}

/// Runs a command, without showing it, and returns what it printed. Its errors go to our terminal.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("start `{}`", display(command)))?;
    if !output.status.success() {
        bail!("run `{}`: it ended with {}", display(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("read the output of `{}`", display(command)))
}

/// Where the program is on the search path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Only root may install packages.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The command line as one could type it, variables that were set for it in front.
pub(crate) fn display(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let variables = variables.map(|(name, value)| format!("{}={}", name.to_string_lossy(), quoted(value)));
    let program = std::iter::once(quoted(command.get_program()));
    let words: Vec<String> = variables.chain(program).chain(command.get_args().map(quoted)).collect();
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "'\"$\\;&|<>()*?`".contains(c)) {
        format!("'{}'", word.replace('\'', r"'\''"))
    } else {
        word.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("cargo");
        command.args(["test", "--", "it's here"]).env("RUSTDOCFLAGS", "-D warnings").env_remove("RUSTC");
        assert_eq!(display(&command), r"RUSTDOCFLAGS='-D warnings' cargo test -- 'it'\''s here'");
    }

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "run `sh -c 'exit 3'`: see its output above");
    }

    #[test]
    fn output_returns_what_was_printed() {
        assert_eq!(output(Command::new("sh").args(["-c", "echo here"])).unwrap(), "here\n");
        assert!(output(Command::new("sh").args(["-c", "echo here; exit 1"])).is_err());
    }

    #[test]
    fn programs_are_found_on_the_search_path() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program-of-ours"), None);
    }
}

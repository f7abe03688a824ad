//! The project's own commands, run as `cargo xtask COMMAND`.
//!
//! A newcomer has Rust and nothing else: no database, no WebAssembly target, no Python. Instructions that list what to
//! install are skipped or go stale, so the two commands that matter, `demo` and `test`, look at the machine, install or
//! build what is missing, and say what they do. Everything that is kept lies in one cache folder outside of the
//! checkout, so that a second run and a fresh clone are quick.
//!
//! This crate must not depend on the others of the workspace: it builds in seconds, before anything else can be built.

mod apt;
mod bench;
mod checkout;
mod debian_sysroot;
mod demo;
mod fuzz;
mod guest_toolchain;
mod guestbook;
mod guests;
mod postgres;
mod project;
mod python;
mod shell;
mod signals;
mod test;
mod wasi_libc;

use std::process::ExitCode;

use anyhow::{Result, bail};
use project::Project;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo                 runs the greeting example with a local Postgres and a stand-in guestbook; Ctrl-C ends it
  test [-- FILTER]     runs everything that CI checks; with a filter only the integration tests whose name has it in it
  fuzz [TARGET …] [--seconds N]
                       gives made-up bytes to what reads bytes from outside, N seconds for each target (60)
  bench [-- ARGUMENTS] measures what the host costs, as ratios to what the database can do; ARGUMENTS are workloads (W1),
                       `--rounds N`, `--json`, `--long` for what takes many minutes, and `--write` for bench/RESULTS.md
  guests               builds every guest program and prints where the components are
  guest-toolchain [--debian]
                       makes sure that guests can be built; with --debian from Debian's packages even where rustup
                       has the targets

Files that are kept between runs lie in $XDG_CACHE_HOME/dbos-host (~/.cache/dbos-host); what is built for the host
goes to its folder `target` unless CARGO_TARGET_DIR is set.";

fn main() -> ExitCode {
    let result = fuzz::as_compiler().unwrap_or_else(|| {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        dispatch(&arguments)
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            shell::say(&format!("error: failed to {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[&str]) -> Result<ExitCode> {
    match arguments {
        [] | ["help" | "-h" | "--help"] => shell::print(USAGE)?,
        ["demo"] => return demo::run(&Project::locate()?),
        ["test"] => test::everything(&Project::locate()?)?,
        ["test", "--", filter @ ..] => test::filtered(&Project::locate()?, filter)?,
        ["fuzz", arguments @ ..] => fuzz::run(&Project::locate()?, arguments)?,
        ["bench"] => bench::run(&Project::locate()?, &[])?,
        ["bench", "--", arguments @ ..] => bench::run(&Project::locate()?, arguments)?,
        ["guests"] => guests::print_all(&Project::locate()?)?,
        ["guest-toolchain"] => guest_toolchain::describe(guest_toolchain::ensure(&Project::locate()?)?)?,
        ["guest-toolchain", "--debian"] => {
            guest_toolchain::describe(guest_toolchain::from_debian(&Project::locate()?)?)?;
        }
        other => bail!("understand `{}`\n{USAGE}", other.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_is_named_and_the_usage_shown() {
        let error = dispatch(&["demonstrate", "--fast"]).unwrap_err().to_string();
        assert!(error.starts_with("understand `demonstrate --fast`\nusage: cargo xtask"), "{error}");
    }

    #[test]
    fn a_filter_needs_its_dashes() {
        assert!(dispatch(&["test", "crash_sweep"]).is_err());
    }
}

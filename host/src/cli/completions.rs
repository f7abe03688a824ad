//! `dbos-host completions`: what makes a shell complete commands and options.

use clap::Args;
use clap_complete::Shell;

use super::exit::Exit;
use super::failure::Failure;
use super::{help, output};

/// Print what makes your shell complete commands and options
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(dbos-host completions bash)
  dbos-host completions fish > ~/.config/fish/completions/dbos-host.fish
  dbos-host completions zsh > \"${fpath[1]}/_dbos-host\"")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn execute(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::grammar(), "dbos-host", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}

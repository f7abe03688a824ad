//! From the process's arguments to its exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{FromArgMatches, ValueEnum};
use tokio::runtime;

use super::args::{Arguments, Command};
use super::config::reference;
use super::exit::Exit;
use super::failure::Failure;
use super::output::ColorChoice;
use super::{
    build, completions, deploy, help, inspect, log, migrate, new, output, reset, retention, run, version, workflow,
};

/// Runs the command that the process was started with and returns how the process is to end.
#[must_use]
pub fn main() -> ExitCode {
    let colour = colour_asked_for(std::env::args_os());
    output::choose_colour(colour);
    let grammar = help::grammar().color(match colour {
        ColorChoice::Auto => clap::ColorChoice::Auto,
        ColorChoice::Always => clap::ColorChoice::Always,
        ColorChoice::Never => clap::ColorChoice::Never,
    });
    let parsed = grammar.try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        // `--help` and `--version` come this way too. If nobody reads the text there is nobody to tell.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    match start(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report();
            failure.exit_code().into()
        }
    }
}

/// What `--color` says. Help and errors about the command line are coloured too, so it is looked for before the rest is
/// understood; a word that is none of the three is told like any other mistake, when all is read.
fn colour_asked_for(arguments: impl Iterator<Item = OsString>) -> ColorChoice {
    let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let own = arguments.split(|argument| argument == "--").next().unwrap_or_default();
    let after = own.windows(2).filter(|pair| pair[0] == "--color").map(|pair| pair[1].as_str());
    let joined = own.iter().filter_map(|argument| argument.strip_prefix("--color="));
    after.chain(joined).find_map(|word| ColorChoice::from_str(word, false).ok()).unwrap_or_default()
}

fn start(arguments: Arguments) -> Result<Exit, Failure> {
    log::start(&arguments.log)?;
    // One TLS implementation for everything. An error means that one was installed before, which only tests do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        // A busy worker looks at sockets only every 61 polls of tasks unless it is told otherwise. A guest that computes
        // makes each poll a tick long, so with one such guest on each processor every answer of the database would come
        // half a second late.
        .event_interval(1)
        .build()
        .map_err(|error| Failure::to("start the threads of the host").because(error))?;
    let ended = runtime.block_on(execute(arguments.command));
    // What had to be finished was awaited by the command. A thread that still compiles something or looks up a name is
    // not waited for.
    runtime.shutdown_background();
    ended
}

async fn execute(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::New(args) => new::execute(&args),
        Command::Build(args) => build::execute(&args).await,
        Command::Reset(args) => reset::execute(&args).await,
        Command::Retention(args) => retention::execute(&args).await,
        Command::Completions(args) => completions::execute(&args),
        Command::Config(args) => reference::execute(&args),
        Command::Version(args) => version::execute(&args),
        Command::Run(args) => run::execute(&args).await,
        Command::Migrate(args) => migrate::execute(&args).await,
        Command::Deploy(args) => deploy::execute(&args).await,
        Command::Inspect(args) => inspect::execute(&args).await,
        Command::Workflow(args) => workflow::execute(&args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wish_for_colours_is_found_wherever_it_stands() {
        let asked = |line: &str| colour_asked_for(line.split(' ').map(OsString::from));
        assert_eq!(asked("dbos-host --color never run"), ColorChoice::Never);
        assert_eq!(asked("dbos-host run --color=always"), ColorChoice::Always);
        assert_eq!(asked("dbos-host run --color pink"), ColorChoice::Auto);
        assert_eq!(asked("dbos-host build -- --color never"), ColorChoice::Auto);
    }
}

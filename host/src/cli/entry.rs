//! From the process's arguments to its exit code.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime;

use super::args::{Arguments, Command};
use super::config::reference;
use super::exit::Exit;
use super::failure::Failure;
use super::{deploy, inspect, log, migrate, output, run, version, workflow};

/// Runs the command that the process was started with and returns how the process is to end.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // `--help` and `--version` come this way too. If nobody reads the text there is nobody to tell.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    match start(arguments.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report(output::colour(&io::stderr()));
            failure.exit_code().into()
        }
    }
}

fn start(command: Command) -> Result<Exit, Failure> {
    log::start()?;
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
    let ended = runtime.block_on(execute(command));
    // What had to be finished was awaited by the command. A thread that still compiles something or looks up a name is
    // not waited for.
    runtime.shutdown_background();
    ended
}

async fn execute(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Config(args) => reference::execute(&args),
        Command::Version(args) => version::execute(&args),
        Command::Run(args) => run::execute(&args).await,
        Command::Migrate(args) => migrate::execute(&args).await,
        Command::Deploy(args) => deploy::execute(&args).await,
        Command::Inspect(args) => inspect::execute(&args).await,
        Command::Workflow(args) => workflow::execute(&args).await,
    }
}

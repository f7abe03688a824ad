//! The command line: what `dbos-host` is told, what it answers, and the only place where its parts are put together.
//!
//! [`main`] is the whole program. Each command has a file of its own, with the arguments that it takes and what it does
//! with them; the rest of this folder is what commands share: configuration, logs, errors and exit codes, results, the
//! wish to stop.

mod apps;
mod args;
mod build;
mod completions;
mod component;
mod config;
mod deploy;
mod entry;
mod escape;
mod executor_id;
mod exit;
mod failure;
mod help;
mod inspect;
mod log;
mod migrate;
mod new;
mod open;
mod output;
mod progress;
mod reset;
mod retention;
mod run;
mod shutdown;
mod table;
mod version;
mod workflow;

#[cfg(feature = "failpoints")]
pub(crate) use config::fuzz as fuzz_config;
pub use entry::main;

//! The log, on standard error: lines for people, or JSON lines for programs.
//!
//! ```text
//! 14:41:07 [INFO] listening on http://127.0.0.1:8000
//! 14:41:13 [INFO] (greeting) >>> Greeting to Mike recorded in the database!
//! 14:41:13 [WARN] the database is away retry_in=2s
//! ```
//!
//! Guests write to the same console as the host, and are not trusted: every line of a guest carries the name of its app,
//! which a line of the host never does, and nothing in a message can begin a line, add a field or reach the terminal as a
//! command. Guest lines are events of the target [`GUEST`] with the fields `app` and `workflow`.
//!
//! The log has to speak before the configuration is read, and the configuration has a say in it. So it starts with what
//! the command line and the environment say, and [`configure`] adds what the file says about the rest.
//!
//! Whoever reads the log may go away (`dbos-host run 2>&1 | head`). Nobody is to be told of that, least of all by a panic
//! in the middle of a workflow: lines that cannot be written are lost.

mod filter;
mod format;
mod json;
mod lines;

use std::io;
use std::sync::OnceLock;

use clap::Args;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use super::exit::Exit;
use super::failure::Failure;

pub(crate) use filter::LogFilter;
pub(crate) use format::LogFormat;

/// The target of the events that guests write.
pub(crate) const GUEST: &str = "guest";

/// What the command line and the environment say about the log.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LogArgs {
    /// Log lines to show, like `info,sandbox=debug`
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "DBOS_LOG",
        hide_env_values = true,
        help_heading = "Output"
    )]
    log: Option<String>,

    /// Log lines as `text` or `json`
    #[arg(long, global = true, value_name = "FORMAT", env = "DBOS_LOG_FORMAT", hide_env_values = true)]
    #[arg(value_enum, hide_possible_values = true, help_heading = "Output")]
    log_format: Option<LogFormat>,
}

/// The log of this process, once it has started.
struct Log {
    format: format::Shared,
    filter: reload::Handle<EnvFilter, Registry>,
    /// What was said where the configuration file cannot contradict.
    args: LogArgs,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Starts to log. To be called once, before anything that logs.
pub(crate) fn start(args: &LogArgs) -> Result<(), Failure> {
    let wanted: LogFilter = args.log.as_deref().unwrap_or_default().parse().map_err(|error| {
        Failure::to("read the log filter in `--log` or `DBOS_LOG`")
            .because(error)
            .hint("`debug`, or `info,sandbox=debug,guest=trace`")
            .exit(Exit::Configuration)
    })?;
    let shared = format::Shared::new(args.log_format.unwrap_or_default(), wanted.shows_debug());
    let (filter, handle) = reload::Layer::new(wanted.into_filter());
    let layer = fmt::layer().event_format(format::Events::new(shared.clone())).with_writer(io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(filter::may_be_heard))
        .with(layer.log_internal_errors(false))
        .try_init()
        .map_err(|error| Failure::to("start the log").because(error))?;
    let log = Log { format: shared, filter: handle, args: args.clone() };
    assert!(LOG.set(log).is_ok(), "the log is started once in a process");
    Ok(())
}

/// Adds what the configuration file says, where nothing else was said.
pub(crate) fn configure(level: Option<LogFilter>, format: Option<LogFormat>) {
    // Tests read configurations without a log.
    let Some(log) = LOG.get() else { return };
    if let (None, Some(format)) = (log.args.log_format, format) {
        log.format.set_format(format);
    }
    if let (None, Some(level)) = (&log.args.log, level) {
        log.format.set_workflow(level.shows_debug());
        if let Err(error) = log.filter.reload(level.into_filter()) {
            tracing::warn!("the log level of the configuration is not used: {error}");
        }
    }
}

/// How lines are written now.
pub(crate) fn format() -> LogFormat {
    LOG.get().map(|log| log.format.format()).unwrap_or_default()
}

/// A line of JSON as the log writes them, for what is said after the log: the error that a command ends with.
pub(crate) fn error_line(message: &str, code: &str) -> String {
    json::line(jiff::Timestamp::now(), tracing::Level::ERROR, "dbos_host", message, [("code", code.into())])
}

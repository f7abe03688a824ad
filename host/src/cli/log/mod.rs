//! Log lines for people, on standard error:
//!
//! ```text
//! 14:41:07 [INFO] listening on http://127.0.0.1:8000
//! 14:41:13 [INFO] (greeting) >>> Greeting to Mike recorded in the database!
//! 14:41:13 [WARN] the database is away retry_in=2s
//! ```
//!
//! Guests write to the same console as the host, and are not trusted: every line of a guest carries the name of its app,
//! which a line of the host never does, and nothing in a message can begin a line or reach the terminal as a command.
//! Guest lines are events of the target [`GUEST`] with the fields `app` and `workflow`.

mod filter;
mod format;

use std::io;

use jiff::tz::TimeZone;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::exit::Exit;
use super::failure::Failure;
use super::output;

/// The target of the events that guests write.
pub(crate) const GUEST: &str = "guest";

/// The environment variable that says which lines are shown.
pub(crate) const VARIABLE: &str = "DBOS_LOG";

/// Starts to log. To be called once, before anything that logs.
pub(crate) fn start() -> Result<(), Failure> {
    let wanted = std::env::var_os(VARIABLE).unwrap_or_default();
    let filter = filter::parse(&wanted.to_string_lossy()).map_err(|error| {
        Failure::to(format!("read the log filter in `{VARIABLE}`"))
            .because(error)
            .hint("`debug`, or `dbos_host=debug,guest=trace`")
            .exit(Exit::Configuration)
    })?;
    let lines = format::Lines {
        colour: output::colour(&io::stderr()),
        workflow: filter::shows_debug(&filter),
        zone: TimeZone::system(),
        now: jiff::Timestamp::now,
    };
    let layer = fmt::layer().event_format(lines).with_writer(io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(filter::may_be_heard))
        .with(layer)
        .try_init()
        .map_err(|error| Failure::to("start the log").because(error))
}

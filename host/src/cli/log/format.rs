//! How an event becomes text: which of the two formats, and what both know of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::{json, lines};
use crate::cli::output;

/// The formats of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected `text` or `json`"),
        }
    }
}

/// What may change while the log runs: the configuration is read after its start. Clones share it; it lives as long as
/// the process.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Settings>);

#[derive(Debug)]
struct Settings {
    json: AtomicBool,
    /// Whether guest lines for people say which workflow they belong to.
    workflow: AtomicBool,
}

impl Shared {
    pub(super) fn new(format: LogFormat, workflow: bool) -> Self {
        let settings =
            Settings { json: AtomicBool::new(format == LogFormat::Json), workflow: AtomicBool::new(workflow) };
        Self(Arc::new(settings))
    }

    pub(super) fn set_format(&self, format: LogFormat) {
        self.0.json.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    pub(super) fn set_workflow(&self, workflow: bool) {
        self.0.workflow.store(workflow, Ordering::Relaxed);
    }

    pub(super) fn format(&self) -> LogFormat {
        if self.0.json.load(Ordering::Relaxed) { LogFormat::Json } else { LogFormat::Text }
    }
}

/// Writes events in the format that is set.
pub(super) struct Events {
    shared: Shared,
    colour: bool,
    zone: TimeZone,
    /// The clock; a fixed one in tests.
    now: fn() -> Timestamp,
}

impl Events {
    pub(super) fn new(shared: Shared) -> Self {
        let colour = output::colour(&std::io::stderr());
        Self { shared, colour, zone: TimeZone::system(), now: Timestamp::now }
    }
}

impl<S, N> FormatEvent<S, N> for Events
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let line = match self.shared.format() {
            LogFormat::Json => json::of_event((self.now)(), event),
            LogFormat::Text => {
                let workflow = self.shared.0.workflow.load(Ordering::Relaxed);
                let time = (self.now)().to_zoned(self.zone.clone());
                lines::Style { colour: self.colour, workflow }.of_event(&time, event)
            }
        };
        writeln!(writer, "{line}")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics while it writes").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is printed at 14:41:13 for the events of `act`.
    pub(in crate::cli::log) fn printed(format: LogFormat, colour: bool, workflow: bool, act: impl FnOnce()) -> String {
        let now = || Timestamp::from_millisecond(52_873_042).expect("a time");
        let written = Written::default();
        let writer = written.clone();
        let events = Events { shared: Shared::new(format, workflow), colour, zone: TimeZone::UTC, now };
        let layer = tracing_subscriber::fmt::layer().event_format(events).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
        let bytes = written.0.lock().expect("no test panics while it writes").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn the_format_can_change_while_the_log_runs() {
        let shared = Shared::new(LogFormat::Text, false);
        shared.clone().set_format(LogFormat::Json);
        assert_eq!(shared.format(), LogFormat::Json);
        shared.set_format(LogFormat::Text);
        assert_eq!(shared.format(), LogFormat::Text);
    }
}

//! One event, one line for people: `HH:MM:SS [LEVEL] (app) message key=value`. The time is that of this machine's zone.

use std::fmt::{self, Write};

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::GUEST;
use crate::cli::escape;

/// What further lines of a message begin with: they stand under its first word, and no line of a log begins so.
const INDENT: &str = "                ";

const DIM: &str = "2";

/// How lines look.
pub(super) struct Style {
    /// Whether lines are coloured.
    pub(super) colour: bool,
    /// Whether guest lines say which workflow they belong to.
    pub(super) workflow: bool,
}

impl Style {
    /// The line of an event, without its line break.
    pub(super) fn of_event(&self, time: &Zoned, event: &Event<'_>) -> String {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let guest = event.metadata().target() == GUEST;
        self.line(time, *event.metadata().level(), guest, &parts)
    }

    fn paint(&self, out: &mut String, colour: &str, text: &str) {
        if self.colour {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "\x1b[{colour}m{text}\x1b[0m");
        } else {
            out.push_str(text);
        }
    }

    fn line(&self, time: &Zoned, level: Level, guest: bool, parts: &Parts) -> String {
        let mut out = String::with_capacity(128);
        let time = time.strftime("%H:%M:%S").to_string();
        self.paint(&mut out, DIM, &time);
        out.push(' ');
        self.paint(&mut out, level_colour(level), &format!("[{level}]"));
        if guest {
            let app = parts.fields.iter().find_map(|(name, value)| (*name == "app").then_some(value.as_str()));
            out.push_str(" (");
            escape::push_line(&mut out, app.unwrap_or("unknown app"));
            out.push(')');
        }
        if !parts.message.is_empty() {
            out.push(' ');
            escape::push_block(&mut out, &parts.message, INDENT);
        }
        for (name, value) in &parts.fields {
            if !guest || (*name != "app" && (*name != "workflow" || self.workflow)) {
                out.push(' ');
                self.paint(&mut out, DIM, &format!("{name}={}", quoted(value)));
            }
        }
        out
    }
}

/// The message and the other fields of an event, in their order.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Parts {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }
}

/// A field's value on one line, in quotes if its end could not be told otherwise.
fn quoted(value: &str) -> String {
    let mut out = String::new();
    let bare = !value.is_empty() && !value.contains([' ', '=', '"']);
    if bare || value.starts_with('"') && value.ends_with('"') && value.len() > 1 {
        escape::push_line(&mut out, value);
        return out;
    }
    out.push('"');
    escape::push_line(&mut out, &value.replace('"', "\\\""));
    out.push('"');
    out
}

fn level_colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        Level::DEBUG => "34",
        Level::TRACE => "35",
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::LogFormat;
    use super::super::format::tests::printed as printed_as;
    use super::*;

    fn printed(colour: bool, workflow: bool, act: impl FnOnce()) -> String {
        printed_as(LogFormat::Text, colour, workflow, act)
    }

    fn guest(message: &str) -> String {
        printed(false, false, || {
            tracing::event!(target: "guest", Level::INFO, app = %"greeting", workflow = %"w-1", "{message}");
        })
    }

    #[test]
    fn a_guest_line_names_its_app() {
        assert_eq!(
            guest(">>> Greeting to Mike recorded in the database!"),
            "14:41:13 [INFO] (greeting) >>> Greeting to Mike recorded in the database!\n"
        );
    }

    #[test]
    fn the_workflow_is_shown_to_those_who_look_closely() {
        let line = printed(false, true, || {
            tracing::event!(target: "guest", Level::DEBUG, app = %"greeting", workflow = %"w-1", "hello");
        });
        assert_eq!(line, "14:41:13 [DEBUG] (greeting) hello workflow=w-1\n");
    }

    #[test]
    fn a_host_line_shows_all_its_fields() {
        let line = printed(false, false, || {
            let reason = "no answer";
            tracing::warn!(app = %"greeting", reason, tries = 3, path = ?"a b", empty = "", "the database is away");
        });
        assert_eq!(
            line,
            "14:41:13 [WARN] the database is away app=greeting reason=\"no answer\" tries=3 path=\"a b\" empty=\"\"\n"
        );
        assert_eq!(printed(false, false, || tracing::info!(answer = 42)), "14:41:13 [INFO] answer=42\n");
    }

    #[test]
    fn a_guest_cannot_forge_a_line_of_the_host() {
        assert_eq!(
            guest("hello\n14:41:13 [ERROR] the database is gone\n"),
            "14:41:13 [INFO] (greeting) hello\n                14:41:13 [ERROR] the database is gone\n"
        );
        assert_eq!(guest("hello\r14:41:13 [ERROR]"), "14:41:13 [INFO] (greeting) hello\\r14:41:13 [ERROR]\n");
    }

    #[test]
    fn a_guest_cannot_reach_the_terminal() {
        assert_eq!(guest("\x1b]0;owned\x07\x1b[2J"), "14:41:13 [INFO] (greeting) \\u{1b}]0;owned\\u{7}\\u{1b}[2J\n");
        let line = printed(false, false, || tracing::info!(name = "a\x1b[1m\nb c", "seen"));
        assert_eq!(line, "14:41:13 [INFO] seen name=\"a\\u{1b}[1m\\nb c\"\n");
    }

    #[test]
    fn colour_goes_around_time_level_and_fields() {
        let line = printed(true, false, || tracing::error!(code = 7, "no"));
        assert_eq!(line, "\x1b[2m14:41:13\x1b[0m \x1b[31m[ERROR]\x1b[0m no \x1b[2mcode=7\x1b[0m\n");
    }
}

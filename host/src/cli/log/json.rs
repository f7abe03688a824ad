//! One event, one line of JSON:
//!
//! ```text
//! {"timestamp":"2026-11-22T09:07:01.522Z","level":"INFO","target":"guest","message":"hello","app":"shop","workflow":"w-1"}
//! ```
//!
//! The times are UTC, the fields of an event stand beside its message with the types that they have. Text of guests is a
//! JSON string like any other, so it can add neither a field nor a line; and since people look at such lines on a terminal
//! too, what a terminal would take as a command is escaped, as JSON allows for every character.

use std::fmt::{self, Write};

use jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::cli::escape;

/// The members that every line has; a field of an event with such a name gets a `_` at its end.
const OWN: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The line of an event, without its line break.
pub(super) fn of_event(now: Timestamp, event: &Event<'_>) -> String {
    let mut parts = Parts::default();
    event.record(&mut parts);
    let metadata = event.metadata();
    // A handler's line has no workflow: then the member is not there, rather than empty.
    let fields = parts.fields.into_iter().filter(|(name, value)| *name != "workflow" || value != "");
    line(now, *metadata.level(), metadata.target(), &parts.message, fields)
}

/// A line, without its line break.
pub(super) fn line<'a>(
    now: Timestamp,
    level: Level,
    target: &str,
    message: &str,
    fields: impl IntoIterator<Item = (&'a str, Value)>,
) -> String {
    let mut out = format!("{{\"timestamp\":\"{now:.3}\",\"level\":\"{level}\"");
    let mut member = |name: &str, value: &Value| {
        // Writing to a `String` cannot fail.
        let _ = write!(out, ",{}:{}", Value::from(name), value);
    };
    member("target", &target.into());
    member("message", &message.into());
    for (name, value) in fields {
        if OWN.contains(&name) { member(&format!("{name}_"), &value) } else { member(name, &value) }
    }
    out.push('}');
    without_hazards(&out)
}

/// JSON with the characters that could do harm on a terminal as `\u001b`. They can only be inside of strings.
fn without_hazards(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if escape::is_hazard(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// The message and the other fields of an event, in their order.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Parts {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::LogFormat;
    use super::super::format::tests::printed;
    use super::*;

    fn guest(message: &str) -> String {
        printed(LogFormat::Json, false, false, || {
            let (app, workflow) = ("greeting", "w-1");
            tracing::event!(target: "guest", Level::INFO, app, workflow, "{message}");
        })
    }

    #[test]
    fn a_line_has_time_level_target_message_and_fields() {
        assert_eq!(
            guest("hello"),
            "{\"timestamp\":\"1970-01-01T14:41:13.042Z\",\"level\":\"INFO\",\"target\":\"guest\",\"message\":\"hello\",\
             \"app\":\"greeting\",\"workflow\":\"w-1\"}\n"
        );
        let line = printed(LogFormat::Json, true, true, || {
            tracing::warn!(target: "t", tries = 3, wait = 0.5, last = true, level = "x", path = ?"a", "away");
        });
        assert!(line.ends_with(
            "\"message\":\"away\",\"tries\":3,\"wait\":0.5,\"last\":true,\"level_\":\"x\",\"path\":\"\\\"a\\\"\"}\n"
        ));
    }

    #[test]
    fn a_line_of_no_workflow_has_no_such_member() {
        let line = printed(LogFormat::Json, false, false, || {
            tracing::event!(target: "guest", Level::INFO, app = "a", workflow = "", "x");
        });
        assert!(!line.contains("workflow"), "{line}");
    }

    #[test]
    fn a_guest_can_forge_neither_a_field_nor_a_line() {
        for hostile in ["\",\"app\":\"other", "a\n{\"level\":\"ERROR\"}", "\u{2028}x\\", "\"}\r\n"] {
            let line = guest(hostile);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let read: Value = serde_json::from_str(&line).expect("one JSON object");
            assert_eq!((&read["message"], &read["app"]), (&hostile.into(), &"greeting".into()));
            assert_eq!(read.as_object().map(serde_json::Map::len), Some(6));
        }
    }

    #[test]
    fn a_guest_cannot_reach_the_terminal() {
        let line = guest("\x1b[2J\u{9b}2J\u{7f}\u{202e}");
        assert!(line.trim_end().chars().all(|character| (' '..='~').contains(&character)), "{line:?}");
        let read: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["message"], "\x1b[2J\u{9b}2J\u{7f}\u{202e}");
    }
}

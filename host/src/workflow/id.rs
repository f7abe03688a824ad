//! The ids that cross modules, each a type of its own so that one is never taken for another.

use std::fmt;
use std::sync::Arc;

/// The longest workflow id, in bytes. Ids are index keys in Postgres, whose entries end at about 2,700 bytes; children
/// add `-<n>` for each generation, so a limit far below that leaves room for both.
const MAX_ID_BYTES: usize = 512;

/// The longest name of an app, workflow, step, route, event or topic, in bytes: what DBOS reserves for class names. It is far
/// below what an index can have, together with a workflow id.
const MAX_NAME_BYTES: usize = 255;

/// A text that is not acceptable as an id or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{shown}` is not valid: {reason}")]
pub struct InvalidName {
    what: &'static str,
    shown: String,
    reason: &'static str,
}

impl InvalidName {
    /// A text that breaks this rule.
    pub(super) fn of(what: &'static str, text: &str, reason: &'static str) -> Self {
        Self { what, shown: text.escape_debug().take(80).collect(), reason }
    }

    /// The rule that it breaks; without the text, which may be something that must not be shown.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

/// Identifies a run. Any text without control characters, 1 to 512 bytes; those that the host makes are UUIDv7 (their
/// time order keeps index pages warm) or `<parent>-<step number>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkflowId(Arc<str>);

impl WorkflowId {
    /// Checks a text from outside.
    ///
    /// # Errors
    /// When it is empty, longer than 512 bytes, or has control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let reason = if text.is_empty() {
            "it is empty"
        } else if text.len() > MAX_ID_BYTES {
            "it is longer than 512 bytes"
        } else if text.chars().any(char::is_control) {
            "it has control characters"
        } else {
            return Ok(Self(text.into()));
        };
        Err(InvalidName::of("workflow id", text, reason))
    }

    /// Checks an id that somebody chooses for a new run.
    ///
    /// # Errors
    /// As [`Self::parse`], and when it is one that the host keeps for a run which undoes another.
    pub fn chosen(text: &str) -> Result<Self, InvalidName> {
        if text.ends_with("-undo") {
            let shown = text.escape_debug().take(80).collect();
            let reason = "ids that end in `-undo` are those of runs which undo others";
            return Err(InvalidName { what: "workflow id", shown, reason });
        }
        Self::parse(text)
    }

    /// An id that the database holds already: whatever another program was allowed to write is taken as it is.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The id that a child has by default: `<parent>-<step number>`, as in DBOS.
    ///
    /// # Errors
    /// When the parent's id is so long that the child's would pass the limit.
    pub fn child(&self, step: StepNumber) -> Result<Self, InvalidName> {
        Self::parse(&format!("{self}-{step}"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkflowId({})", self.0)
    }
}

/// The number of a step in its run: 1, 2, 3 … in the order of the calls. DBOS calls it `function_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepNumber(i32);

impl StepNumber {
    /// The number of the first step.
    pub const FIRST: Self = Self(1);

    /// A number that the database holds.
    #[must_use]
    pub fn stored(number: i32) -> Self {
        Self(number)
    }

    /// The number after this one. A run has at most 2³¹ − 1 steps, the width of the column.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The number as the database stores it.
    #[must_use]
    pub fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for StepNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The name of an app: what rows carry as `application_name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppName(Arc<str>);

impl AppName {
    /// Checks a name from the configuration.
    ///
    /// # Errors
    /// Says which of the rules for names the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        check_name("app name", text)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a name of an app, workflow, step or route: 1 to 255 of `A-Z a-z 0-9 _ . -`, starting with a letter or `_`.
/// A colon is not among them, so `temp:<step>` is free for the host.
///
/// # Errors
/// Says which of these rules the text breaks.
pub fn check_name(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_NAME_BYTES {
        "it is longer than 255 bytes"
    } else if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        "it must start with a letter or `_`"
    } else if !text.chars().all(allowed) {
        "only letters, digits, `_`, `.` and `-` may occur in it"
    } else {
        return Ok(());
    };
    Err(InvalidName::of(what, text, reason))
}

/// Checks a name that people choose freely, as those of patches, events and topics: 1 to 255 bytes without control characters.
pub(super) fn check_text(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_NAME_BYTES {
        "it is longer than 255 bytes"
    } else if text.chars().any(char::is_control) {
        "it has control characters"
    } else {
        return Ok(());
    };
    Err(InvalidName::of(what, text, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_say_what_is_wrong_with_them() {
        assert_eq!(WorkflowId::parse("").unwrap_err().to_string(), "workflow id `` is not valid: it is empty");
        assert!(WorkflowId::parse(&"x".repeat(513)).unwrap_err().to_string().ends_with("longer than 512 bytes"));
        assert!(WorkflowId::parse("a\nb").unwrap_err().to_string().contains("`a\\nb`"));
        assert!(AppName::parse("9lives").unwrap_err().to_string().contains("must start with a letter"));
        assert!(AppName::parse("temp:x").is_err());
        assert_eq!(AppName::parse("greeting").unwrap().as_str(), "greeting");
    }

    #[test]
    fn a_child_is_named_after_parent_and_step() {
        let parent = WorkflowId::parse("order-7").unwrap();
        assert_eq!(parent.child(StepNumber::FIRST.next().unwrap()).unwrap().as_str(), "order-7-2");
    }
}

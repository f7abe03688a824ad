//! Why an operation failed, as guests see it and as records keep it.
//!
//! A failure crosses many borders (step, workflow, parent, another SDK's client) and must come out of each as it went
//! in. So there is one type for it, and one encoding: the `portable_json` error object of DBOS.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Code;

/// A failed operation: the `portable_json` error of DBOS, with what a communicator's retry policy needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The class of the error, for programs.
    pub name: Box<str>,
    /// What happened, for people.
    pub message: String,
    /// A stable code or an SQLSTATE.
    #[serde(default)]
    pub code: Option<Value>,
    /// Anything more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// False: a communicator that failed with this is not tried again.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub retryable: bool,
    /// Where it comes from, if that is known. In a box, since most failures have none, and every result has room for one.
    #[serde(flatten, deserialize_with = "origin")]
    pub origin: Option<Box<Origin>>,
}

/// Where a failure comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What it was made from, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// The functions that a panic or a trap has ended, the innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<String>,
}

/// What an error was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Its class, as an error's.
    pub name: String,
    /// What happened.
    pub message: String,
}

/// Causes that are kept: deeper ones say little that the nearer ones do not, and each is written with every record of the
/// error.
const MOST_CAUSES: usize = 16;

/// Characters of a cause's message, at most four KiB of them.
const LONGEST_CAUSE: usize = 1024;

/// Functions of a backtrace that are kept, and characters of each: what was called from where is told by the innermost
/// ones, and generic functions can have names of many thousand characters.
pub const MOST_FRAMES: usize = 64;
const LONGEST_FRAME: usize = 256;

/// Members that no other program of DBOS's writes. What has another shape there is not ours, and no reason to lose the error:
/// an option among the members of something else is none then.
fn origin<'de, D: Deserializer<'de>>(members: D) -> Result<Option<Box<Origin>>, D::Error> {
    Ok(Option::<Origin>::deserialize(members)?.and_then(|Origin { causes, backtrace }| Origin::of(causes, backtrace)))
}

impl Origin {
    /// As much as is kept of it. `None`: nothing is known.
    #[must_use]
    pub fn of(mut causes: Vec<Cause>, mut backtrace: Vec<String>) -> Option<Box<Self>> {
        if causes.is_empty() && backtrace.is_empty() {
            return None;
        }
        causes.truncate(MOST_CAUSES);
        for Cause { name, message } in &mut causes {
            cut(name, 255);
            cut(message, LONGEST_CAUSE);
        }
        backtrace.truncate(MOST_FRAMES);
        backtrace.iter_mut().for_each(|frame| cut(frame, LONGEST_FRAME));
        Some(Box::new(Self { causes, backtrace }))
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `skip_serializing_if` passes a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

impl Failure {
    /// A failure of the class `name` with a stable `code`.
    #[must_use]
    pub fn new(name: &str, code: Code, message: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            message: message.into(),
            code: Some(code.as_str().into()),
            data: None,
            retryable: true,
            origin: None,
        }
    }

    /// A failure that the database told, with its SQLSTATE.
    #[must_use]
    pub fn sql(sqlstate: &str, message: impl Into<String>) -> Self {
        Self { code: Some(sqlstate.into()), ..Self::new("SqlError", Code("sql"), message) }
    }

    /// The same, and no retry policy tries again.
    #[must_use]
    pub fn not_retryable(mut self) -> Self {
        self.retryable = false;
        self
    }

    /// A call that the phase does not grant.
    #[must_use]
    pub fn wrong_phase(call: &str, belongs_to: &str) -> Self {
        Self::new("PhaseError", Code("wrong_phase"), format!("{call} is only available in {belongs_to}"))
            .not_retryable()
    }

    /// The guest panicked, in the innermost of these functions.
    #[must_use]
    pub fn panic(message: &str, backtrace: Vec<String>) -> Self {
        Self { origin: Origin::of(Vec::new(), backtrace), ..Self::new("Panic", Code("panic"), message) }
    }

    /// The same, cut so that its stored form has about `bytes` at the most: what cannot be stored cannot be told.
    #[must_use]
    pub fn limited(mut self, bytes: usize) -> Self {
        if self.to_stored().len() <= bytes {
            return self;
        }
        // A character is at most six bytes long in JSON.
        let most = bytes / 24;
        self.name = self.name.chars().take(most.min(255)).collect();
        self.message = self.message.chars().take(most).chain(" … (cut)".chars()).collect();
        (self.code, self.data, self.origin) = (None, None, None);
        self
    }

    /// Reads the stored form. What another program wrote in another shape is kept as the message, never lost.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self::new("Error", Code("unreadable_error"), text))
    }

    /// The stored form.
    #[must_use]
    pub fn to_stored(&self) -> String {
        serde_json::to_string(self).expect("strings and JSON values always serialize")
    }
}

/// Cuts a text to so many characters.
fn cut(text: &mut String, most: usize) {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_the_portable_error_object() {
        let failure = Failure::sql("23505", "duplicate key");
        assert_eq!(failure.to_stored(), r#"{"name":"SqlError","message":"duplicate key","code":"23505"}"#);
        assert_eq!(Failure::from_stored(&failure.to_stored()), failure);
        let stop = failure.not_retryable();
        assert_eq!(Failure::from_stored(&stop.to_stored()), stop);
    }

    #[test]
    fn what_is_too_long_to_be_stored_is_cut() {
        let long = Failure { data: Some("x".into()), ..Failure::new("E", Code("c"), "\u{1}".repeat(10_000)) };
        let cut = long.clone().limited(1000);
        assert!(cut.to_stored().len() <= 1000 && cut.message.ends_with("(cut)") && cut.data.is_none());
        assert_eq!(long.clone().limited(1_000_000), long);
    }

    #[test]
    fn causes_and_functions_are_kept_up_to_a_bound() {
        let cause = |text: &str| Cause { name: "E".into(), message: text.into() };
        let made =
            |causes, backtrace| Failure { origin: Origin::of(causes, backtrace), ..Failure::panic("no", vec![]) };
        let failure = made(vec![cause("disk full")], vec!["a::b".into()]);
        assert_eq!(Failure::from_stored(&failure.to_stored()), failure);
        assert!(
            failure.to_stored().ends_with(r#""causes":[{"name":"E","message":"disk full"}],"backtrace":["a::b"]}"#)
        );
        let wild = made(vec![cause(&"ä".repeat(5000)); 20], vec!["f".repeat(999); 99]);
        let kept = wild.origin.expect("an origin");
        assert_eq!((kept.causes.len(), kept.backtrace.len()), (16, 64));
        assert_eq!(kept.causes[0].message.chars().count(), 1025);
        assert_eq!(kept.backtrace[63].chars().count(), 257);
    }

    #[test]
    fn members_of_another_shape_are_not_ours() {
        let other = r#"{"name":"E","message":"m","code":7,"causes":"none","backtrace":{"frames":[]}}"#;
        let read = Failure::from_stored(other);
        assert_eq!((read.message.as_str(), read.origin), ("m", None));
    }

    #[test]
    fn errors_of_other_sdks_are_read_and_unreadable_ones_kept() {
        let python = Failure::from_stored(r#"{"name":"ValueError","message":"no","code":null,"data":[1]}"#);
        assert_eq!((&*python.name, python.message.as_str()), ("ValueError", "no"));
        assert_eq!(Failure::from_stored("gASV").message, "gASV");
    }
}

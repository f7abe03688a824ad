//! Why an operation failed, as guests see it and as records keep it.
//!
//! A failure crosses many borders (step, workflow, parent, another SDK's client) and must come out of each as it went
//! in. So there is one type for it, and one encoding: the `portable_json` error object of DBOS.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Code;

/// A failed operation: the `portable_json` error of DBOS, with what a communicator's retry policy needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The class of the error, for programs.
    pub name: String,
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

    /// The guest panicked.
    #[must_use]
    pub fn panic(message: &str) -> Self {
        Self::new("Panic", Code("panic"), message)
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
        (self.code, self.data) = (None, None);
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
    fn errors_of_other_sdks_are_read_and_unreadable_ones_kept() {
        let python = Failure::from_stored(r#"{"name":"ValueError","message":"no","code":null,"data":[1]}"#);
        assert_eq!((python.name.as_str(), python.message.as_str()), ("ValueError", "no"));
        assert_eq!(Failure::from_stored("gASV").message, "gASV");
    }
}

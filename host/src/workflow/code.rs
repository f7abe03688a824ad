//! Stable names for the errors that users meet.
//!
//! Texts of errors get better with time, so no program may depend on them, and nobody can look them up. A code stays what
//! it is: it stands in the failure of a step, in a problem that HTTP answers, in what a command prints, and in
//! `docs/errors.md`, which says what leads to it and what to do. A code is written where its error is made, as
//! `Code("unknown_workflow")`; a test compares these places with the page.

use std::fmt;

/// A stable name of an error: lowercase words joined by `_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub &'static str);

impl Code {
    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

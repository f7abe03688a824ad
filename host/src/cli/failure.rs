//! What a command that could not do its work says, and how that is printed.
//!
//! An expected error is met by people: it names what was attempted, why it did not work and what to do about it, and
//! shows no backtrace. Errors of all modules are lowercase fragments that fit after "failed to" or "because"; a line of
//! their text that starts with `hint: ` is advice. This module only arranges such texts, whoever they come from:
//!
//! ```text
//! error[database]: failed to open the system database
//!   because no answer from `db.example.com:5432`
//!   because connection refused
//!   hint: is the server running?
//! ```

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use super::escape;
use super::exit::Exit;
use super::log::{self, LogFormat};
use super::output;
use crate::workflow::Code;

/// What starts a line of advice in the text of an error.
const HINT: &str = "hint: ";

/// Further lines of a cause stand under its first word.
const UNDER_BECAUSE: &str = "          ";

/// A command that failed for an expected reason.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Option<Code>,
    exit: Exit,
    action: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    hints: Vec<String>,
}

impl Failure {
    /// A failure to do `action`: a verb and its object, as in "open the database".
    pub(crate) fn to(action: impl Into<String>) -> Self {
        Self { code: None, exit: Exit::Failed, action: action.into(), cause: None, hints: Vec::new() }
    }

    /// Adds the reason; the reasons behind it (its sources) are shown too.
    pub(crate) fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds advice: what the reader can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Sets the exit code, [`Exit::Failed`] otherwise.
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Sets the code that the failure is looked up by; otherwise the one of the exit code.
    pub(crate) fn code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// The code that the process ends with.
    pub(crate) fn exit_code(&self) -> Exit {
        self.exit
    }

    /// Prints the failure to standard error, as the last line of the log if that is for programs. A closed standard error
    /// is nobody's problem any more.
    pub(crate) fn report(&self) {
        let text = match log::format() {
            LogFormat::Json => {
                let code = self.error_code().as_str();
                let said = self.to_string();
                log::error_line(said.split_once(": ").map_or(said.as_str(), |(_, text)| text), code)
            }
            LogFormat::Text if output::colour(&io::stderr()) => format!("\x1b[1;31merror\x1b[0m{self}"),
            LogFormat::Text => format!("error{self}"),
        };
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn error_code(&self) -> Code {
        self.code.unwrap_or_else(|| self.exit.error_code())
    }

    /// The texts of the causes, outermost first, without those that only repeat the end of the one before: some
    /// libraries print their source as part of their own text.
    fn causes(&self) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        let mut next = self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static));
        while let Some(cause) = next {
            let text = cause.to_string();
            if !text.is_empty() && !texts.last().is_some_and(|last| last.ends_with(&text)) {
                texts.push(text);
            }
            next = cause.source();
        }
        texts
    }
}

/// The text after the word "error".
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hints = Vec::new();
        write!(f, "[{}]: failed to {}", self.error_code(), arrange(&self.action, &mut hints, "  "))?;
        for cause in self.causes() {
            write!(f, "\n  because {}", arrange(&cause, &mut hints, UNDER_BECAUSE))?;
        }
        hints.extend(self.hints.iter().map(|hint| escape::line(hint)));
        for hint in hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Splits an error's text: its hints go to `hints`, the rest comes back with its further lines indented.
fn arrange(text: &str, hints: &mut Vec<String>, indent: &str) -> String {
    let mut message = Vec::new();
    for line in text.lines() {
        match line.trim_start().strip_prefix(HINT) {
            Some(hint) => hints.push(escape::line(hint)),
            None => message.push(line),
        }
    }
    let mut out = String::new();
    escape::push_block(&mut out, &message.join("\n"), indent);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Link>>);

    impl fmt::Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|link| link as &dyn Error)
        }
    }

    #[test]
    fn causes_and_hints_stand_below() {
        let inner = Link("connection refused\nhint: is the server running?", None);
        let failure = Failure::to("open the system database")
            .because(Link("no answer from `db:5432`", Some(Box::new(inner))))
            .hint("see the server's log")
            .code(Code("database"))
            .exit(Exit::Database);
        assert_eq!(
            failure.to_string(),
            "[database]: failed to open the system database\n  because no answer from `db:5432`\n  because connection refused\n  \
             hint: is the server running?\n  hint: see the server's log"
        );
        assert_eq!(failure.exit_code(), Exit::Database);
    }

    #[test]
    fn a_cause_that_repeats_its_source_is_shown_once() {
        let failure = Failure::to("connect").because(Link("db error: no", Some(Box::new(Link("no", None)))));
        assert_eq!(failure.to_string(), "[failed]: failed to connect\n  because db error: no");
    }

    #[test]
    fn lines_and_control_characters_of_a_cause_stay_in_their_place() {
        let failure = Failure::to("load `a.wasm`").because("it imports\n\x1b[1mtwo things");
        assert_eq!(
            failure.to_string(),
            "[failed]: failed to load `a.wasm`\n  because it imports\n          \\u{1b}[1mtwo things"
        );
        assert_eq!(failure.exit_code(), Exit::Failed);
    }
}

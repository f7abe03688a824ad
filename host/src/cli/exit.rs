//! The exit codes of `dbos-host`.
//!
//! Scripts and supervisors act on them, so they are part of the interface: a code never changes its meaning. The table
//! that `--help` shows is made from the same list, so the two cannot differ.

use std::fmt::Write;
use std::process::ExitCode;

use crate::workflow::Code;

/// How a run of the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command did what it was asked to do; also after a graceful shutdown.
    Success = 0,
    /// The command could not do it, for a reason that has no code of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong.
    Configuration = 3,
    /// The database cannot be reached or used.
    Database = 4,
    /// The component was refused.
    Component = 5,
    /// What was asked for does not exist.
    NotFound = 6,
    /// What was asked for is there, in a state that does not allow it.
    Conflict = 7,
    /// SIGINT came a second time; what was running is taken up by the next run of the host.
    Interrupted = 130,
    /// SIGTERM came a second time, or after SIGINT; otherwise as above.
    Terminated = 143,
}

impl Exit {
    /// Every code with what it says.
    const TABLE: [(Self, &str); 10] = [
        (Self::Success, "done, also after a graceful shutdown"),
        (Self::Failed, "failed"),
        (Self::Usage, "the command line is wrong"),
        (Self::Configuration, "the configuration is wrong"),
        (Self::Database, "the database cannot be reached or used"),
        (Self::Component, "the component was refused"),
        (Self::NotFound, "what was asked for does not exist"),
        (Self::Conflict, "what was asked for is in a state that does not allow it"),
        (Self::Interrupted, "ended at once by a second Ctrl-C (SIGINT)"),
        (Self::Terminated, "ended at once by a second SIGTERM"),
    ];

    /// The number that the operating system sees.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The code of errors that have none of their own.
    pub(crate) fn error_code(self) -> Code {
        match self {
            Self::Configuration => Code("configuration"),
            Self::Database => Code("database"),
            Self::Component => Code("component"),
            Self::NotFound => Code("not_found"),
            Self::Conflict => Code("conflict"),
            Self::Usage => Code("usage"),
            Self::Success | Self::Failed | Self::Interrupted | Self::Terminated => Code("failed"),
        }
    }

    /// The table for the end of `--help`.
    pub(crate) fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in Self::TABLE {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "  {:>3}  {meaning}", exit.code());
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_code_once_in_order() {
        let codes: Vec<u8> = Exit::TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 130, 143]);
        assert!(Exit::help().starts_with("Exit codes:\n    0  done, also after a graceful shutdown\n    1  failed\n"));
    }
}

//! The exit codes of `dbos-host`.
//!
//! Scripts and supervisors act on them, so they are part of the interface: a code never changes its meaning.
//! `docs/command-line.md` has them all; a test compares it with this file.

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
    /// SIGHUP came after another signal; as below.
    HungUp = 129,
    /// SIGINT came a second time; what was running is taken up by the next run of the host.
    Interrupted = 130,
    /// SIGTERM came a second time, or after SIGINT; otherwise as above.
    Terminated = 143,
}

impl Exit {
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
            Self::Success | Self::Failed | Self::HungUp | Self::Interrupted | Self::Terminated => Code("failed"),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

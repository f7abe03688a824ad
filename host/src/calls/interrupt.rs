//! Why a call does not return to the guest: its instance is given up.
//!
//! An instance of a workflow can be thrown away at any time, since a replay makes it again. A call that finds that the
//! guest must not go on (or need not, for a long time) returns an interrupt instead of an answer; it unwinds the guest and
//! comes out where the instance was made.

use crate::workflow::{Divergence, EpochMs, Failure, Reason, Signal};

/// What a run waits for: whichever of these comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitFor {
    /// A time, if there is one.
    pub until: Option<EpochMs>,
    /// What others do.
    pub signals: Box<[Signal]>,
}

impl WaitFor {
    /// A time only.
    #[must_use]
    pub fn until(wake: EpochMs) -> Self {
        Self { until: Some(wake), signals: Box::default() }
    }

    /// What people are told of it.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Reason::of(self.until, &self.signals)
    }

    /// A signal, however long it takes.
    #[must_use]
    pub fn signal(signal: Signal) -> Self {
        Self { until: None, signals: Box::new([signal]) }
    }
}

/// Why an instance was given up.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Interrupt {
    /// The run waits long; it is replayed when what it waits for has come.
    #[error("the run waits without an instance")]
    Suspended(WaitFor),
    /// The run is not this host's any more.
    #[error("the run is not owned by this host any more")]
    Lost,
    /// The database has a record that the instance does not know of: replay with it.
    #[error("the run has a record that this instance does not know of")]
    Reload,
    /// What the guest has seen ahead of its commit was not committed: replay, without the run's fault.
    #[error("a result that the run has seen was not committed")]
    Undone,
    /// The code does something else than what is recorded.
    #[error(transparent)]
    Diverged(#[from] Divergence),
    /// The guest did what its phase forbids, in a call that cannot return an error. It does so in every replay.
    #[error(transparent)]
    Forbidden(Failure),
    /// The run is longer than a limit of the operator's allows. With a higher one it can go on, so it is no outcome.
    #[error(transparent)]
    Exhausted(Failure),
    /// The transaction must be run again: another one was in the way, or the connection is gone.
    #[error("the transaction must be run again")]
    RunAgain,
    /// The database cannot commit; the run backs off.
    #[error("the database cannot commit a transaction: {0}")]
    Unavailable(String),
    /// The host is shutting down and starts nothing new.
    #[error("the host is shutting down")]
    ShuttingDown,
}

//! Other runs, by their ids: what their rows say, and what may be done to them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::{Result, arguments::decode_result, host};

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Status {
    /// It waits in a queue.
    Enqueued,
    /// It waits in a queue until a time.
    Delayed,
    /// It runs, sleeps, or waits for somebody.
    Pending,
    /// It has ended with a result.
    Success,
    /// It has ended with an error.
    Error,
    /// Somebody has cancelled it, or its deadline has passed. It can be resumed.
    Cancelled,
    /// It was given up. It can be resumed.
    MaxRecoveryAttemptsExceeded,
}

impl Status {
    /// Nothing more is done for the run, unless it is resumed.
    pub fn has_ended(self) -> bool {
        !matches!(self, Status::Enqueued | Status::Delayed | Status::Pending)
    }
}

/// What the row of a run says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RunStatus {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub status: Status,
    /// The workflow's name.
    pub name: String,
    /// The app.
    pub app: Option<String>,
    /// The run that started it.
    pub parent: Option<String>,
    created_at: u64,
    completed_at: Option<u64>,
    deadline: Option<u64>,
    /// What it was given to be found by.
    pub attributes: Option<serde_json::Value>,
}

impl RunStatus {
    /// When it was created.
    pub fn created_at(&self) -> SystemTime {
        time(self.created_at)
    }

    /// When it ended.
    pub fn completed_at(&self) -> Option<SystemTime> {
        self.completed_at.map(time)
    }

    /// When it is cancelled if it has not ended.
    pub fn deadline(&self) -> Option<SystemTime> {
        self.deadline.map(time)
    }
}

fn time(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

/// What the row of the run with this id says. `None`: there is no such run.
///
/// Available in handlers and workflows. In a workflow the answer is recorded: what it was once, it is in every replay,
/// whatever the run has come to since.
pub fn run_status(id: &str) -> Result<Option<RunStatus>> {
    host::status(id)?.map(|json| decode_result("workflow.status", &json)).transpose()
}

/// Cancels the run with this id, which must be one of this app. What it has started goes on.
///
/// When it returns, the run's row says that it is cancelled, and nothing more is recorded for it; or the run had ended before.
/// Its instance is dropped wherever it is: in the middle of computing, of a transaction (which is rolled back), of a request
/// (what that has done outside stays done), of a wait.
///
/// Available in handlers and workflows. In a workflow it is recorded when it is done; after a crash in between it is done again,
/// which would cancel a run that somebody has resumed meanwhile. A run that cancels itself ends there.
///
/// # Errors
/// `no_such_workflow`: this app has no run with the id.
pub fn cancel(id: &str) -> Result<()> {
    host::cancel(id, false)
}

/// As [`cancel`], with everything that the run has started, and what that has.
pub fn cancel_with_children(id: &str) -> Result<()> {
    host::cancel(id, true)
}

/// Lets the run with this id go on from its records, which must be one of this app that was cancelled or given up. If it was
/// given a time, it has it anew; an inherited deadline does not count any more. One that has ended with a result or an error stays as it is, and so does one that goes on.
///
/// When it returns, the run waits for a host that serves the app. Available in handlers and workflows. In a workflow it is
/// recorded when it is done; after a crash in between it is done again.
///
/// # Errors
/// `no_such_workflow`: this app has no run with the id.
pub fn resume(id: &str) -> Result<()> {
    host::resume(id)
}

#[cfg(test)]
mod tests {
    use super::{Duration, RunStatus, Status, UNIX_EPOCH};

    #[test]
    fn a_status_is_read_as_the_host_writes_it() {
        let json = r#"{"id":"a","status":"MAX_RECOVERY_ATTEMPTS_EXCEEDED","name":"w","app":"shop","parent":null,
                       "createdAt":1500,"completedAt":null,"deadline":2000,"attributes":{"x":1}}"#;
        let status: RunStatus = serde_json::from_str(json).unwrap();
        assert!(status.status.has_ended() && status.status == Status::MaxRecoveryAttemptsExceeded);
        assert_eq!(status.deadline(), Some(UNIX_EPOCH + Duration::from_secs(2)));
        assert_eq!((status.created_at(), status.completed_at()), (UNIX_EPOCH + Duration::from_millis(1500), None));
    }
}

//! Runs that begin again with other arguments.
//!
//! What they are from then on is in the database and nowhere else: whoever drives a run loads it anew, as after a crash.

use std::time::Duration;

use super::Executor;
use crate::database::{Continuation, until_answered};
use crate::failpoint;
use crate::workflow::PROMISE;

/// How long a run waits that continues and has done nothing: it would keep a processor and the disk busy with nothing.
const BREATH: Duration = Duration::from_millis(100);

impl Executor {
    /// Lets a run begin again, everything of which is durable. False: it is not this host's any more.
    pub(super) async fn continue_as_new(&self, new: &Continuation, is_idle: bool) -> bool {
        if is_idle {
            tokio::time::sleep(BREATH).await;
        }
        failpoint::hit("continue.before_commit").await;
        let written = until_answered("continue a workflow", || self.database.continue_as_new(new, PROMISE)).await;
        failpoint::hit("continue.after_commit").await;
        written
    }
}

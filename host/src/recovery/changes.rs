//! Following what other programs write into the rows of runs, and what the clock does to them.
//!
//! Problem: DBOS clients, commands and other hosts cancel, resume and start runs by a plain write, and tell nobody; and the
//! time of a run may be over wherever it is. So the rows are looked at: once for runs whose deadlines have passed, once for all
//! runs that this host drives, and once for the queue in which others leave what is to be run. What this host wrote itself is
//! looked at straight away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::database::{Backoff, DatabaseError, Served};
use crate::executor::{App, Executor};
use crate::workflow::{AppName, WorkflowEntry};

/// How often the rows are looked at: a cancel by another program acts within a second, also on a busy machine. Without
/// anything to find, a look costs the database two probes of indexes.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The pause is this many times as long as the look at least: a host with 100,000 sleepers, whose look takes half a second,
/// heeds a cancel after two, and does not keep the database busy with its question.
const PAUSE_FOR_LOOK: u32 = 3;

/// Follows the rows for ever.
pub async fn follow_changes(executor: Arc<Executor>, every: Duration) {
    let what = "look for workflows that were cancelled or resumed";
    let mut backoff = Backoff::new(what);
    loop {
        let begun = Instant::now();
        match look(&executor).await {
            Ok(()) => {
                backoff = Backoff::new(what);
                tokio::select! {
                    () = tokio::time::sleep(every.max(begun.elapsed() * PAUSE_FOR_LOOK)) => {}
                    () = executor.changed() => {}
                }
            }
            Err(error) => {
                // An answer may have been lost, and with it runs that this host owns now.
                executor.doubt();
                backoff.wait(&error).await;
            }
        }
    }
}

async fn look(executor: &Arc<Executor>) -> Result<(), DatabaseError> {
    // Before the look for what is lost, which then finds those of this host.
    let has_expired = executor.expire().await?;
    executor.give_up_all_lost().await?;
    if has_expired {
        executor.must_undo();
    }
    loop {
        if executor.is_stopping() {
            return Ok(());
        }
        let identity = executor.identity();
        let owner = (identity.executor.as_str(), &identity.incarnation);
        let apps: Vec<AppName> = executor.apps().map(|app| app.name().clone()).collect();
        let taken = executor.database().dequeue(&apps, &served(executor), owner).await?;
        if taken.is_empty() {
            return Ok(());
        }
        tracing::debug!("{} workflows were taken out of the queue", taken.len());
        executor.adopt(taken);
        // A host whose runs wait for slots leaves the rest to others until its next look.
        if executor.is_full() {
            return Ok(());
        }
    }
}

/// What this host serves, by the components that new runs take.
fn served(executor: &Executor) -> Vec<Served> {
    let of_app = |app: &Arc<App>| {
        let current = app.current();
        let served = |workflow: &WorkflowEntry| Served {
            app: app.name().clone(),
            workflow: workflow.name.clone(),
            version: current.digest().clone(),
        };
        current.manifest().workflows.iter().map(served).collect::<Vec<_>>()
    };
    executor.apps().flat_map(of_app).collect()
}

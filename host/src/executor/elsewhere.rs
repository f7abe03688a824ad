//! Waiting for runs whose ends this process hears nothing of: those that another host drives, above all.
//!
//! Each of a thousand clients may wait for minutes, and the database must not be asked twice a second for each. So they
//! register here, and one task looks at all of their runs with one query, as long as somebody waits. It looks soon after
//! somebody has come, since most waits are short, then less often.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Executor;
use crate::workflow::WorkflowId;

/// How long after somebody has come the runs are looked at, and the longest pause when nobody comes. A query of a
/// thousand keys takes some milliseconds.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How many runs one query looks at.
const PAGE: usize = 1000;

/// Those who wait (lifetime: the process).
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    /// True is sent when the run has ended or is gone.
    runs: HashMap<WorkflowId, watch::Sender<bool>>,
    is_looked_at: bool,
    has_newcomer: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Elsewhere {
    /// Registers somebody. True: nobody looks yet.
    fn enter(&self, run: &WorkflowId) -> (watch::Receiver<bool>, bool) {
        let mut waits = self.0.lock();
        waits.has_newcomer = true;
        let receiver = waits.runs.entry(run.clone()).or_insert_with(|| watch::Sender::new(false)).subscribe();
        (receiver, !std::mem::replace(&mut waits.is_looked_at, true))
    }
}

/// The task that looks. When it ends, by a bug too, those who wait are woken: they look for themselves and come again.
struct Looking(Arc<Shared>);

impl Looking {
    /// The runs that somebody waits for, and whether somebody has come since the last look. `None`: there are none, and
    /// nobody looks any more.
    fn runs(&self) -> Option<(Vec<WorkflowId>, bool)> {
        let mut waits = self.0.lock();
        waits.runs.retain(|_, ended| ended.receiver_count() > 0);
        if waits.runs.is_empty() {
            waits.is_looked_at = false;
            return None;
        }
        let has_newcomer = std::mem::take(&mut waits.has_newcomer);
        Some((waits.runs.keys().cloned().collect(), has_newcomer))
    }

    fn ended(&self, run: &WorkflowId) {
        if let Some(ended) = self.0.lock().runs.remove(run) {
            ended.send_replace(true);
        }
    }
}

impl Executor {
    /// Returns when the run has ended or was deleted, whoever did that; at times too early.
    pub(super) async fn ends_elsewhere(&self, run: &WorkflowId) {
        let (mut ended, is_first) = self.elsewhere.enter(run);
        if is_first {
            let (executor, looking) = (self.this(), Looking(Arc::clone(&self.elsewhere.0)));
            tokio::spawn(async move { executor.look_elsewhere(&looking).await });
        }
        // An error means that the task which looked is gone: too early is allowed.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    async fn look_elsewhere(&self, looking: &Looking) {
        let mut pause = FIRST_LOOK;
        loop {
            tokio::time::sleep(pause).await;
            let Some((runs, has_newcomer)) = looking.runs() else { return };
            pause = if has_newcomer { FIRST_LOOK } else { (pause * 2).min(LONGEST_PAUSE) };
            for page in runs.chunks(PAGE) {
                match self.database.unended(page).await {
                    Ok(unended) => {
                        let unended: HashSet<&str> = unended.iter().map(String::as_str).collect();
                        page.iter().filter(|run| !unended.contains(run.as_str())).for_each(|run| looking.ended(run));
                    }
                    Err(error) => tracing::debug!("cannot look at awaited workflows: {error}"),
                }
            }
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        let mut waits = self.0.lock();
        // After a regular end somebody else may look already; then nothing here is this task's.
        if std::thread::panicking() {
            waits.is_looked_at = false;
            waits.runs.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str) -> WorkflowId {
        WorkflowId::parse(id).expect("an id")
    }

    #[test]
    fn one_looks_for_all_and_stops_when_nobody_waits() {
        let elsewhere = Elsewhere::default();
        let (first, must_look) = elsewhere.enter(&run("a"));
        let (second, again) = elsewhere.enter(&run("a"));
        let (other, _) = elsewhere.enter(&run("b"));
        assert!(must_look && !again);
        let looking = Looking(Arc::clone(&elsewhere.0));
        let (runs, has_newcomer) = looking.runs().expect("somebody waits");
        assert!(runs.len() == 2 && has_newcomer);
        looking.ended(&run("a"));
        assert!(*first.borrow() && *second.borrow() && !*other.borrow());
        assert!(looking.runs().is_some_and(|(runs, has_newcomer)| runs == [run("b")] && !has_newcomer));
        drop(other);
        assert!(looking.runs().is_none());
        let (_new, must_look) = elsewhere.enter(&run("c"));
        assert!(must_look);
    }
}

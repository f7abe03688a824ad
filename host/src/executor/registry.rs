//! The runs that this process drives, and those who wait for their ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::database::{Claim, Outcome};
use crate::workflow::WorkflowId;

/// What those who wait for a run are told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum News {
    /// It goes on.
    Running,
    /// It has ended.
    Ended(Outcome),
    /// This process drives it no more; the database knows what became of it.
    LookElsewhere,
}

#[derive(Debug)]
struct Entry {
    claim: Claim,
    news: watch::Sender<News>,
}

/// The runs (lifetime: the process).
#[derive(Debug, Default)]
pub(super) struct Registry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    runs: Mutex<HashMap<WorkflowId, Entry>>,
    /// Somebody stopped driving a run that has not ended: lost, or because of a bug. Whoever looks finds the runs that
    /// are still this host's, and drives them again.
    abandoned: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<WorkflowId, Entry>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<WorkflowId, Entry>> {
        self.0.lock()
    }

    /// True once after a run was given up before its end.
    pub(super) fn take_abandoned(&self) -> bool {
        self.0.abandoned.swap(false, Ordering::SeqCst)
    }

    /// Enters a run. `None`: it is being driven already.
    pub(super) fn enter(&self, claim: &Claim) -> Option<Driven> {
        let mut runs = self.lock();
        if runs.contains_key(claim.run()) {
            return None;
        }
        let entry = Entry { claim: claim.clone(), news: watch::Sender::new(News::Running) };
        runs.insert(claim.run().clone(), entry);
        Some(Driven { registry: Arc::clone(&self.0), run: claim.run().clone(), news: News::LookElsewhere })
    }

    /// News of a run, if this process drives it.
    pub(super) fn follow(&self, run: &WorkflowId) -> Option<watch::Receiver<News>> {
        self.lock().get(run).map(|entry| entry.news.subscribe())
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        self.lock().values().map(|entry| entry.claim.clone()).collect()
    }
}

/// A run that is being driven. However the driving ends, a panic included, those who wait are told.
#[derive(Debug)]
pub(super) struct Driven {
    registry: Arc<Shared>,
    run: WorkflowId,
    news: News,
}

impl Driven {
    /// The run has ended.
    pub(super) fn ended(mut self, outcome: Outcome) {
        self.news = News::Ended(outcome);
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let news = std::mem::replace(&mut self.news, News::LookElsewhere);
        let entry = self.registry.lock().remove(&self.run);
        if news == News::LookElsewhere {
            self.registry.abandoned.store(true, Ordering::SeqCst);
        }
        if let Some(entry) = entry {
            entry.news.send_replace(news);
        }
    }
}

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
    /// An attempt was counted that has not come to an end of its own.
    is_counted: bool,
    news: watch::Sender<News>,
}

/// The runs (lifetime: the process).
#[derive(Debug, Default)]
pub(super) struct Registry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    runs: Mutex<HashMap<WorkflowId, Entry>>,
    interrupted: Mutex<Vec<Claim>>,
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

    /// A run may be without anybody who drives it.
    pub(super) fn doubt(&self) {
        self.0.abandoned.store(true, Ordering::SeqCst);
    }

    /// True once after a run was given up before its end.
    pub(super) fn take_abandoned(&self) -> bool {
        self.0.abandoned.swap(false, Ordering::SeqCst)
    }

    /// Enters a run. `None`: it is being driven already, under this very claim.
    pub(super) fn enter(&self, claim: &Claim) -> Option<Driven> {
        let mut runs = self.lock();
        if runs.get(claim.run()).is_some_and(|entry| entry.claim == *claim) {
            return None;
        }
        let entry = Entry { claim: claim.clone(), is_counted: false, news: watch::Sender::new(News::Running) };
        // An entry with an older claim is that of a task which has lost the run and does not know yet; it may wait for a
        // month before it finds out. Those who wait for it look again, and find this one.
        if let Some(old) = runs.insert(claim.run().clone(), entry) {
            old.news.send_replace(News::LookElsewhere);
        }
        Some(Driven { registry: Arc::clone(&self.0), claim: claim.clone(), news: News::LookElsewhere })
    }

    /// The claims under which this process drives runs.
    pub(super) fn claims(&self) -> Vec<Claim> {
        self.lock().values().map(|entry| entry.claim.clone()).collect()
    }

    /// The claim under which this process drives a run, if it does.
    pub(super) fn claim_of(&self, run: &WorkflowId) -> Option<Claim> {
        self.lock().get(run).map(|entry| entry.claim.clone())
    }

    /// Ends the driving of a run whose claim is over, wherever it is: its task is dropped with its instance, and those who
    /// wait for the run look at the row. Nothing is done if the run has been entered under another claim since.
    pub(super) fn give_up(&self, claim: &Claim) -> bool {
        let mut runs = self.lock();
        let Some(entry) = runs.remove(claim.run()) else { return false };
        if entry.claim != *claim {
            runs.insert(claim.run().clone(), entry);
            return false;
        }
        drop(runs);
        entry.news.send_replace(News::LookElsewhere);
        true
    }

    /// News of a run, if this process drives it.
    pub(super) fn follow(&self, run: &WorkflowId) -> Option<watch::Receiver<News>> {
        self.lock().get(run).map(|entry| entry.news.subscribe())
    }

    /// The runs whose counted attempt the shutdown cut short: those that left because of it, and those that still run.
    pub(super) fn interrupted(&self) -> Vec<Claim> {
        let mut claims = self.0.interrupted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        claims.extend(self.lock().values().filter(|entry| entry.is_counted).map(|entry| entry.claim.clone()));
        claims
    }
}

/// A run that is being driven. However the driving ends, a panic included, those who wait are told.
#[derive(Debug)]
pub(super) struct Driven {
    registry: Arc<Shared>,
    claim: Claim,
    news: News,
}

impl Driven {
    /// This task's own entry; `None` when the run has a newer one.
    fn own_entry<'a>(&self, runs: &'a mut HashMap<WorkflowId, Entry>) -> Option<&'a mut Entry> {
        runs.get_mut(self.claim.run()).filter(|entry| entry.claim == self.claim)
    }

    /// Returns when this task is not to go on: its claim is over, or the run has been entered again under a newer one. Two
    /// tasks that drive one run could each begin what the other has recorded.
    pub(super) fn displaced(&self) -> impl Future<Output = ()> + Send + use<> {
        // Its own entry only: one that was replaced before this look belongs to the task that is to go on.
        let news = self.own_entry(&mut self.registry.lock()).map(|entry| entry.news.subscribe());
        async move {
            if let Some(mut news) = news {
                // Told or gone: in both cases this task's entry is no more.
                let _ = news.wait_for(|news| *news != News::Running).await;
            }
        }
    }

    /// An attempt was counted, or has come to an end that it must answer for.
    pub(super) fn counted(&self, is_counted: bool) {
        if let Some(entry) = self.own_entry(&mut self.registry.lock()) {
            entry.is_counted = is_counted;
        }
    }

    /// The host stops: an attempt that was counted is to be given back.
    pub(super) fn interrupted(self) {
        let is_counted = self.own_entry(&mut self.registry.lock()).is_some_and(|entry| entry.is_counted);
        if is_counted {
            self.registry.interrupted.lock().unwrap_or_else(PoisonError::into_inner).push(self.claim.clone());
        }
    }

    /// The run has ended.
    pub(super) fn ended(mut self, outcome: Outcome) {
        self.news = News::Ended(outcome);
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let news = std::mem::replace(&mut self.news, News::LookElsewhere);
        let mut runs = self.registry.lock();
        let is_own = self.own_entry(&mut runs).is_some();
        let entry = if is_own { runs.remove(self.claim.run()) } else { None };
        drop(runs);
        // A task whose run has a newer one leaves nothing behind.
        if news == News::LookElsewhere && entry.is_some() {
            self.registry.abandoned.store(true, Ordering::SeqCst);
        }
        if let Some(entry) = entry {
            entry.news.send_replace(news);
        }
    }
}

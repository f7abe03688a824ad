//! Why the runs of this process wait, for those who ask.
//!
//! Problem: whoever asks may ask any host, or a command that is none, and may ask for ten thousand runs at once. So what a run
//! waits for is told through the database; but most waits are over in milliseconds, and a write for each would be most of what
//! a host does. Therefore a wait is told when it has lasted for a second, by a task that has many of them in one statement
//! (`reasons` of the executor), and only such waits cost anything. A sleep is not told at all: its record says it.
//!
//! Nothing is kept here for a parked run but a mark, since its place says what it waits for. A run with an instance says so
//! itself, as long as it waits ([`Here`]).

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Entry, Place, Registry, Runs, Shared};
use crate::database::Claim;
use crate::workflow::{EpochMs, Reason, Waiting, WorkflowId};

/// How long a wait has lasted before it is told, in milliseconds.
const TOLD_AFTER_MS: u64 = 1000;

/// Runs that are looked at at once, while nobody else can have the registry, and at most as many in a statement: a fraction of a
/// millisecond here, some milliseconds there.
const PAGE: usize = 1000;

/// What a run with an instance waits for, the newest last: a step of it may wait inside of its own wait for steps.
#[derive(Debug, Default)]
pub(super) struct Live(Vec<(u64, Waiting)>);

/// What is known of a run's reasons beside the reasons.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    /// It stands among those whose reason may have changed.
    is_noted: bool,
    /// The database has a reason of it.
    is_told: bool,
}

/// Runs whose reasons are to be told (lifetime: the process).
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// There is something.
    is_there: Arc<Notify>,
    noted: VecDeque<WorkflowId>,
    /// Those that are here no more, and whose reasons are still told.
    gone: Vec<Claim>,
    last_wait: u64,
}

/// What is to be told.
#[derive(Debug, Default, PartialEq)]
pub(in crate::executor) struct Page {
    /// These wait.
    pub(in crate::executor) waiting: Vec<(Claim, Waiting)>,
    /// These do not any more.
    pub(in crate::executor) over: Vec<Claim>,
    /// How many runs were looked at.
    pub(in crate::executor) examined: usize,
}

impl Page {
    pub(in crate::executor) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.over.is_empty()
    }
}

impl Place {
    /// Nothing is there to be said that its record does not say.
    fn sleeps(&self, now: EpochMs) -> bool {
        self.signals.is_empty() && self.due.as_ref().is_none_or(|due| due.at() > now)
    }

    /// What the run waits for here.
    fn waiting(&self, now: EpochMs) -> Option<Waiting> {
        let until = self.due.as_ref().map(|due| due.at());
        let reason = match &self.told {
            // It is due, and stands in front of the slots.
            _ if self.signals.is_empty() && !self.sleeps(now) => Reason::Slot,
            Some(reason) => Reason::clone(reason),
            None => Reason::of(until, &self.signals)?,
        };
        // A sleeper waits for its turn since it is due.
        let since =
            if reason == Reason::Slot { until.map_or(self.since, |until| until.max(self.since)) } else { self.since };
        Some(Waiting { reason, since })
    }
}

impl Entry {
    fn waiting(&self, now: EpochMs) -> Option<Waiting> {
        let live = self.live.as_ref().and_then(|live| live.0.last());
        let live = live.map(|(_, waiting)| waiting.clone());
        live.or_else(|| self.parked.as_ref()?.waiting(now))
    }
}

impl Runs {
    /// What a run waits for may be something else from now on.
    fn note(&mut self, run: &WorkflowId) {
        let Some(entry) = self.entries.get_mut(run) else { return };
        if !std::mem::replace(&mut entry.marks.is_noted, true) {
            self.changed.noted.push_back(run.clone());
            self.changed.is_there.notify_one();
        }
    }

    /// A run was parked, or is parked no more.
    pub(super) fn note_parked(&mut self, run: &WorkflowId, now: EpochMs) {
        let sleeps = |place: &Place| place.told.is_none() && place.sleeps(now);
        let is_of_interest =
            |entry: &Entry| entry.marks.is_told || entry.parked.as_ref().is_some_and(|place| !sleeps(place));
        if self.entries.get(run).is_some_and(is_of_interest) {
            self.note(run);
        }
    }

    /// An entry has left.
    pub(super) fn note_gone(&mut self, entry: &Entry) {
        if entry.marks.is_told {
            self.changed.gone.push(entry.claim.clone());
            self.changed.is_there.notify_one();
        }
    }

    /// Takes out what is to be told now. Waits that are too short yet stay.
    fn take_page(&mut self, now: EpochMs) -> Page {
        // Sleepers say nothing when their time comes. Whoever is told that something waits for a slot looks for them too.
        let overdue: Vec<WorkflowId> = self.parked.due_before(now).take(PAGE).cloned().collect();
        for run in overdue {
            if self.entries.get(&run).is_some_and(|entry| !entry.marks.is_told) {
                self.note(&run);
            }
        }
        let keep = self.changed.gone.len().saturating_sub(PAGE);
        let mut over = self.changed.gone.split_off(keep);
        let examined = over.len();
        // What could not be written before may be told anew by now.
        over.retain(|claim| self.of(claim).is_none_or(|entry| !entry.marks.is_told));
        let mut page = Page { over, examined, ..Page::default() };
        for _ in 0..self.changed.noted.len().min(PAGE) {
            let Some(run) = self.changed.noted.pop_front() else { break };
            page.examined += 1;
            let Some(entry) = self.entries.get_mut(&run) else { continue };
            let waiting = entry.waiting(now).filter(|waiting| !matches!(waiting.reason, Reason::Sleep { .. }));
            match waiting {
                Some(waiting) if now.millis_since(waiting.since) < TOLD_AFTER_MS => {
                    self.changed.noted.push_back(run);
                    continue;
                }
                Some(waiting) => {
                    page.waiting.push((entry.claim.clone(), waiting));
                    entry.marks.is_told = true;
                }
                None if entry.marks.is_told => {
                    page.over.push(entry.claim.clone());
                    entry.marks.is_told = false;
                }
                None => {}
            }
            entry.marks.is_noted = false;
        }
        page
    }
}

impl Registry {
    /// What a run of this process waits for. `None` outside: it is not here.
    pub(in crate::executor) fn waiting(&self, run: &WorkflowId) -> Option<Option<Waiting>> {
        let now = self.0.clock.now();
        self.0.lock().entries.get(run).map(|entry| entry.waiting(now))
    }

    /// A run waits, with its instance or for one, until what this returns is dropped.
    pub(in crate::executor) fn waits(&self, claim: &Claim, reason: Reason) -> Here {
        self.0.waits(claim, reason)
    }

    /// Returns when there is something to be told. Remembered until it is asked for.
    pub(in crate::executor) async fn reasons(&self) {
        let is_there = Arc::clone(&self.0.lock().changed.is_there);
        is_there.notified().await;
    }

    /// How many runs are to be looked at.
    pub(in crate::executor) fn noted(&self) -> usize {
        let runs = self.0.lock();
        runs.changed.noted.len() + runs.changed.gone.len()
    }

    /// What is to be told now, as much as goes into one statement.
    pub(in crate::executor) fn take_reasons(&self) -> Page {
        let now = self.0.clock.now();
        self.0.lock().take_page(now)
    }

    /// All of them were looked at; if some stay, they are to be looked at again.
    pub(in crate::executor) fn note_again(&self) {
        let runs = self.0.lock();
        if !runs.changed.noted.is_empty() || !runs.changed.gone.is_empty() {
            runs.changed.is_there.notify_one();
        }
    }

    /// Nothing that was told can be relied on: all of it is told again, and of these that they do not wait any more.
    pub(in crate::executor) fn tell_again(&self, over: Vec<Claim>) {
        let mut runs = self.0.lock();
        runs.changed.gone.extend(over);
        let parked = |entry: &Entry| entry.parked.as_ref().is_some_and(|place| !place.signals.is_empty());
        let told = runs.entries.iter().filter(|(_, entry)| entry.marks.is_told || parked(entry));
        let told: Vec<WorkflowId> = told.map(|(run, _)| run.clone()).collect();
        for run in &told {
            runs.note(run);
        }
    }
}

impl Shared {
    fn waits(self: &Arc<Self>, claim: &Claim, reason: Reason) -> Here {
        let waiting = Waiting { reason, since: self.clock.now() };
        let mut runs = self.lock();
        runs.changed.last_wait += 1;
        let number = runs.changed.last_wait;
        if let Some(entry) = runs.of(claim) {
            entry.live.get_or_insert_default().0.push((number, waiting));
            runs.note(claim.run());
        }
        Here { shared: Arc::clone(self), claim: claim.clone(), number }
    }
}

/// A run waits, until this is dropped.
#[derive(Debug)]
pub(in crate::executor) struct Here {
    shared: Arc<Shared>,
    claim: Claim,
    number: u64,
}

impl Drop for Here {
    fn drop(&mut self) {
        let mut runs = self.shared.lock();
        let Some(entry) = runs.of(&self.claim) else { return };
        let Some(live) = &mut entry.live else { return };
        live.0.retain(|(number, _)| *number != self.number);
        if live.0.is_empty() {
            entry.live = None;
        }
        if entry.marks.is_told {
            runs.note(self.claim.run());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::tests::claim;
    use super::*;
    use crate::calls::WaitFor;
    use crate::workflow::Signal;

    /// As if so much time had passed.
    fn page_after(registry: &Registry, milliseconds: u64) -> Page {
        let now = registry.0.clock.now().after_ms(milliseconds);
        registry.0.lock().take_page(now)
    }

    fn child() -> Signal {
        Signal::Ended(WorkflowId::stored("child"))
    }

    #[test]
    fn a_wait_is_told_when_it_has_lasted_and_again_when_it_is_over() {
        let (registry, claim) = (Registry::default(), claim());
        let driven = registry.enter(&claim).expect("it is new");
        assert_eq!(registry.waiting(claim.run()), Some(None));
        driven.park(WaitFor::signal(child()));
        assert!(registry.reasons().now_or_never().is_some());
        let waiting = registry.waiting(claim.run()).flatten().expect("it waits");
        assert_eq!(waiting.reason, Reason::Workflow { id: "child".into() });
        assert!(page_after(&registry, 0).is_empty(), "it may be over at once");
        assert_eq!(page_after(&registry, TOLD_AFTER_MS).waiting, [(claim.clone(), waiting)]);
        assert_eq!(registry.noted(), 0);
        assert!(page_after(&registry, TOLD_AFTER_MS).is_empty(), "it is told");
        registry.raise(&child());
        let driven = registry.take_due(EpochMs(i64::MAX)).expect("it is due");
        assert_eq!(page_after(&registry, TOLD_AFTER_MS).over, std::slice::from_ref(&claim));
        drop(driven);
        assert!(page_after(&registry, TOLD_AFTER_MS).is_empty(), "nothing of it is told any more");
    }

    #[test]
    fn a_short_wait_and_a_sleep_cost_nothing() {
        let (registry, claim) = (Registry::default(), claim());
        let driven = registry.enter(&claim).expect("it is new");
        drop(registry.waits(&claim, Reason::Slot));
        assert!(page_after(&registry, 0).is_empty());
        assert_eq!(registry.noted(), 0);
        let until = registry.0.clock.now().after_ms(60_000);
        driven.park(WaitFor::until(until));
        assert_eq!(
            registry.waiting(claim.run()).flatten().map(|waiting| waiting.reason),
            Some(Reason::Sleep { until })
        );
        assert!(page_after(&registry, TOLD_AFTER_MS).is_empty());
    }

    #[test]
    fn of_several_waits_the_innermost_is_told() {
        let (registry, claim) = (Registry::default(), claim());
        let _driven = registry.enter(&claim).expect("it is new");
        let reason = || registry.waiting(claim.run()).flatten().map(|waiting| waiting.reason);
        let steps = registry.waits(&claim, Reason::Steps { steps: vec![1] });
        let slot = registry.waits(&claim, Reason::Slot);
        assert_eq!(reason(), Some(Reason::Slot));
        assert_eq!(page_after(&registry, TOLD_AFTER_MS).waiting.len(), 1);
        drop(slot);
        assert_eq!(reason(), Some(Reason::Steps { steps: vec![1] }));
        assert_eq!(page_after(&registry, TOLD_AFTER_MS).waiting.len(), 1, "it is another one");
        drop(steps);
        assert_eq!((reason(), page_after(&registry, TOLD_AFTER_MS).over.len()), (None, 1));
    }

    #[test]
    fn who_leaves_is_told_no_more_and_all_can_be_told_again() {
        let (registry, first, second) = (Registry::default(), claim(), claim());
        registry.enter(&first).expect("it is new").park(WaitFor::signal(child()));
        assert_eq!(page_after(&registry, TOLD_AFTER_MS).waiting.len(), 1);
        registry.tell_again(vec![first.clone()]);
        let page = page_after(&registry, TOLD_AFTER_MS);
        assert_eq!((page.waiting.len(), page.over.len()), (1, 0), "it waits, after all");
        let driven = registry.enter(&second).expect("under another claim");
        assert_eq!(page_after(&registry, TOLD_AFTER_MS).over, [first]);
        driven.park(WaitFor::signal(child()));
        assert_eq!(page_after(&registry, TOLD_AFTER_MS).waiting.len(), 1);
        assert!(registry.give_up(&second));
        assert_eq!(page_after(&registry, TOLD_AFTER_MS).over, [second]);
    }
}

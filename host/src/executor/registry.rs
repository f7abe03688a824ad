//! The runs of this process: those that a task drives, those that are parked, and those who wait for their ends.
//!
//! A run is driven by one task at most, under the claim that stands here. A parked one has no task: it is taken out when it
//! is due, and gets one. Whatever ends a run's life here (its claim is over, it was claimed anew) finds it in this place
//! either way.

mod listen;
mod reasons;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

pub(super) use self::reasons::Page;
use self::reasons::{Changed, Live, Marks};
use super::parked::{Due, Parked};
use super::signals::Signals;
use crate::calls::WaitFor;
use crate::clock::Clock;
use crate::database::{Claim, Outcome};
use crate::workflow::{EpochMs, Reason, Signal, WorkflowId};

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
    keeps: Keeps,
    marks: Marks,
    parked: Option<Place>,
    /// Apart, since most runs are parked and have none.
    live: Option<Box<Live>>,
    /// Made when somebody listens: it is larger than all the rest, and nobody listens for most sleepers.
    news: Option<watch::Sender<News>>,
}

/// What a run keeps while it is parked.
#[derive(Debug, Clone, Copy, Default)]
struct Keeps {
    /// How often in a row something was in the way of taking it up.
    blocked: u8,
}

/// Where a parked run waits.
#[derive(Debug)]
struct Place {
    /// For its time, if it has one.
    due: Option<Due>,
    /// For what others do.
    signals: Box<[Signal]>,
    /// Since when.
    since: EpochMs,
    /// Why, if time and signals do not say it.
    told: Option<Box<Reason>>,
}

impl Entry {
    fn new(claim: &Claim) -> Self {
        let (keeps, marks) = (Keeps::default(), Marks::default());
        Self { claim: claim.clone(), is_counted: false, keeps, marks, parked: None, live: None, news: None }
    }

    fn follow(&mut self) -> watch::Receiver<News> {
        self.news.get_or_insert_with(|| watch::Sender::new(News::Running)).subscribe()
    }
}

/// The runs (lifetime: the process). Clones are of the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Registry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    runs: Mutex<Runs>,
    interrupted: Mutex<Vec<Claim>>,
    /// Somebody stopped driving a run that has not ended: lost, displaced, or because of a bug. Whoever looks finds the runs
    /// that are still this host's, and drives them again.
    abandoned: AtomicBool,
    /// A run was parked that is due before every other.
    sooner: Notify,
    /// Somebody waits for a signal who did not before.
    newcomer: Notify,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Runs {
    entries: HashMap<WorkflowId, Entry>,
    parked: Parked,
    signals: Signals,
    changed: Changed,
}

impl Runs {
    /// The entry of a claim; `None` when its run is not here, or under another claim.
    fn of(&mut self, claim: &Claim) -> Option<&mut Entry> {
        self.entries.get_mut(claim.run()).filter(|entry| entry.claim == *claim)
    }

    /// Takes a run out; if it is parked, its place too.
    fn remove(&mut self, claim: &Claim) -> Option<Entry> {
        self.of(claim)?;
        let mut entry = self.entries.remove(claim.run())?;
        self.leave(claim.run(), entry.parked.take());
        self.note_gone(&entry);
        Some(entry)
    }

    /// A run leaves where it was parked.
    fn leave(&mut self, run: &WorkflowId, place: Option<Place>) {
        if let Some(place) = place {
            place.due.into_iter().for_each(|due| self.parked.leave(due));
            self.signals.unpark(run, &place.signals);
        }
    }

    /// Parks a run, now; for a reason, if the wait does not say it.
    fn park(&mut self, claim: &Claim, wait: WaitFor, now: EpochMs, told: Option<Reason>) -> NowParked {
        let Some(entry) = self.entries.get_mut(claim.run()).filter(|entry| entry.claim == *claim) else {
            return NowParked::default();
        };
        let run = claim.run();
        let must_look = self.signals.park(run, &wait.signals, Instant::now());
        let (due, is_first) = match wait.until.map(|wake| self.parked.enter(run.clone(), wake)) {
            Some((due, is_first)) => (Some(due), is_first),
            None => (None, false),
        };
        entry.parked = Some(Place { due, signals: wait.signals, since: now, told: told.map(Box::new) });
        self.note_parked(run, now);
        NowParked { is_first, must_look }
    }

    /// What a parked run waited for has come: it is due. True: before every other.
    fn wake(&mut self, run: &WorkflowId, now: EpochMs) -> bool {
        let Some(entry) = self.entries.get_mut(run) else { return false };
        let (claim, Some(place)) = (entry.claim.clone(), entry.parked.take()) else { return false };
        self.leave(run, Some(place));
        self.park(&claim, WaitFor::until(now), now, None).is_first
    }
}

/// What has changed by parking a run.
#[derive(Debug, Default)]
struct NowParked {
    /// It is due before every other.
    is_first: bool,
    /// It waits for a signal, and nobody looks yet.
    must_look: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a run under a claim. False: it is here already, under this very claim.
    fn enter(&self, claim: &Claim) -> bool {
        let mut runs = self.lock();
        if runs.of(claim).is_some() {
            return false;
        }
        // An entry with an older claim is that of a run which was lost, and nobody knows yet; it may be parked for a
        // month. Those who wait for it look again, and find this one.
        let mut old = runs.entries.insert(claim.run().clone(), Entry::new(claim));
        let place = old.as_mut().and_then(|old| old.parked.take());
        runs.leave(claim.run(), place);
        if let Some(old) = &old {
            runs.note_gone(old);
        }
        drop(runs);
        if let Some(old) = old {
            // Which of the two claims is the older one, nobody can see here: an answer of the database may have been overtaken.
            self.abandoned.store(true, Ordering::SeqCst);
            self.tell(old, News::LookElsewhere);
        }
        true
    }

    fn enter_unproven(&self, claim: &Claim) -> bool {
        let mut runs = self.lock();
        let is_free = !runs.entries.contains_key(claim.run());
        if is_free {
            runs.entries.insert(claim.run().clone(), Entry::new(claim));
        }
        is_free
    }

    /// Parks a run. True: it waits for a signal, and nobody looks yet.
    fn park(&self, claim: &Claim, wait: WaitFor, told: Option<Reason>) -> bool {
        let has_signals = !wait.signals.is_empty();
        let now = self.clock.now();
        let parked = self.lock().park(claim, wait, now, told);
        if parked.is_first {
            self.sooner.notify_one();
        }
        if has_signals {
            self.newcomer.notify_one();
        }
        parked.must_look
    }

    /// Tells those who wait for a run what has become of it here.
    fn tell(&self, entry: Entry, news: News) {
        // Whoever has written the outcome raises its signal.
        if !matches!(news, News::Ended(_)) {
            self.lock().signals.doubt(&Signal::Ended(entry.claim.run().clone()), Instant::now());
            self.newcomer.notify_one();
        }
        if let Some(listeners) = entry.news {
            listeners.send_replace(news);
        }
    }
}

impl Registry {
    /// Nothing yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self(Arc::new(Shared { clock, ..Shared::default() }))
    }

    /// A run may be without anybody who drives it.
    pub(super) fn doubt(&self) {
        self.0.abandoned.store(true, Ordering::SeqCst);
    }

    /// True once after a run was given up before its end.
    pub(super) fn take_abandoned(&self) -> bool {
        self.0.abandoned.swap(false, Ordering::SeqCst)
    }

    /// Enters a run that is to be driven. `None`: it is here already, under this very claim.
    pub(super) fn enter(&self, claim: &Claim) -> Option<Driven> {
        self.0.enter(claim).then(|| self.driven(claim.clone(), Keeps::default()))
    }

    /// Enters a run whose start is not written, so that its claim proves nothing yet. `None`: there is one under its id.
    pub(super) fn enter_unproven(&self, claim: &Claim) -> Option<Driven> {
        self.0.enter_unproven(claim).then(|| self.driven(claim.clone(), Keeps::default()))
    }

    /// Enters a run that has nothing to do before `wake`; for a reason, if it is not that it sleeps until then.
    pub(super) fn enter_parked(&self, claim: &Claim, wake: EpochMs, told: Option<Reason>) {
        if self.0.enter(claim) {
            self.0.park(claim, WaitFor::until(wake), told);
        }
    }

    fn driven(&self, claim: Claim, keeps: Keeps) -> Driven {
        Driven { registry: Arc::clone(&self.0), claim, keeps, told: None, end: End::Elsewhere }
    }

    /// Takes the run that has been due for longest; from here on it is driven.
    ///
    /// # Errors
    /// When none is due at `now`: the time at which the next one is, if there is any.
    pub(super) fn take_due(&self, now: EpochMs) -> Result<Driven, Option<EpochMs>> {
        let mut runs = self.0.lock();
        let run = runs.parked.take_due(now)?;
        let entry = runs.entries.get_mut(&run).expect("who leaves the registry leaves its place among the parked too");
        let (claim, keeps, place) = (entry.claim.clone(), entry.keeps, entry.parked.take());
        runs.leave(&run, place);
        runs.note_parked(&run, now);
        drop(runs);
        Ok(self.driven(claim, keeps))
    }

    /// Returns when a run was parked that is due before every other. Remembered until it is asked for.
    pub(super) async fn sooner(&self) {
        self.0.sooner.notified().await;
    }

    /// The claims under which this process has runs.
    pub(super) fn claims(&self) -> Vec<Claim> {
        self.0.lock().entries.values().map(|entry| entry.claim.clone()).collect()
    }

    /// The claim under which this process has a run, if it does.
    pub(super) fn claim_of(&self, run: &WorkflowId) -> Option<Claim> {
        self.0.lock().entries.get(run).map(|entry| entry.claim.clone())
    }

    /// Ends the driving of a run whose claim is over, wherever it is: its task is dropped with its instance, or its place
    /// among the parked is, and those who wait for the run look at the row. Nothing is done if the run has been entered
    /// under another claim since.
    pub(super) fn give_up(&self, claim: &Claim) -> bool {
        let entry = self.0.lock().remove(claim);
        let is_here = entry.is_some();
        if let Some(entry) = entry {
            self.0.tell(entry, News::LookElsewhere);
        }
        is_here
    }

    /// News of a run, if this process has it.
    pub(super) fn follow(&self, run: &WorkflowId) -> Option<watch::Receiver<News>> {
        self.0.lock().entries.get_mut(run).map(Entry::follow)
    }

    /// The runs whose counted attempt the shutdown cut short: those that left because of it, and those that still run or
    /// are parked.
    pub(super) fn interrupted(&self) -> Vec<Claim> {
        let mut claims = self.0.interrupted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let runs = self.0.lock();
        claims.extend(runs.entries.values().filter(|entry| entry.is_counted).map(|entry| entry.claim.clone()));
        claims
    }
}

/// A run that is being driven. However the driving ends, a panic included, those who wait are told.
#[derive(Debug)]
pub(super) struct Driven {
    registry: Arc<Shared>,
    claim: Claim,
    keeps: Keeps,
    told: Option<Reason>,
    end: End,
}

/// What becomes of a run that is not driven any more.
#[derive(Debug)]
enum End {
    /// It is parked.
    Parked,
    /// It has ended.
    Ended(Outcome),
    /// Its row has said that this claim is over.
    Gone,
    /// Whatever the database says.
    Elsewhere,
}

impl Driven {
    /// The claim under which it is driven.
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Returns when this task is not to go on: its claim is over, or the run has been entered again under a newer one. Two
    /// tasks that drive one run could each begin what the other has recorded.
    pub(super) fn displaced(&self) -> impl Future<Output = ()> + Send + use<> {
        // Its own entry only: one that was replaced before this look belongs to the task that is to go on.
        let news = self.registry.lock().of(&self.claim).map(Entry::follow);
        async move {
            if let Some(mut news) = news {
                // Told or gone: in both cases this task's entry is no more.
                let _ = news.wait_for(|news| *news != News::Running).await;
            }
        }
    }

    /// An attempt was counted, or has come to an end that it must answer for.
    pub(super) fn counted(&self, is_counted: bool) {
        if let Some(entry) = self.registry.lock().of(&self.claim) {
            entry.is_counted = is_counted;
        }
    }

    /// Why it is parked, if what it waits for does not say it.
    pub(super) fn because(&mut self, reason: Reason) {
        self.told = Some(reason);
    }

    /// Something is in the way of taking the run up. Returns how often in a row that was so before.
    pub(super) fn blocked(&mut self) -> u8 {
        let before = self.keeps.blocked;
        self.keeps.blocked = before.saturating_add(1);
        before
    }

    /// Nothing was in the way.
    pub(super) fn unblocked(&mut self) {
        self.keeps.blocked = 0;
    }

    /// The host stops: an attempt that was counted is to be given back.
    pub(super) fn interrupted(self) {
        let is_counted = self.registry.lock().of(&self.claim).is_some_and(|entry| entry.is_counted);
        if is_counted {
            self.registry.interrupted.lock().unwrap_or_else(PoisonError::into_inner).push(self.claim.clone());
        }
    }

    /// The row has just said that the claim is over. No doubt comes of that: under another claim the run is another's, or has
    /// an entry of its own.
    pub(super) fn gone(mut self) {
        self.end = End::Gone;
    }

    /// The run has ended.
    pub(super) fn ended(mut self, outcome: Outcome) {
        self.end = End::Ended(outcome);
    }

    /// The run has nothing to do before what it waits for has come. What has come since its instance listened no more is
    /// not heard, but found by a look that comes soon. True: nobody looks yet.
    pub(super) fn park(mut self, wait: WaitFor) -> bool {
        self.end = End::Parked;
        if let Some(entry) = self.registry.lock().of(&self.claim) {
            entry.keeps = self.keeps;
            if entry.news.as_ref().is_some_and(|news| news.receiver_count() == 0) {
                entry.news = None;
            }
        }
        self.registry.park(&self.claim, wait, self.told.take())
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let (news, is_abandoned) = match std::mem::replace(&mut self.end, End::Parked) {
            End::Parked => return,
            End::Ended(outcome) => (News::Ended(outcome), false),
            End::Gone => (News::LookElsewhere, false),
            End::Elsewhere => (News::LookElsewhere, true),
        };
        // A task whose run has a newer one leaves nothing behind.
        let Some(entry) = self.registry.lock().remove(&self.claim) else { return };
        if is_abandoned {
            self.registry.abandoned.store(true, Ordering::SeqCst);
        }
        self.registry.tell(entry, news);
    }
}

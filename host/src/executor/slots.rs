//! How many instances may live at once, by phase.
//!
//! Slots are taken only in the order handler → workflow → step: a handler waits for workflows, a workflow for its steps,
//! a step for nobody. So a full phase is always waiting for a later one that is not full of its own waiters, and nothing
//! can starve. A run that waits for another run gives its slot back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How many instances of each phase may live at once.
#[derive(Debug, Clone, Copy)]
pub struct SlotCounts {
    /// Handlers.
    pub handlers: u32,
    /// Workflows.
    pub workflows: u32,
    /// Steps.
    pub steps: u32,
}

/// Of how many slots one run of a kind (fresh, or due) at most waits for one. Half as many as there are slots keep them all
/// busy, since a run is loaded in its slot; and whoever comes has at most this many of the other kind in front of it.
const SLOTS_FOR_ONE_WAITING: u32 = 2;

impl SlotCounts {
    /// How many runs of a kind may stand before the slots of workflows.
    pub(super) fn waiting_at_once(self) -> usize {
        usize::try_from((self.workflows / SLOTS_FOR_ONE_WAITING).max(1)).unwrap_or(usize::MAX >> 4)
    }
}

/// The slots (lifetime: the process).
#[derive(Debug)]
pub(super) struct Slots {
    counts: SlotCounts,
    handlers: Arc<Semaphore>,
    workflows: Arc<Semaphore>,
    /// Of fresh runs, those that may stand before the slots: as many as of due ones (`wake`), so that both come to their turn,
    /// however many there are of either.
    fresh: Semaphore,
    steps: Arc<Semaphore>,
    waiting: AtomicUsize,
    someone_waits: Notify,
}

/// A slot, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(super) fn new(counts: SlotCounts) -> Self {
        let semaphore = |count: u32| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(usize::MAX >> 4)));
        Self {
            counts,
            handlers: semaphore(counts.handlers),
            workflows: semaphore(counts.workflows),
            fresh: Semaphore::new(counts.waiting_at_once()),
            steps: semaphore(counts.steps),
            waiting: AtomicUsize::new(0),
            someone_waits: Notify::new(),
        }
    }

    /// How many there are.
    pub(super) fn counts(&self) -> SlotCounts {
        self.counts
    }

    pub(super) async fn handler(&self) -> Slot {
        take(&self.handlers, 1).await
    }

    pub(super) async fn step(&self) -> Slot {
        take(&self.steps, 1).await
    }

    /// A slot for a run that was just started. Thousands of them may wait; if all stood before the slots, each of the few due
    /// runs that do would have all of them in front of it, and what was begun would never come to its end.
    pub(super) async fn fresh_workflow(&self) -> Slot {
        let _place = self.fresh.acquire().await.expect("the semaphores are never closed");
        self.workflow().await
    }

    pub(super) async fn workflow(&self) -> Slot {
        if let Ok(permit) = Arc::clone(&self.workflows).try_acquire_owned() {
            return Slot { _permit: permit };
        }
        let _waiting = Waiting::new(self);
        take(&self.workflows, 1).await
    }

    /// Returns when a run waits for a slot: those that only wait for something should give theirs up.
    pub(super) async fn pressed(&self) {
        loop {
            let notified = self.someone_waits.notified();
            let mut notified = std::pin::pin!(notified);
            // Listening before looking, so that nobody who comes in between is missed.
            notified.as_mut().enable();
            if self.is_pressed() {
                return;
            }
            notified.await;
        }
    }

    /// True when a run waits for a slot.
    pub(super) fn is_pressed(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Returns when no workflow and no step has a slot.
    pub(super) async fn all_free(&self) {
        drop(take(&self.workflows, self.counts.workflows).await);
        drop(take(&self.steps, self.counts.steps).await);
    }
}

async fn take(semaphore: &Arc<Semaphore>, count: u32) -> Slot {
    let permit = Arc::clone(semaphore).acquire_many_owned(count).await;
    Slot { _permit: permit.expect("the semaphores are never closed") }
}

/// Counts itself among those who wait.
struct Waiting<'a>(&'a Slots);

impl<'a> Waiting<'a> {
    fn new(slots: &'a Slots) -> Self {
        slots.waiting.fetch_add(1, Ordering::SeqCst);
        slots.someone_waits.notify_waiters();
        Self(slots)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn many_fresh_runs_do_not_stand_in_front_of_a_due_one() {
        let slots = Slots::new(SlotCounts { handlers: 1, workflows: 1, steps: 1 });
        let held = slots.workflow().await;
        let mut fresh: Vec<_> = (0..3).map(|_| Box::pin(slots.fresh_workflow())).collect();
        for fresh in &mut fresh {
            assert!(fresh.as_mut().now_or_never().is_none());
        }
        let mut due = Box::pin(slots.workflow());
        assert!(due.as_mut().now_or_never().is_none());
        drop(held);
        let first = fresh[0].as_mut().now_or_never().expect("it came first");
        assert!(fresh[1].as_mut().now_or_never().is_none(), "it stands before the slots now, behind the due one");
        drop(first);
        assert!(fresh[1].as_mut().now_or_never().is_none());
        let second = due.as_mut().now_or_never().expect("it is its turn");
        drop(second);
        assert!(fresh[1].as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn one_who_waits_presses_those_who_hold() {
        let slots = Slots::new(SlotCounts { handlers: 1, workflows: 1, steps: 1 });
        let held = slots.workflow().await;
        assert!(slots.pressed().now_or_never().is_none());
        let mut second = Box::pin(slots.workflow());
        assert!(second.as_mut().now_or_never().is_none());
        assert!(slots.pressed().now_or_never().is_some());
        drop(held);
        let _second = second.await;
        assert!(slots.pressed().now_or_never().is_none());
    }
}

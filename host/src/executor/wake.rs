//! Runs without a task: what they wait for, and how they get one again.
//!
//! Problem: ten thousand runs may be due in the same second, because they slept until midnight or because their host was
//! restarted. A task for each would put them all in front of whoever comes next, with what each needs in memory and of the
//! database. So one task takes up what is due, in its order, and has only a few at a time waiting for a slot: a run that is
//! started meanwhile stands behind those few, and not behind ten thousand.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Executor;
use super::drive::Next;
use super::registry::Driven;
use crate::calls::WaitFor;
use crate::database::TakenRun;
use crate::workflow::{AttemptBackoff, EpochMs, Reason, doubled};

/// How long a run waits when its row is locked or cannot be read, at first and at most. Most locks last for milliseconds,
/// and what has lasted for a minute may last for an hour.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// After this many pauses, a second and a half in all, it is worth a line in the log.
const TOLD_AFTER: u8 = 5;

/// A place among the due runs that wait for a slot.
pub(super) type PlaceInQueue = OwnedSemaphorePermit;

impl Executor {
    /// Takes up parked runs when they are due, for ever.
    pub async fn take_up_due(self: Arc<Self>) {
        let queue = Arc::new(Semaphore::new(self.slots.counts().waiting_at_once()));
        loop {
            let place = Arc::clone(&queue).acquire_owned().await.expect("the semaphore is never closed");
            let driven = tokio::select! {
                biased;
                () = self.stopped() => return,
                driven = self.next_due() => driven,
            };
            self.drive(driven, Next::Load(Some(place)), None);
        }
    }

    async fn next_due(&self) -> Driven {
        loop {
            match self.runs.take_due(self.clock.now()) {
                Ok(driven) => return driven,
                Err(None) => self.runs.sooner().await,
                Err(Some(next)) => tokio::select! {
                    () = self.clock.sleep_until(next) => {}
                    () = self.runs.sooner() => {}
                },
            }
        }
    }

    /// Drives a run that this process has taken over, when there is something to do for it. One that was taken in the
    /// middle of a sleep needs no instance before it is due, and no attempt. One whose attempts have come to nothing waits.
    pub(super) fn drive_taken(&self, taken: &TakenRun) {
        // The answer of the database may have come after this process began another incarnation.
        if !taken.claim.is_of(&self.identity().incarnation) {
            return self.runs.doubt();
        }
        let wait = AttemptBackoff::after_takeover(taken.attempts);
        let now = self.clock.now();
        let mut wake = taken.sleeps_until.map_or(now, |wake| wake.max(now));
        let mut told = None;
        if !wait.is_zero() {
            let attempts = taken.attempts;
            tracing::info!(workflow = %taken.claim.run(), attempts, "waiting {wait:?} before the next attempt");
            wake = after(wake, wait);
            told = Some(Reason::Attempt { until: wake, attempts });
        }
        self.runs.enter_parked(&taken.claim, wake, told);
    }

    /// Parks a run until what it waits for has come.
    pub(super) fn park(&self, driven: Driven, wait: WaitFor) {
        if driven.park(wait) {
            self.look_out();
        }
    }

    /// Parks a run that could not be taken up, longer each time.
    pub(super) fn park_blocked(&self, mut driven: Driven, reason: &str) {
        let before = driven.blocked();
        let pause = doubled(FIRST_PAUSE, before.into(), LONGEST_PAUSE);
        let run = driven.claim().run();
        if before >= TOLD_AFTER {
            tracing::warn!(workflow = %run, "cannot take up the workflow: {reason}; trying again in {pause:?}");
        } else {
            tracing::debug!(workflow = %run, "cannot take up the workflow: {reason}; trying again in {pause:?}");
        }
        driven.because(Reason::Database);
        self.park(driven, WaitFor::until(after(self.clock.now(), pause)));
    }
}

/// The moment that comes `wait` after `now`.
pub(super) fn after(now: EpochMs, wait: Duration) -> EpochMs {
    EpochMs(now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
}

//! The life of a run in this process: one task, from the claim to the end or the loss.
//!
//! The loop has a step for each reason why an instance ends, all in one `match`. A run that waits long waits here, without
//! an instance and without a slot.

use std::sync::Arc;

use tokio::sync::watch;

use super::Executor;
use super::attempt::{AttemptEnd, Prepared, interrupted};
use super::registry::{Driven, News};
use crate::calls::{Fate, Unsettled, WaitFor, Withholding};
use crate::database::{Claim, Entry, FinalOutcome, Finish, Landed, NewRun, Outcome, TakenRun, until_answered};
use crate::failpoint;
use crate::workflow::{AttemptBackoff, Code, Failure, Status};

/// What the next attempt begins with.
enum Next {
    /// The first instance of a run that this process has just started: its attempt is counted with the start.
    Fresh(Box<Prepared>),
    /// Any other: count the attempt, load the history.
    Load,
}

impl Executor {
    /// Drives a run that this process has started. Returns what is heard of it, if it is to be driven.
    pub(super) fn drive_new(&self, new: &NewRun, start: Option<Withholding>) -> Option<watch::Receiver<News>> {
        // A claim of an earlier incarnation must not displace the one that the run may have by now.
        if !new.claim().is_of(&self.identity().incarnation) {
            self.runs.doubt();
            return None;
        }
        let driven = self.runs.enter(new.claim())?;
        let news = self.runs.follow(new.claim().run());
        let prepared = Box::new(Prepared::fresh(new));
        let (executor, displaced, claim) = (self.this(), driven.displaced(), new.claim().clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = displaced => {}
                () = executor.live(claim, driven, Next::Fresh(prepared), start) => {}
            }
        });
        news
    }

    /// Drives a run that this process has taken over.
    pub(super) fn drive_taken(&self, taken: TakenRun) {
        // As above: the answer of the database may have come after this process began another incarnation.
        if !taken.claim.is_of(&self.identity().incarnation) {
            return self.runs.doubt();
        }
        let Some(driven) = self.runs.enter(&taken.claim) else { return };
        let (executor, displaced) = (self.this(), driven.displaced());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = displaced => {}
                () = executor.live_taken(taken, driven) => {}
            }
        });
    }

    async fn live_taken(self: Arc<Self>, taken: TakenRun, driven: Driven) {
        tokio::select! {
            biased;
            () = self.stopped() => return driven.interrupted(),
            () = self.before_taking_up(&taken) => {}
        }
        self.live(taken.claim, driven, Next::Load, None).await;
    }

    /// A run that was taken in the middle of a sleep needs no instance before it is due, and no attempt. One whose
    /// attempts have come to nothing waits.
    async fn before_taking_up(&self, taken: &TakenRun) {
        if let Some(wake) = taken.sleeps_until {
            self.clock.sleep_until(wake).await;
        }
        let wait = AttemptBackoff::after_takeover(taken.attempts);
        if !wait.is_zero() {
            let attempts = taken.attempts;
            tracing::info!(workflow = %taken.claim.run(), attempts, "waiting {wait:?} before the next attempt");
            self.clock.sleep(wait).await;
        }
    }

    async fn live(self: Arc<Self>, claim: Claim, driven: Driven, mut next: Next, start: Option<Withholding>) {
        driven.counted(matches!(next, Next::Fresh(_)));
        let mut may_run_ahead = true;
        loop {
            let slot = tokio::select! {
                biased;
                () = self.stopped() => return driven.interrupted(),
                slot = self.slots.workflow() => slot,
            };
            let mut prepared = match std::mem::replace(&mut next, Next::Load) {
                Next::Fresh(prepared) => *prepared,
                Next::Load => match self.prepare(&claim).await {
                    Some(prepared) => prepared,
                    None => return self.lost(&claim),
                },
            };
            driven.counted(true);
            prepared.may_run_ahead = may_run_ahead;
            prepared.start = start.as_ref().map(|start| Arc::clone(&start.0)).filter(|start| !start.is_written());
            let (attempts, app) = (prepared.attempts, prepared.app_name());
            let mut end = self.attempt(&claim, prepared).await;
            // The instance is gone; so is its slot, before any waiting.
            drop(slot);
            while let AttemptEnd::Finished(outcome, unsettled) = end {
                if !unsettled.carries_start() && !self.is_started(start.as_ref()).await {
                    return self.lost(&claim);
                }
                end = match self.finish(&claim, outcome, unsettled).await {
                    Ok(outcome) => return driven.ended(outcome),
                    Err(end) => end,
                };
            }
            if !self.is_started(start.as_ref()).await {
                return self.lost(&claim);
            }
            match end {
                AttemptEnd::Finished(..) => unreachable!("every outcome has been written or has become another end"),
                AttemptEnd::Reload => {}
                AttemptEnd::Undone => {
                    may_run_ahead = false;
                    let claims = std::slice::from_ref(&claim);
                    until_answered("give an attempt back", || self.database.give_back_attempts(claims)).await;
                    driven.counted(false);
                }
                AttemptEnd::Lost => return self.lost(&claim),
                AttemptEnd::ShuttingDown => return driven.interrupted(),
                AttemptEnd::Waits(wait) => tokio::select! {
                    () = self.wait_for(wait) => {}
                    () = self.stopped() => return driven.interrupted(),
                },
                AttemptEnd::Failed(reason) => {
                    driven.counted(false);
                    let wait = AttemptBackoff::after_failures(attempts);
                    tracing::warn!(
                        app, workflow = %claim.run(), attempt = attempts,
                        "an attempt failed: {reason}; the next one begins in {wait:?}"
                    );
                    tokio::select! {
                        () = self.clock.sleep(wait) => {}
                        () = self.stopped() => return driven.interrupted(),
                    }
                }
            }
        }
    }

    /// True when the run's start is written, which it is now at the latest. Otherwise whoever waits for it is told why, and
    /// the run is not this task's.
    async fn is_started(&self, start: Option<&Withholding>) -> bool {
        match start {
            Some(start) => start.0.write().await == Fate::Landed(Landed::Written),
            None => true,
        }
    }

    async fn wait_for(&self, wait: WaitFor) {
        match wait {
            WaitFor::Until(wake) => self.clock.sleep_until(wake).await,
            WaitFor::Outcome(run) => {
                self.outcome_of(&run).await;
            }
        }
    }

    fn lost(&self, claim: &Claim) {
        tracing::info!(workflow = %claim.run(), "this host does not own the workflow any more");
    }

    /// Writes the outcome, together with what is open behind it. When somebody else has ended or taken the run, what is
    /// recorded stands.
    async fn finish(
        &self,
        claim: &Claim,
        outcome: FinalOutcome,
        mut unsettled: Unsettled,
    ) -> Result<Outcome, AttemptEnd> {
        failpoint::hit("finish.before_append").await;
        if unsettled.finish(&outcome).await.map_err(interrupted)? {
            unsettled.settle().await.map_err(interrupted)?;
            return Ok(told(outcome));
        }
        let entry = Entry::Finish(Box::new(Finish { claim: claim.clone(), outcome: outcome.clone() }));
        let landed = match self.journal.append_behind(entry, unsettled.tickets()).await {
            Ok(ticket) => ticket.durable().await,
            Err(closed) => Err(closed),
        };
        // The fates of the records are known by now, as the outcome's is.
        let settled = unsettled.settle().await;
        match landed {
            Ok(Landed::Written) => {
                tracing::debug!(workflow = %claim.run(), "the workflow has ended");
                Ok(told(outcome))
            }
            // The outcome itself cannot be stored. The run cannot end as its code says, and must end somehow.
            Ok(Landed::Refused(failure)) => {
                settled.map_err(interrupted)?;
                match outcome {
                    // Nor can the reason for that be stored: it would be refused for ever, as fast as the database answers.
                    FinalOutcome::Error(told) if told.code == failure.code => Err(AttemptEnd::Failed(failure.message)),
                    _ => Err(AttemptEnd::of(FinalOutcome::Error(failure))),
                }
            }
            Ok(Landed::Exists) => Err(settled.map_or_else(interrupted, |()| AttemptEnd::Reload)),
            // Those who wait read the row: an outcome whose answer was lost is there, as is one that others wrote.
            Ok(Landed::NotOwner) => Err(AttemptEnd::Lost),
            Err(_closed) => Err(AttemptEnd::ShuttingDown),
        }
    }

    /// Counts an attempt and loads what the instance needs. `None`: the run is not this host's any more.
    async fn prepare(&self, claim: &Claim) -> Option<Prepared> {
        self.lease.held().await;
        failpoint::hit("attempt.before_count").await;
        let counted = until_answered("count an attempt", || self.database.count_attempt(claim)).await?;
        failpoint::hit("attempt.after_count").await;
        let records = until_answered("load a workflow", || self.database.load_history(claim.run())).await;
        Some(Prepared::replay(counted, records))
    }
}

/// The outcome as those who wait are told.
fn told(outcome: FinalOutcome) -> Outcome {
    match outcome {
        FinalOutcome::Success(json) => Outcome::Success(json),
        FinalOutcome::Error(failure) => Outcome::Failed(Status::Error, failure),
        FinalOutcome::DeadLetter(failure) => Outcome::Failed(Status::MaxRecoveryAttemptsExceeded, failure),
    }
}

/// The failure of a run that is given up after too many attempts.
pub(super) fn too_many_attempts(max: u32) -> Failure {
    let text =
        format!("the workflow made no progress in {max} attempts\n  hint: find the cause in the log, then resume it");
    Failure::new("MaxRecoveryAttemptsExceeded", Code("max_recovery_attempts_exceeded"), text)
}

//! The life of a run in this process: from the claim to the end, the loss, or a long wait.
//!
//! A task drives it while there is something to do, with a step for each reason why an instance ends, all in one `match`. A
//! run that waits long has no task: it is parked (`wake`), and another task takes it up when it is due.

use std::sync::Arc;

use tokio::sync::watch;

use super::Executor;
use super::attempt::{AttemptEnd, Prepared, interrupted};
use super::backlog::Waiting;
use super::registry::{Driven, News};
use super::wake::{PlaceInQueue, after};
use crate::calls::{Unsettled, WaitFor, Withholding};
use crate::database::{Claim, Entry, FinalOutcome, Finish, Landed, Load, NewRun, Outcome, TakenRun, until_answered};
use crate::failpoint;
use crate::workflow::{AttemptBackoff, Code, EpochMs, Failure, Reason, Signal, Status};

/// What the next attempt begins with.
pub(super) enum Next {
    /// The first instance of a run that this process has just started: its attempt is counted with the start.
    Fresh(Box<Prepared>, Waiting),
    /// Any other: count the attempt, load the history. One that was parked gives up its place among the due when it has a
    /// slot.
    Load(Option<PlaceInQueue>),
}

/// Why a run is not driven any more.
enum Leaves {
    /// It has ended, is lost, or its host stops; everything is said.
    ForGood,
    /// It waits.
    Waits(Driven, WaitFor),
    /// It could not be taken up, for this reason.
    Blocked(Driven, String),
}

/// Why there is nothing to make an instance from.
enum NotPrepared {
    /// The claim is one of an earlier incarnation.
    Lost,
    /// The row says that the claim is over.
    NotOwner,
    /// It may work in a while.
    Blocked(String),
    /// The host stops.
    ShuttingDown,
}

impl Executor {
    /// Drives a run that this process has started. Returns what is heard of it, if it is to be driven. Without a place to
    /// wait in with its arguments, it waits as one that was taken over: with nothing but its claim.
    pub(super) fn drive_new(
        &self,
        new: &NewRun,
        start: Option<Withholding>,
        waiting: Option<Waiting>,
    ) -> Option<watch::Receiver<News>> {
        // A claim of an earlier incarnation must not displace the one that the run may have by now.
        if !new.claim().is_of(&self.identity().incarnation) {
            self.runs.doubt();
            return None;
        }
        let Some(waiting) = waiting else {
            self.drive_taken(&TakenRun { claim: new.claim().clone(), attempts: 1, sleeps_until: None });
            return self.runs.follow(new.claim().run());
        };
        let driven = match start {
            Some(_) => self.runs.enter_unproven(new.claim())?,
            None => self.runs.enter(new.claim())?,
        };
        let news = self.runs.follow(new.claim().run());
        self.drive(driven, Next::Fresh(Box::new(Prepared::fresh(new)), waiting), start);
        news
    }

    /// Drives a run until it has ended or has nothing to do.
    pub(super) fn drive(&self, driven: Driven, next: Next, start: Option<Withholding>) {
        let (executor, displaced) = (self.this(), driven.displaced());
        tokio::spawn(async move {
            let leaves = tokio::select! {
                biased;
                () = displaced => Leaves::ForGood,
                leaves = executor.live(driven, next, start) => leaves,
            };
            // Behind the select: what listened for the run being displaced is gone, and need not be kept while it is parked.
            match leaves {
                Leaves::ForGood => {}
                Leaves::Waits(driven, wait) => executor.park(driven, wait),
                Leaves::Blocked(driven, reason) => executor.park_blocked(driven, &reason),
            }
        });
    }

    async fn live(&self, mut driven: Driven, mut next: Next, start: Option<Withholding>) -> Leaves {
        let claim = driven.claim().clone();
        if matches!(next, Next::Fresh(..)) {
            driven.counted(true);
        }
        loop {
            let is_fresh = matches!(next, Next::Fresh(..));
            let slot = tokio::select! {
                biased;
                () = self.stopped() => return stopped(driven),
                slot = self.workflow_slot(&claim, is_fresh) => slot,
            };
            let mut prepared = match std::mem::replace(&mut next, Next::Load(None)) {
                Next::Fresh(prepared, _waited) => *prepared,
                Next::Load(place) => {
                    drop(place);
                    match self.prepare(&claim).await {
                        Ok(prepared) => prepared,
                        Err(NotPrepared::Lost) => return self.lost(&claim),
                        Err(NotPrepared::NotOwner) => {
                            driven.gone();
                            return self.lost(&claim);
                        }
                        Err(NotPrepared::Blocked(reason)) => return Leaves::Blocked(driven, reason),
                        Err(NotPrepared::ShuttingDown) => return stopped(driven),
                    }
                }
            };
            driven.unblocked();
            driven.counted(true);
            prepared.start = start.as_ref().map(|start| Arc::clone(&start.0)).filter(|start| !start.is_written());
            let (attempts, app) = (prepared.attempts, prepared.app_name());
            let end = self.attempt(&claim, prepared).await;
            // The instance is gone; so is its slot, before any waiting.
            drop(slot);
            match self.end(&claim, end, start.as_ref()).await {
                Ok(outcome) => {
                    driven.ended(outcome);
                    return Leaves::ForGood;
                }
                Err(AttemptEnd::Finished(..)) => unreachable!("every outcome is written, or is another end by now"),
                Err(AttemptEnd::Continues(next, is_idle)) => match self.continue_as_new(&next, is_idle).await {
                    true => driven.counted(false),
                    false => return self.lost(&claim),
                },
                Err(AttemptEnd::Reload) => {}
                Err(AttemptEnd::Undone) => {
                    let claims = std::slice::from_ref(&claim);
                    until_answered("give an attempt back", || self.database.give_back_attempts(claims)).await;
                    driven.counted(false);
                }
                Err(AttemptEnd::Lost) => return self.lost(&claim),
                Err(AttemptEnd::ShuttingDown) => return stopped(driven),
                Err(AttemptEnd::Waits(wait)) => {
                    if self.give_back.waits(&claim, attempts) {
                        driven.counted(false);
                    }
                    return Leaves::Waits(driven, wait);
                }
                Err(AttemptEnd::Failed(reason)) => {
                    let wait = AttemptBackoff::after_failures(attempts);
                    tracing::warn!(
                        app, workflow = %claim.run(), attempt = attempts,
                        "an attempt failed: {reason}; the next one begins in {wait:?}"
                    );
                    return backs_off(driven, attempts, after(self.clock.now(), wait));
                }
            }
        }
    }

    /// Writes the outcome, if an attempt ended with one.
    ///
    /// # Errors
    /// What the attempt has come to if the run has no outcome yet. Its start is written then.
    async fn end(
        &self,
        claim: &Claim,
        mut end: AttemptEnd,
        start: Option<&Withholding>,
    ) -> Result<Outcome, AttemptEnd> {
        while let AttemptEnd::Finished(outcome, unsettled) = end {
            // The outcome comes behind a start that the journal has, or in one commit with it.
            let has_start = unsettled.carries_start() || start.is_some_and(|start| start.0.ticket().is_some());
            if !has_start && !self.is_started(start).await {
                return Err(AttemptEnd::Lost);
            }
            end = match self.finish(claim, outcome, unsettled).await {
                Ok(outcome) => {
                    if matches!(outcome, Outcome::Failed(Status::Error, _)) {
                        self.must_undo();
                    }
                    return Ok(outcome);
                }
                Err(end) => end,
            };
        }
        Err(if self.is_started(start).await { end } else { AttemptEnd::Lost })
    }

    /// True when the run's start is written, which it is now at the latest. Otherwise whoever waits for it is told why, and
    /// the run is not this task's.
    async fn is_started(&self, start: Option<&Withholding>) -> bool {
        match start {
            Some(start) => start.0.write().await.is_written(),
            None => true,
        }
    }

    fn lost(&self, claim: &Claim) -> Leaves {
        tracing::info!(workflow = %claim.run(), "this host does not own the workflow any more");
        Leaves::ForGood
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
            // The transaction has written it, and not the journal.
            self.runs.raise(&Signal::Ended(claim.run().clone()));
            return Ok(told(outcome));
        }
        let entry = Entry::Finish(Box::new(Finish { claim: claim.clone(), outcome: outcome.clone() }));
        let landed = match self.journal.append_behind(entry, unsettled.last()).await {
            Ok(ticket) => ticket.durable().await,
            Err(closed) => Err(closed),
        };
        // The fates of the records are known by now, as the outcome's is.
        let settled = unsettled.settle().await;
        match landed {
            Ok(Landed::Written) => {
                settled.map_err(interrupted)?;
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
            Ok(Landed::Nobody | Landed::Received(_)) => unreachable!("an outcome is no message"),
            Err(_closed) => Err(AttemptEnd::ShuttingDown),
        }
    }

    /// Counts an attempt and loads what the instance needs.
    async fn prepare(&self, claim: &Claim) -> Result<Prepared, NotPrepared> {
        let _waits = self.runs.waits(claim, Reason::Database);
        self.lease.held().await;
        // It is claimed anew by now, or about to be. An attempt that is counted under a claim that may begin nothing would be
        // one that nobody gives back.
        if !claim.is_of(&self.identity().incarnation) {
            return Err(NotPrepared::Lost);
        }
        failpoint::hit("attempt.before_count").await;
        match self.loader.load(claim).await {
            Ok(Load::Ready(loaded)) => Ok(Prepared::replay(*loaded)),
            Ok(Load::NotOwner) => Err(NotPrepared::NotOwner),
            Ok(Load::Locked) => Err(NotPrepared::Blocked("somebody else has locked its row".into())),
            Ok(Load::Failed(error)) => Err(NotPrepared::Blocked(error.to_string())),
            Err(_closed) => Err(NotPrepared::ShuttingDown),
        }
    }
}

/// The next attempt begins then. The one that failed is not given back.
fn backs_off(mut driven: Driven, attempts: u32, until: EpochMs) -> Leaves {
    driven.counted(false);
    driven.because(Reason::Attempt { until, attempts });
    Leaves::Waits(driven, WaitFor::until(until))
}

fn stopped(driven: Driven) -> Leaves {
    driven.interrupted();
    Leaves::ForGood
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

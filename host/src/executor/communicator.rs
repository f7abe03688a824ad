//! Running a communicator: attempts by its retry policy, each in an instance of its own, all of them one record.

use std::time::Duration;

use super::Executor;
use super::attempt::check_result;
use super::wake::after;
use crate::calls::{Commit, CommunicatorCalls, Guest, Interrupt, Phase, StepCall, StepEnd};
use crate::database::NewUndo;
use crate::failpoint;
use crate::sandbox::{GuestEnd, Instance};
use crate::workflow::{Code, Failure, Reason, RecordedResult, RetryPolicy};

/// A guest's text in a line of the host.
const SHORT: usize = 1000;

/// The beginning of a guest's text, which may be as large as a payload.
fn in_short(text: &str) -> String {
    text.char_indices().nth(SHORT).map_or_else(|| text.to_owned(), |(end, _)| format!("{} … (cut)", &text[..end]))
}

impl Executor {
    /// Runs a communicator until it succeeds or its policy is exhausted. Nothing is recorded here: until the journal has
    /// the result, a crash makes it run again.
    pub(super) async fn run_communicator(
        &self,
        call: &StepCall<'_>,
        retry: &RetryPolicy,
        timeout: Duration,
    ) -> Result<StepEnd, Interrupt> {
        let started_at = self.clock.now();
        let mut attempt = 1;
        let result = loop {
            failpoint::hit("communicator.before_attempt").await;
            let failure = match self.communicator_once(call, timeout).await? {
                Ok(json) => break RecordedResult::Output(json),
                Err(failure) => failure,
            };
            failpoint::hit("communicator.after_failure").await;
            let Some(wait) = retry.delay_after(attempt).filter(|_| failure.retryable) else {
                break RecordedResult::Failed(failure);
            };
            // The wait may be long, and what was said is printed before, by the host too.
            if let Some(behind) = call.behind {
                behind.clear().await?;
            }
            tracing::warn!(
                workflow = %call.claim.run(), step = call.name, attempt,
                "a communicator failed: {}; the next attempt begins in {wait:?}", in_short(&failure.message)
            );
            let until = after(self.clock.now(), wait);
            let _waits = self.runs.waits(call.claim, Reason::Retry { step: call.number.get(), until });
            tokio::select! {
                () = self.clock.sleep(wait) => {}
                () = self.stopped() => return Err(Interrupt::ShuttingDown),
            }
            attempt += 1;
            if let Some(undo) = call.undo {
                // Again, because that asks whether the run goes on: what is undone by now is not to be done again.
                let (number, step, arguments) = (call.number, call.name, call.arguments);
                self.register(&NewUndo { claim: call.claim, number, step, undo, arguments }).await?;
            }
        };
        Ok(StepEnd { result, started_at, completed_at: self.clock.now(), commit: Commit::Journal })
    }

    async fn communicator_once(
        &self,
        call: &StepCall<'_>,
        timeout: Duration,
    ) -> Result<Result<String, Failure>, Interrupt> {
        let app = self.apps.get(&call.program.app).ok_or(Interrupt::Lost)?;
        let component = app.component(&call.program.digest, &self.database, &self.sandbox).await;
        let component = component.map_err(|error| {
            tracing::warn!("{error}");
            Interrupt::Reload
        })?;
        let slot = self.step_slot(call.claim).await;
        // Asked behind the wait for a slot: in the meantime the run may have been taken, and the step recorded.
        self.may_begin(call.claim).await?;
        let run = call.claim.run().clone();
        let log = call.log.of_step();
        let behind = call.behind.cloned();
        let calls = CommunicatorCalls { run, step: call.number, keys: 0, trace: call.trace, behind };
        let phase = Phase::Communicator(calls);
        let guest = Guest::acting(phase, log, &app.settings().env, &app.settings().outbound);
        let (name, arguments) = (call.name.to_owned(), call.arguments.to_owned());
        let attempt = async { Instance::new(&component, guest, slot).run_step(name, arguments).await };
        // It has its time once it may act: a slow database is nothing that a step could be blamed for.
        let too_long = async {
            if let Some(behind) = call.behind {
                behind.clear().await?;
            }
            tokio::time::sleep(timeout).await;
            Ok::<_, Interrupt>(())
        };
        let end = tokio::select! {
            biased;
            (_instance, end) = attempt => end,
            lost = too_long => {
                lost?;
                let text = format!("the attempt took longer than its time-out of {timeout:?}");
                return Ok(Err(Failure::new("Timeout", Code("timeout"), text)));
            }
        };
        Ok(match end {
            GuestEnd::Returned(Ok(json)) => check_result(&json).map(|()| json),
            GuestEnd::Returned(Err(failure)) => Err(failure),
            GuestEnd::Panicked(panic) => Err(panic.into_failure()),
            GuestEnd::Limit(limit) => Err(Failure::new("Limit", Code("limit"), limit.to_string())),
            GuestEnd::Broken(text) => Err(Failure::new("Error", Code("broken"), text)),
            GuestEnd::Interrupted(Interrupt::Forbidden(failure)) => {
                // Unless it is an earlier record that is refused: that is for the run.
                if let Some(behind) = call.behind {
                    behind.clear().await?;
                }
                Err(failure)
            }
            GuestEnd::Interrupted(other) => return Err(other),
        })
    }
}

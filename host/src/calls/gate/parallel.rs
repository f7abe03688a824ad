//! Steps that run side by side: started, joined, given up, and the first of several.
//!
//! A started step has the number of its start, and its record is what a call of it would have left; so `start` and `join`
//! take the place of a call in a replay. `join` takes no number: what it returns is the step's own record. A time limit and a
//! `select` are decisions that a replay must make again, so they are records of their own: the deadline, and the winner.
//!
//! The end of a lost time limit is the step's own record too, "timed out": whichever record of the step is written first is
//! its end, for the run and for every replay.

use serde_json::{Value, json};

use super::handles::{Called, Ended};
use super::pair::check_wait;
use super::started::{Shared, StartedCall};
use super::step::CheckedStep;
use super::{Answer, Gate, answer};
use crate::calls::interrupt::{Interrupt, WaitFor};
use crate::calls::listening::Listening;
use crate::calls::unsettled::Behind;
use crate::failpoint;
use crate::workflow::{
    Code, EpochMs, Failure, Operation, OperationDigest, OperationKind, Pair, Reason, Record, RecordedResult, SLEEP,
    Started, StepKind, StepNumber,
};

/// `function_name` of a `select`, as DBOS has it.
const WAIT_FIRST: &str = "DBOS.waitFirst";

/// Steps that one `select` may wait for: they are all in its digest.
const MAX_SELECT: usize = 1_000;

/// A bound that several started steps share.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The guest's number for it.
    pub number: u32,
    /// How many of its steps run at once.
    pub at_once: u32,
}

impl Gate {
    /// Starts a step beside the workflow. When it returns, nothing is durable; the number is the step's for ever.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn start_step(&mut self, name: &str, arguments: &str, group: Option<Group>) -> Answer<u32> {
        let kind = match self.program.manifest.step(name).map(|step| &step.kind) {
            Some(StepKind::Transaction { .. }) => OperationKind::Transaction,
            Some(StepKind::Communicator { .. }) | None => OperationKind::Communicator,
        };
        let checked = self.check_step(kind, name, arguments);
        let checked = checked.and_then(|checked| self.handles.check_room(arguments.len()).map(|()| checked));
        let CheckedStep { arguments, may_write, undo } = match checked {
            Ok(checked) => checked,
            Err(failure) => return Ok(Err(failure)),
        };
        let operation = Operation { kind, name: name.into(), arguments };
        let (number, found) = self.history.take_started(&operation)?;
        self.log.replaying(self.history.is_replaying());
        let (name, arguments) = (operation.name.clone(), operation.arguments.to_string());
        let digest = OperationDigest::of(&operation);
        let called = Called { name: name.clone(), digest, bytes: arguments.len() };
        let handle = number.get().unsigned_abs();
        if let Started::Recorded(Record { result, completed_at, .. }) = found {
            self.handles.insert_ended(number, called, Ended { result, completed_at, place: None });
            return Ok(Ok(handle));
        }
        let (claim, program, trace) = (self.claim.clone(), self.program.clone(), self.inherited.trace);
        let group = group.map(|group| self.handles.group(group.number, group.at_once));
        let was_held = found == Started::Held;
        let call =
            StartedCall { claim, program, number, name, arguments, digest, trace, may_write, undo, group, was_held };
        if was_held {
            self.handles.insert_held(number, called, call);
            return Ok(Ok(handle));
        }
        self.leave()?;
        self.budget.check(number).map_err(Interrupt::Exhausted)?;
        // Nothing is shown ahead of its commit while steps run beside: what they do is behind it, and so must be its commit.
        if self.waits_for_order() {
            self.settle().await?;
        }
        let step = call.run(self.shared());
        self.handles.insert_running(number, called, step);
        failpoint::hit("gate.before_answer").await;
        Ok(Ok(handle))
    }

    /// What a step that begins now shares with the run.
    fn shared(&self) -> Shared {
        let start = self.start.as_ref();
        Shared {
            services: self.services.clone(),
            chain: self.chain.clone(),
            budget: self.budget.clone(),
            log: self.log.clone(),
            at_once: self.handles.at_once.clone(),
            behind: Behind::of((start, &self.chain), &self.claim, &self.services, &self.log),
        }
    }

    /// The guest comes to what no record answers: held steps begin.
    ///
    /// # Errors
    /// A divergence, when a record is left.
    pub(super) fn leave(&mut self) -> Result<(), Interrupt> {
        self.history.leave()?;
        if self.handles.are_held() {
            let shared = self.shared();
            self.handles.release(|call| call.run(shared.clone()));
        }
        Ok(())
    }

    /// Waits for the end of a started step, and returns its result.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn join(&mut self, handle: u32) -> Answer<String> {
        let step = match self.handles.find(handle) {
            Ok(step) => step,
            Err(failure) => return Ok(Err(failure)),
        };
        if self.handles.ended(step).is_none() {
            self.leave()?;
            self.say().await?;
        }
        let waits = self.handles.ended(step).is_none().then(|| self.waits(Reason::steps([step])));
        while self.handles.ended(step).is_none() {
            self.handles.next().await?;
        }
        drop(waits);
        self.deliver(step).await
    }

    /// As [`Self::join`]; a step that has not ended by then is cancelled, and its record says so.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn join_within(&mut self, handle: u32, milliseconds: u64) -> Answer<String> {
        let found = self.handles.find(handle).and_then(|step| check_wait(milliseconds).map(|()| step));
        let step = match found {
            Ok(step) => step,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "timeout": milliseconds, "of": handle });
        let operation = Operation { kind: OperationKind::Sleep, name: SLEEP.into(), arguments };
        let (number, found) = self.history_only(&operation)?;
        let deadline = match found {
            Some(record) => record.wake_time(),
            None => self.record_deadline(number, Some(OperationDigest::of(&operation)), milliseconds).await?,
        };
        if self.handles.ended(step).is_none() {
            self.history.leave()?;
            if self.services.clock().now() >= deadline {
                // Its time is over: it is not to begin again.
                self.cancel_step(step, timed_out(milliseconds), deadline).await?;
            }
            self.leave()?;
            failpoint::hit("pair.before_wait").await;
        }
        let services = self.services.clone();
        let waits = self.handles.ended(step).is_none().then(|| self.waits(Reason::steps([step])));
        let mut over = std::pin::pin!(services.clock().sleep_until(deadline));
        while self.handles.ended(step).is_none() {
            tokio::select! {
                biased;
                ended = self.handles.next() => ended?,
                () = &mut over => self.cancel_step(step, timed_out(milliseconds), deadline).await?,
            }
        }
        drop(waits);
        self.deliver(step).await
    }

    /// Gives up a started step that has not ended. Nothing more is done for it when this returns; what it has done outside
    /// stays done.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn cancel_started(&mut self, handle: u32) -> Answer<()> {
        let step = match self.handles.find(handle) {
            Ok(step) => step,
            Err(failure) => return Ok(Err(failure)),
        };
        self.cancel_now(step).await?;
        Ok(Ok(()))
    }

    /// Cancels a step that has not ended, and gives up its handle.
    async fn cancel_now(&mut self, step: StepNumber) -> Result<(), Interrupt> {
        if self.handles.ended(step).is_none() {
            self.history.leave()?;
            let now = self.services.clock().now();
            let failure = Failure::new("Cancelled", Code("step_cancelled"), "the step was cancelled");
            self.cancel_step(step, failure.not_retryable(), now).await?;
            self.leave()?;
        }
        self.handles.take(step);
        Ok(())
    }

    /// Gives a step up, and records that. It may have ended before; a commit of it that is on its way may come first too, and
    /// then the record meets it there.
    async fn cancel_step(&mut self, step: StepNumber, failure: Failure, at: EpochMs) -> Result<(), Interrupt> {
        self.handles.abort(step).await?;
        if self.handles.ended(step).is_some() {
            return Ok(());
        }
        failpoint::hit("parallel.before_cancelled").await;
        let Some(Called { name, digest, .. }) = self.handles.called(step).cloned() else { return Ok(()) };
        let mut record = self.new_record(step, (&name, digest), RecordedResult::Failed(failure));
        (record.started_at, record.completed_at) = (at, at);
        self.budget.recorded(&record.result);
        let result = record.result.clone();
        self.chain.not_full().await?;
        let place = self.chain.append(self.services.journal(), record).await?;
        // That it is cancelled is not told before it is: a commit of the step may come first.
        self.log.hold(place);
        self.handles.end(step, Ended { result, completed_at: at, place: Some(place) });
        Ok(())
    }

    /// Waits until one of these has ended, and returns its place in the list; `None` when the time was over first.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn select(&mut self, of: &[u32], milliseconds: Option<u64>, cancel_others: bool) -> Answer<Option<u32>> {
        let steps = match self.check_select(of, milliseconds) {
            Ok(steps) => steps,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "of": of, "milliseconds": milliseconds, "cancel": cancel_others });
        let operation = Operation { kind: OperationKind::Select, name: WAIT_FIRST.into(), arguments };
        let (number, found, deadline) = self.take_select(&operation, milliseconds).await?;
        let winner = match found {
            Some(record) => {
                self.time.deliver(record.completed_at);
                match recorded_winner(&record.result, &steps) {
                    Ok(winner) => winner,
                    Err(failure) => return Ok(Err(failure)),
                }
            }
            None => self.decide(&steps, (number, &operation), deadline).await?,
        };
        if cancel_others {
            let first = winner.and_then(|place| steps.get(place));
            for step in steps.iter().filter(|step| Some(*step) != first) {
                self.cancel_now(*step).await?;
            }
        }
        failpoint::hit("gate.before_answer").await;
        Ok(Ok(winner.and_then(|place| u32::try_from(place).ok())))
    }

    fn check_select(&self, of: &[u32], milliseconds: Option<u64>) -> Result<Vec<StepNumber>, Failure> {
        if of.is_empty() || of.len() > MAX_SELECT {
            let text = format!("`select` waits for 1 to {MAX_SELECT} steps, not for {}", of.len());
            return Err(Failure::new("Error", Code("bad_select"), text).not_retryable());
        }
        check_wait(milliseconds.unwrap_or(0))?;
        of.iter().map(|handle| self.handles.find(*handle)).collect()
    }

    /// The number of a `select`, its record, and until when it goes on if it has none.
    async fn take_select(
        &mut self,
        operation: &Operation,
        milliseconds: Option<u64>,
    ) -> Result<(StepNumber, Option<Record>, Option<EpochMs>), Interrupt> {
        let Some(milliseconds) = milliseconds else {
            let (number, found) = self.history_only(operation)?;
            return Ok((number, found, None));
        };
        let (number, second, pair) = self.take_wait(operation)?;
        match pair {
            Pair::Answered(record) => Ok((number, Some(record), None)),
            Pair::Waiting { deadline } => Ok((number, None, Some(deadline))),
            Pair::New => Ok((number, None, Some(self.record_deadline(second, None, milliseconds).await?))),
        }
    }

    /// Waits for the first of these steps, and records it.
    async fn decide(
        &mut self,
        steps: &[StepNumber],
        (number, operation): (StepNumber, &Operation),
        deadline: Option<EpochMs>,
    ) -> Result<Option<usize>, Interrupt> {
        self.leave()?;
        self.say().await?;
        let services = self.services.clone();
        let started_at = services.clock().now();
        let mut over = std::pin::pin!(async {
            match deadline {
                Some(deadline) => services.clock().sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        });
        if deadline.is_some() {
            failpoint::hit("pair.before_wait").await;
        }
        let waits = self.waits(Reason::steps(steps.iter().copied()));
        let winner = loop {
            let ended = steps.iter().enumerate().filter_map(|(place, step)| Some((place, self.handles.ended(*step)?)));
            // Of several, the first by the clock; so it is the same one whenever this is asked again.
            if let Some((place, _)) = ended.min_by_key(|(place, ended)| (ended.completed_at, *place)) {
                break Some(place);
            }
            tokio::select! {
                biased;
                ended = self.handles.next() => ended?,
                () = &mut over => break None,
            }
        };
        drop(waits);
        let result = match winner {
            Some(place) => RecordedResult::Output(steps[place].to_string()),
            None => RecordedResult::Nothing,
        };
        let mut record = self.record_of(number, operation, result);
        record.started_at = started_at;
        if winner.is_none() {
            record.completed_at = deadline.unwrap_or(record.completed_at);
        }
        let completed_at = record.completed_at;
        self.record(record).await?;
        self.time.deliver(completed_at);
        Ok(winner)
    }

    /// Records until when a wait goes on; it is durable when this returns, for a crash must not start the wait anew.
    async fn record_deadline(
        &mut self,
        number: StepNumber,
        digest: Option<OperationDigest>,
        milliseconds: u64,
    ) -> Result<EpochMs, Interrupt> {
        self.before_step().await?;
        let deadline = self.services.clock().now().after_ms(milliseconds);
        self.append_deadline(number, digest, deadline).await?;
        self.settle_beside().await?;
        Ok(deadline)
    }

    /// Hands a step's result to the guest, and gives up its handle.
    async fn deliver(&mut self, step: StepNumber) -> Answer<String> {
        let ended = self.handles.take(step).expect("it was waited for the end of the step");
        self.time.deliver(ended.completed_at);
        if let Some(place) = ended.place
            && !self.chain.forget_written()
        {
            self.log.hold(place);
        }
        failpoint::hit("gate.before_answer").await;
        Ok(answer(ended.result))
    }

    /// A wait begins that may be long: what was said is printed, when it may be. Nothing is asked of the disk that it would
    /// not do anyway.
    async fn say(&mut self) -> Result<(), Interrupt> {
        if self.log.is_held_back() {
            self.settle_beside().await?;
        }
        Ok(())
    }

    /// As [`Self::settle`]; of steps that end meanwhile it is heard.
    pub(super) async fn settle_beside(&mut self) -> Result<(), Interrupt> {
        let unsettled = self.unsettled();
        let _waits = unsettled.is_open().then(|| self.waits(Reason::Database));
        self.handles.beside(unsettled.settle()).await?;
        self.chain.forget_written();
        Ok(())
    }

    /// As [`Services::wait`](crate::calls::Services::wait); with steps that run beside the workflow, the instance is kept: they
    /// would have to begin anew.
    pub(super) async fn wait(&mut self, wait: WaitFor, listening: &Listening) -> Result<(), Interrupt> {
        let services = self.services.clone();
        let waits = wait.reason().map(|reason| self.waits(reason));
        if self.handles.while_running(services.wait_here(&wait, listening)).await?.is_some() {
            return Ok(());
        }
        drop(waits);
        // A step may have ended in the meantime: what it has recorded must be found by whoever loads the run next.
        self.settle().await?;
        services.wait(wait, listening).await
    }

    /// Waits for the end of every started step: the outcome of the run comes behind them.
    ///
    /// # Errors
    /// When the instance must be given up.
    pub async fn end_started(&mut self) -> Result<(), Interrupt> {
        self.leave()?;
        let mut exhausted = Ok(());
        let _waits = self.handles.are_running().then(|| self.waits(Reason::steps(self.handles.running())));
        while self.handles.are_running() {
            match self.handles.next().await {
                // That a step may not begin any more keeps no other from coming to its end.
                Err(interrupt @ Interrupt::Exhausted(_)) => exhausted = exhausted.and(Err(interrupt)),
                ended => ended?,
            }
        }
        exhausted
    }

    /// The host stops: what has begun comes to its end and is recorded, as a step that is called does; nothing else begins.
    pub async fn stop_started(&mut self) {
        while self.handles.are_running() {
            if let Err(interrupt) = self.handles.next().await {
                tracing::debug!("a started step is given up: {interrupt}");
            }
        }
    }
}

fn timed_out(milliseconds: u64) -> Failure {
    let text = format!("the step had not ended after {milliseconds} ms and was cancelled");
    Failure::new("Timeout", Code("step_timed_out"), text).not_retryable()
}

/// Which of the steps the record of a `select` names.
fn recorded_winner(result: &RecordedResult, steps: &[StepNumber]) -> Result<Option<usize>, Failure> {
    let json = match result {
        RecordedResult::Nothing => return Ok(None),
        RecordedResult::Output(json) => json,
        RecordedResult::Failed(failure) => return Err(failure.clone()),
    };
    let number = serde_json::from_str::<Value>(json).ok().and_then(|value| value.as_i64());
    let place = steps.iter().position(|step| Some(i64::from(step.get())) == number);
    place.map(Some).ok_or_else(|| {
        let text = format!("the record says that `{json}` came first, which is not in the list");
        Failure::new("Error", Code("bad_select"), text).not_retryable()
    })
}

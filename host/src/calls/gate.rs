//! The gate: the one way by which a workflow's calls become recorded operations.
//!
//! Each call takes the next number. If a record with that number exists, name, kind and arguments must match and the
//! record is the answer; if not, the operation runs and its record goes to the journal. There is no recovery mode: a
//! recovered run is the same code with a longer history.
//!
//! What must hold is "act, not see": the guest may compute with a result whose record is still on its way to disk, and so
//! may the steps that it calls; but nothing leaves an instance, no line is printed and no outcome is written before the
//! records behind it are durable. So the gate holds the run's open tickets. A transaction that may write, a child and the
//! end of a sleep wait for them; a communicator begins, and its first request waits for them ([`Behind`]). Each entry goes
//! to the journal behind the one that it was made from, so that none is written without it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::ahead::Ahead;
use super::arguments::{bad_arguments, check_workflow, parse_arguments};
use super::interrupt::{Interrupt, WaitFor};
use super::listening::Listening;
use super::log::GuestLog;
use super::open::Open;
use super::services::{Commit, Program, Services, StepCall};
use super::unsettled::{Behind, Unsettled, check};
use super::withheld::Withheld;
use crate::database::{Claim, Entry, Landed, NewRecord, Outcome, WORKFLOW_EXISTS};
use crate::failpoint;
use crate::workflow::{
    Arguments, Budget, Code, EpochMs, Failure, History, Operation, OperationDigest, OperationKind, Record,
    RecordedResult, StepKind, StepNumber, TraceContext, WorkflowId, WorkflowTime,
};

/// The longest sleep: a hundred years. Longer ones are mistakes, and would overflow dates in other tools.
const MAX_SLEEP_MS: u64 = 100 * 366 * 86_400_000;

/// The longest arguments or result, in bytes of JSON text. Larger data belongs into the app's own tables; a history of
/// such records would not fit into memory at a replay.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// What the guest is told, or why it is told nothing.
pub type Answer<T> = Result<Result<T, Failure>, Interrupt>;

/// The gate of one run (lifetime: one instance).
pub struct Gate {
    services: Arc<dyn Services>,
    program: Program,
    claim: Claim,
    history: History,
    budget: Budget,
    time: WorkflowTime,
    log: GuestLog,
    trace: Option<TraceContext>,
    open: Open,
    /// The run's start, if it is not written yet.
    start: Option<Arc<Withheld>>,
    /// A transaction whose result the guest has seen, and which is not committed yet.
    ahead: Option<Ahead>,
    /// The first step was a transaction that may write.
    began_with_transaction: bool,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("claim", &self.claim)
            .field("next", &self.history.next_step())
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate with the guest before its first call.
    #[must_use]
    pub fn new(
        services: Arc<dyn Services>,
        program: Program,
        claim: Claim,
        (history, budget): (History, Budget),
        time: WorkflowTime,
        log: GuestLog,
        (trace, start): (Option<TraceContext>, Option<Arc<Withheld>>),
    ) -> Self {
        log.replaying(history.is_replaying());
        if start.is_some() {
            log.hold();
        }
        Self {
            services,
            program,
            claim,
            history,
            budget,
            time,
            log,
            trace,
            open: Open::default(),
            start,
            ahead: None,
            began_with_transaction: false,
        }
    }

    /// The run.
    #[must_use]
    pub fn run(&self) -> &WorkflowId {
        self.claim.run()
    }

    /// How many records the run has, those of this instance included.
    #[must_use]
    pub fn steps_taken(&self) -> i32 {
        self.history.next_step().get() - 1
    }

    /// The guest has returned, and no record was left unasked for. What is open still must be settled with the outcome:
    /// the last record and the outcome share a commit.
    ///
    /// # Errors
    /// When the instance must be given up after all.
    pub fn finish(&mut self) -> Result<Unsettled, Interrupt> {
        self.history.finish()?;
        Ok(self.unsettled())
    }

    /// True if this instance has run one transaction that may write, and the run has no other step.
    #[must_use]
    pub fn is_one_transaction(&self) -> bool {
        self.began_with_transaction && self.steps_taken() == 1
    }

    fn unsettled(&mut self) -> Unsettled {
        Unsettled {
            start: self.start.take(),
            records: self.open.take(),
            ahead: self.ahead.take(),
            log: Some(self.log.clone()),
        }
    }

    /// Takes the next number for `operation`.
    fn take(&mut self, operation: &Operation) -> Result<(StepNumber, Option<Record>), Interrupt> {
        let (number, found) = self.history_only(operation)?;
        if let Some(record) = &found {
            self.time.deliver(record.completed_at);
        }
        Ok((number, found))
    }

    /// Waits until every record that the guest has seen is durable.
    ///
    /// # Errors
    /// When the instance must be given up.
    pub async fn settle(&mut self) -> Result<(), Interrupt> {
        self.unsettled().settle().await
    }

    /// Everything that must be true before an effect begins.
    async fn before_effect(&mut self) -> Result<(), Interrupt> {
        self.settle().await?;
        self.may_act().await
    }

    /// The same for a transaction, which carries a start that is not written yet. It must be the first to do so: one that
    /// waits for its commit carries the start already, and has to be committed before anything else begins.
    async fn before_transaction(&mut self) -> Result<(), Interrupt> {
        match self.start.take() {
            Some(start) if self.ahead.is_none() && start.carry() => {
                // Nothing else can be open: whatever else takes a number settles the start first.
                self.start = Some(start);
                self.may_act().await
            }
            start => {
                self.start = start;
                self.before_effect().await
            }
        }
    }

    /// The same for what does nothing by itself that anybody could see: it begins while records are on their way to disk, and
    /// what it comes to is written behind them.
    async fn before_step(&mut self) -> Result<(), Interrupt> {
        let waits_for_order = self.ahead.is_some() || self.start.as_ref().is_some_and(|start| start.ticket().is_none());
        let is_durable = self.open.forget_written() && self.start.as_ref().is_none_or(|start| start.is_written());
        // When everything is durable by now, this waits for nothing and prints what was said.
        if waits_for_order || is_durable || self.open.is_full() {
            self.settle().await?;
        }
        self.may_act().await
    }

    async fn may_act(&self) -> Result<(), Interrupt> {
        self.services.may_act(&self.claim).await?;
        failpoint::hit("gate.before_effect").await;
        Ok(())
    }

    /// Sends a record on its way; it is settled before anything leaves the instance.
    async fn record(&mut self, record: NewRecord) -> Result<(), Interrupt> {
        self.budget.recorded(&record.result);
        let bytes = record.result.payload_bytes();
        let entry = Entry::Record(Box::new(record));
        let last = self.open.last().or_else(|| self.start.as_ref()?.ticket());
        let ticket = self.services.journal().append_behind(entry, last).await;
        self.open.push(ticket.map_err(|_| Interrupt::ShuttingDown)?, bytes);
        self.log.hold();
        Ok(())
    }

    fn new_record(
        &self,
        number: StepNumber,
        (name, digest): (&str, OperationDigest),
        result: RecordedResult,
    ) -> NewRecord {
        let now = self.services.clock().now();
        NewRecord {
            claim: self.claim.clone(),
            app: self.program.app.clone(),
            step: number,
            name: name.into(),
            digest,
            result,
            child: None,
            started_at: now,
            completed_at: now,
        }
    }

    /// A transaction or a communicator.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn step(&mut self, kind: OperationKind, name: &str, arguments: &str) -> Answer<String> {
        if let Some(record) = self.history.recall(kind, name, arguments) {
            self.time.deliver(record.completed_at);
            self.log.replaying(self.history.is_replaying());
            return Ok(answer(record.result));
        }
        let (arguments, may_write) = match self.check_step(kind, name, arguments) {
            Ok(checked) => checked,
            Err(failure) => return Ok(Err(failure)),
        };
        let operation = Operation { kind, name: name.into(), arguments };
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(answer(record.result));
        }
        if may_write {
            self.began_with_transaction |= number == StepNumber::FIRST;
            self.before_transaction().await?;
        } else {
            self.before_step().await?;
        }
        let digest = OperationDigest::of(&operation);
        let arguments = operation.arguments.to_string();
        let (claim, program, trace, log) = (&self.claim, &self.program, self.trace, &self.log);
        let start = self.start.as_ref();
        let behind = Behind::of((start, self.open.tickets()), claim, &self.services, log);
        let behind = behind.as_ref();
        let call = StepCall { claim, program, number, name, arguments: &arguments, digest, trace, start, behind, log };
        let end = self.services.run_step(call).await?;
        failpoint::hit("gate.after_effect").await;
        match end.commit {
            Commit::Done => {
                self.budget.recorded(&end.result);
                self.settle().await?;
            }
            Commit::Ahead(ahead) => {
                self.budget.recorded(&end.result);
                self.ahead = Some(ahead);
                self.log.hold();
            }
            Commit::Journal => {
                if may_write {
                    // The transaction has carried nothing: it was rolled back.
                    self.settle().await?;
                }
                let mut record = self.new_record(number, (&operation.name, digest), end.result.clone());
                (record.started_at, record.completed_at) = (end.started_at, end.completed_at);
                self.record(record).await?;
            }
        }
        self.time.deliver(end.completed_at);
        failpoint::hit("gate.before_answer").await;
        Ok(answer(end.result))
    }

    /// The component is pinned, so what is refused here is refused in each replay, and takes no number. Returns the
    /// arguments, and whether the step is a transaction that may write.
    fn check_step(&self, kind: OperationKind, name: &str, arguments: &str) -> Result<(Value, bool), Failure> {
        let entry = self.program.manifest.step(name).filter(|step| match step.kind {
            StepKind::Transaction { .. } => kind == OperationKind::Transaction,
            StepKind::Communicator { .. } => kind == OperationKind::Communicator,
        });
        let Some(entry) = entry else {
            let text = format!("the app has no {} `{name}`", kind.as_str());
            return Err(Failure::new("Error", Code("unknown_step"), text).not_retryable());
        };
        let arguments = parse_arguments(arguments)?;
        arguments.check_names(&entry.parameters).map_err(bad_arguments)?;
        let may_write = matches!(entry.kind, StepKind::Transaction { read_only: false, .. });
        Ok((Value::Object(arguments.0), may_write))
    }

    /// A durable sleep. When it returns, the clock has passed the recorded wake time.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long sleep.
    pub async fn sleep(&mut self, milliseconds: u64) -> Answer<()> {
        if milliseconds > MAX_SLEEP_MS {
            let text = format!("a sleep of {milliseconds} ms is longer than the limit of {MAX_SLEEP_MS} ms");
            return Ok(Err(Failure::new("Error", Code("sleep_too_long"), text)));
        }
        let arguments = json!({ "milliseconds": milliseconds });
        let operation = Operation { kind: OperationKind::Sleep, name: "DBOS.sleep".into(), arguments };
        let (number, found) = self.history_only(&operation)?;
        let wake = match found {
            Some(record) => record.wake_time(),
            None => {
                self.before_step().await?;
                let now = self.services.clock().now();
                let wake = EpochMs(now.0.saturating_add(i64::try_from(milliseconds).unwrap_or(i64::MAX)));
                let output = RecordedResult::Output(wake.to_seconds_json());
                let mut record = self.new_record(number, (&operation.name, OperationDigest::of(&operation)), output);
                record.completed_at = wake;
                self.record(record).await?;
                // The wake time must be durable before the wait begins: a crash must not start the wait anew.
                self.settle().await?;
                wake
            }
        };
        self.services.wait(WaitFor::until(wake), &Listening::to_nothing()).await?;
        self.time.deliver(wake);
        failpoint::hit("gate.before_answer").await;
        Ok(Ok(()))
    }

    /// As [`Self::take`], for an operation whose record is not yet its result: nothing is delivered.
    fn history_only(&mut self, operation: &Operation) -> Result<(StepNumber, Option<Record>), Interrupt> {
        let (number, found) = self.history.take(operation)?;
        if found.is_none() {
            self.budget.check(number).map_err(Interrupt::Exhausted)?;
        }
        self.log.replaying(self.history.is_replaying());
        Ok((number, found))
    }

    /// Starts a child. When it returns an id, the child's row and this run's record of it are durable.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn start(&mut self, name: &str, arguments: &str, id: Option<&str>) -> Answer<WorkflowId> {
        let checked = self.check_start(name, arguments, id);
        let (arguments, chosen) = match checked {
            Ok(checked) => checked,
            Err(failure) => return Ok(Err(failure)),
        };
        let operation = Operation {
            kind: OperationKind::Start,
            name: name.into(),
            arguments: json!({ "id": id, "arguments": arguments.0 }),
        };
        // Before a number is taken: what fails without a record must leave no gap in the numbers.
        let child = match chosen.map_or_else(|| self.run().child(self.history.next_step()), Ok) {
            Ok(child) => child,
            Err(error) => return Ok(Err(Failure::new("Error", Code("invalid_id"), error.to_string()))),
        };
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(record
                .child
                .ok_or_else(|| Failure::new("Error", Code("no_child"), "the record names no child")));
        }
        self.before_effect().await?;
        let mut new = self.services.new_run(&self.program, child.clone(), name, arguments);
        let mut record = self.new_record(
            number,
            (&operation.name, OperationDigest::of(&operation)),
            RecordedResult::Output("null".into()),
        );
        (record.started_at, record.completed_at) = (new.created_at, new.created_at);
        self.budget.recorded(&record.result);
        new.parent = Some(record);
        new.trace = self.trace;
        let created_at = new.created_at;
        match self.services.start_child(new).await {
            // There is a run under the chosen id already: this is the handle of the first one. Any other refusal has
            // written nothing, not even the record.
            Ok(Landed::Refused(failure)) if failure.code == Some(WORKFLOW_EXISTS.as_str().into()) => {}
            other => check(other)?,
        }
        self.time.deliver(created_at);
        failpoint::hit("gate.before_answer").await;
        Ok(Ok(child))
    }

    fn check_start(
        &self,
        name: &str,
        arguments: &str,
        id: Option<&str>,
    ) -> Result<(Arguments, Option<WorkflowId>), Failure> {
        let arguments = check_workflow(&self.program, name, arguments)?;
        let id = id.map(WorkflowId::parse).transpose();
        Ok((arguments, id.map_err(|error| Failure::new("Error", Code("invalid_id"), error.to_string()))?))
    }

    /// Waits for the end of another run; its outcome is recorded as this run's own.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long wait.
    pub async fn outcome(&mut self, id: &str) -> Answer<String> {
        let child = match WorkflowId::parse(id) {
            Ok(child) => child,
            Err(error) => return Ok(Err(Failure::new("Error", Code("invalid_id"), error.to_string()))),
        };
        let operation =
            Operation { kind: OperationKind::Outcome, name: "DBOS.getResult".into(), arguments: json!({ "id": id }) };
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(answer(record.result));
        }
        self.before_effect().await?;
        let started_at = self.services.clock().now();
        let result = match self.services.wait_for_outcome(&child).await? {
            Some(Outcome::Success(output)) => RecordedResult::Output(output),
            Some(Outcome::Failed(_, failure)) => RecordedResult::Failed(failure),
            None => RecordedResult::Failed(no_such_workflow(id)),
        };
        let mut record = self.new_record(number, (&operation.name, OperationDigest::of(&operation)), result.clone());
        record.child = Some(child);
        record.started_at = started_at;
        let completed_at = record.completed_at;
        self.record(record).await?;
        self.time.deliver(completed_at);
        failpoint::hit("gate.before_answer").await;
        Ok(answer(result))
    }
}

fn answer(result: RecordedResult) -> Result<String, Failure> {
    match result {
        RecordedResult::Output(json) => Ok(json),
        RecordedResult::Failed(failure) => Err(failure),
    }
}

pub(super) fn no_such_workflow(id: &str) -> Failure {
    Failure::new("Error", Code("no_such_workflow"), format!("there is no workflow with the id `{id}`"))
}

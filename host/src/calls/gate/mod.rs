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
//! to the journal behind the one that it was made from, so that none is written without it ([`Chain`]).
//!
//! Started steps run beside the workflow, as tasks that own what they need and know of the gate's state only the chain. The
//! gate hears of their ends in its own waits.
//!
//! What each kind of call does between its number and its record is in a file of its own.

mod again;
mod children;
mod events;
mod handles;
mod messages;
mod pair;
mod parallel;
mod patch;
mod promises;
mod runs;
mod sleep;
mod started;
mod step;
mod streams;

pub use children::no_such_workflow;
pub(super) use children::{NewChild, run_of};
pub(super) use events::event_of;
pub(super) use messages::message_to;
pub(super) use pair::optional;
pub(super) use parallel::Group;

use std::collections::HashMap;
use std::sync::Arc;

use self::again::Again;
use self::handles::Handles;
use self::streams::Streams;
use super::ahead::Ahead;
use super::chain::{Chain, Place};
use super::interrupt::Interrupt;
use super::log::GuestLog;
use super::services::{Program, Services};
use super::unsettled::Unsettled;
use super::waits::Waits;
use super::withheld::Withheld;
use crate::database::{Claim, Effect, NewRecord};
use crate::failpoint;
use crate::workflow::{
    Budget, EpochMs, Failure, History, LastTaken, Operation, OperationDigest, PromiseName, Reason, Record,
    RecordedResult, StepNumber, TraceContext, WorkflowId, WorkflowTime,
};

/// The longest arguments or result, in bytes of JSON text. Larger data belongs into the app's own tables; a history of
/// such records would not fit into memory at a replay.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// What the guest is told, or why it is told nothing.
pub type Answer<T> = Result<Result<T, Failure>, Interrupt>;

/// What the children of a run have from it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inherited {
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
    /// When it is cancelled if it has not ended.
    pub deadline: Option<EpochMs>,
}

/// The gate of one run (lifetime: one instance).
pub struct Gate {
    services: Arc<dyn Services>,
    program: Program,
    claim: Claim,
    history: History,
    budget: Budget,
    time: WorkflowTime,
    log: GuestLog,
    inherited: Inherited,
    chain: Chain,
    /// Steps that were started.
    handles: Handles,
    streams: Streams,
    /// The run's start, if it is not written yet.
    start: Option<Arc<Withheld>>,
    /// A transaction whose result the guest has seen, and which is not committed yet.
    ahead: Option<Ahead>,
    /// The first step was a transaction that may write.
    began_with_transaction: bool,
    again: Again,
    /// Numbers that were used up before the history begins.
    numbers_before: i32,
    /// The promises whose settlement the guest has seen.
    settled: HashMap<PromiseName, Result<String, Failure>>,
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
        (inherited, start): (Inherited, Option<Arc<Withheld>>),
    ) -> Self {
        log.replaying(history.is_replaying());
        if start.is_some() {
            log.hold(Place::default());
        }
        let chain = Chain::behind(start.as_ref().and_then(|start| start.ticket()));
        let handles = Handles::new(services.steps_at_once());
        Self {
            services,
            program,
            claim,
            history,
            budget,
            time,
            log,
            inherited,
            chain,
            handles,
            streams: Streams::default(),
            start,
            ahead: None,
            began_with_transaction: false,
            again: Again::default(),
            numbers_before: 0,
            settled: HashMap::new(),
        }
    }

    /// The run.
    #[must_use]
    pub fn run(&self) -> &WorkflowId {
        self.claim.run()
    }

    /// A handle that tells how far the guest has come.
    #[must_use]
    pub fn taken(&self) -> LastTaken {
        self.history.taken()
    }

    /// How many numbers the run has taken since its history begins, in this instance or before.
    #[must_use]
    pub fn steps_taken(&self) -> i32 {
        self.history.next_step().get() - 1 - self.numbers_before
    }

    /// The guest has returned, and no record was left unasked for. Waits for the steps that it has started, joined or not.
    /// What is open still must be settled with the outcome: the last record and the outcome share a commit.
    ///
    /// # Errors
    /// When the instance must be given up after all.
    pub async fn finish(&mut self) -> Result<Unsettled, Interrupt> {
        self.history.finish()?;
        self.end_started().await?;
        Ok(self.unsettled())
    }

    /// True if this instance has run one transaction that may write, and the run has no other step.
    #[must_use]
    pub fn is_one_transaction(&self) -> bool {
        self.began_with_transaction && self.steps_taken() == 1
    }

    fn unsettled(&mut self) -> Unsettled {
        let (records, end) = self.chain.open();
        Unsettled { start: self.start.take(), records, end, ahead: self.ahead.take(), log: Some(self.log.clone()) }
    }

    /// Takes the next number for `operation`.
    fn take(&mut self, operation: &Operation) -> Result<(StepNumber, Option<Record>), Interrupt> {
        let (number, found) = self.history_only(operation)?;
        if let Some(record) = &found {
            self.time.deliver(record.completed_at);
        }
        Ok((number, found))
    }

    /// The run waits for this, until what is returned is dropped.
    fn waits(&self, reason: Reason) -> Waits {
        self.services.waits(&self.claim, reason)
    }

    /// Waits until every record that the guest has seen is durable.
    ///
    /// # Errors
    /// When the instance must be given up.
    pub async fn settle(&mut self) -> Result<(), Interrupt> {
        let unsettled = self.unsettled();
        let _waits = unsettled.is_open().then(|| self.waits(Reason::Database));
        unsettled.settle().await?;
        self.chain.forget_written();
        Ok(())
    }

    /// Everything that must be true before an effect begins.
    async fn before_effect(&mut self) -> Result<(), Interrupt> {
        self.settle().await?;
        self.may_act().await
    }

    /// The same for what does nothing by itself that anybody could see: it begins while records are on their way to disk, and
    /// what it comes to is written behind them.
    async fn before_step(&mut self) -> Result<(), Interrupt> {
        let is_durable = self.chain.forget_written() && self.start.as_ref().is_none_or(|start| start.is_written());
        // When everything is durable by now, this waits for nothing and prints what was said.
        if self.waits_for_order() || is_durable || self.chain.is_full() {
            self.settle().await?;
        }
        self.may_act().await
    }

    /// True while a commit has to be ordered that nothing may come in front of: of a start that is withheld, or of a transaction
    /// whose result was shown.
    fn waits_for_order(&self) -> bool {
        self.ahead.is_some() || self.start.as_ref().is_some_and(|start| start.ticket().is_none())
    }

    async fn may_act(&self) -> Result<(), Interrupt> {
        self.services.may_act(&self.claim).await?;
        failpoint::hit("gate.before_effect").await;
        Ok(())
    }

    /// Sends a record on its way; it is settled before anything leaves the instance.
    async fn record(&mut self, record: NewRecord) -> Result<(), Interrupt> {
        self.budget.recorded(&record.result);
        let place = self.chain.append(self.services.journal(), record).await?;
        self.log.hold(place);
        Ok(())
    }

    /// As [`Self::record`], for the record with which an operation is over: the guest goes on from its end.
    async fn conclude(&mut self, record: NewRecord) -> Result<(), Interrupt> {
        let completed_at = record.completed_at;
        self.record(record).await?;
        self.time.deliver(completed_at);
        failpoint::hit("gate.before_answer").await;
        Ok(())
    }

    /// An operation that has no result is recorded, in one write with its effect if it has one.
    async fn note(&mut self, operation: &Operation, effect: Option<Effect>) -> Result<(), Interrupt> {
        let (number, found) = self.take(operation)?;
        if found.is_none() {
            self.before_step().await?;
            let mut record = self.record_of(number, operation, RecordedResult::Nothing);
            record.effect = effect;
            self.conclude(record).await?;
        }
        Ok(())
    }

    /// The record of an operation that begins and ends now.
    fn record_of(&self, number: StepNumber, operation: &Operation, result: RecordedResult) -> NewRecord {
        self.new_record(number, (&operation.name, OperationDigest::of(operation)), result)
    }

    fn new_record(
        &self,
        number: StepNumber,
        (name, digest): (&str, impl Into<Option<OperationDigest>>),
        result: RecordedResult,
    ) -> NewRecord {
        let now = self.services.clock().now();
        NewRecord {
            claim: self.claim.clone(),
            app: self.program.app.clone(),
            step: number,
            name: name.into(),
            digest: digest.into(),
            result,
            child: None,
            started_at: now,
            completed_at: now,
            effect: None,
        }
    }

    /// As [`Self::take`], for an operation whose record is not yet its result: nothing is delivered.
    fn history_only(&mut self, operation: &Operation) -> Result<(StepNumber, Option<Record>), Interrupt> {
        let (number, found) = self.history.take(operation)?;
        self.log.replaying(self.history.is_replaying());
        if found.is_none() {
            self.leave()?;
            self.budget.check(number).map_err(Interrupt::Exhausted)?;
        }
        Ok((number, found))
    }
}

fn answer(result: RecordedResult) -> Result<String, Failure> {
    match result {
        RecordedResult::Output(json) => Ok(json),
        RecordedResult::Failed(failure) => Err(failure),
        RecordedResult::Nothing => Ok("null".into()),
    }
}

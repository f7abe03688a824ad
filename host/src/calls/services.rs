//! What calls need from the part of the host that runs things. The one trait between the two: a call says what is to be
//! done, and must not know how an instance is made or where its step runs.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::ahead::Ahead;
use super::interrupt::{Interrupt, WaitFor};
use super::listening::Listening;
use super::log::GuestLog;
use super::unsettled::Behind;
use super::waits::Waits;
use super::withheld::Withheld;
use crate::clock::Clock;
use crate::database::{Claim, Journal, JournalClosed, Landed, NewRun, NewSend, NewUndo, Outcome};
use crate::workflow::{
    AppName, Arguments, ComponentDigest, EpochMs, Failure, Key, Manifest, Offset, OperationDigest, PromiseName, Reason,
    RecordedResult, Signal, StepNumber, StreamPage, Terms, TraceContext, WorkflowId,
};

/// The component that an instance is made of, as far as calls need to know (lifetime: the component).
#[derive(Debug, Clone)]
pub struct Program {
    /// Its app.
    pub app: AppName,
    /// Its identity.
    pub digest: ComponentDigest,
    /// What it says about itself.
    pub manifest: Arc<Manifest>,
}

/// A step to be run for a workflow.
#[derive(Debug)]
pub struct StepCall<'a> {
    /// Proof that this host owns the run.
    pub claim: &'a Claim,
    /// Whose step it is.
    pub program: &'a Program,
    /// Its number.
    pub number: StepNumber,
    /// Its name.
    pub name: &'a str,
    /// Its arguments, a JSON object.
    pub arguments: &'a str,
    /// The digest of the call.
    pub digest: OperationDigest,
    /// The trace that the run belongs to.
    pub trace: Option<TraceContext>,
    /// The run's start, if it is not written yet. The transaction carries it, and its result may be shown ahead of the
    /// commit: the run is likely to end with it.
    pub start: Option<&'a Arc<Withheld>>,
    /// What must be durable before anything leaves the step's instance. A transaction that may write has nothing such.
    pub behind: Option<&'a Behind>,
    /// What undoes it.
    pub undo: Option<&'a str>,
    /// The run's log: what the step says comes behind what the workflow has said.
    pub log: &'a GuestLog,
}

/// Where the record of a step is.
#[derive(Debug)]
pub enum Commit {
    /// It is durable, in one commit with the guest's SQL.
    Done,
    /// It must go to the journal.
    Journal,
    /// It waits for its commit, which is to be ordered.
    Ahead(Ahead),
}

/// How a step ended.
#[derive(Debug)]
pub struct StepEnd {
    /// Its result.
    pub result: RecordedResult,
    /// When it began.
    pub started_at: EpochMs,
    /// When it ended.
    pub completed_at: EpochMs,
    /// Where its record is.
    pub commit: Commit,
}

/// A run that somebody asks for.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// Under this id; a fresh one when there is none.
    pub id: Option<WorkflowId>,
    /// A workflow of the program, or `temp:<step>`.
    pub name: String,
    /// Its arguments.
    pub arguments: Arguments,
    /// The trace that it will belong to.
    pub trace: Option<TraceContext>,
    /// On what terms.
    pub terms: Terms,
    /// Whoever asks waits for the outcome at once, so that nobody needs the start to be durable before it.
    pub is_awaited: bool,
}

/// A run that was started for a guest, or that was there.
pub struct StartedRun {
    /// Its id.
    pub id: WorkflowId,
    /// Its outcome, however long it takes. `None`: there is no such run any more.
    pub ended: BoxFuture<'static, Option<Outcome>>,
}

impl std::fmt::Debug for StartedRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartedRun").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What the executor does for calls.
pub trait Services: Send + Sync {
    /// The clock.
    fn clock(&self) -> &Clock;

    /// The journal.
    fn journal(&self) -> &Journal;

    /// Returns when an effect of a run may begin: the host is not shutting down, its lease holds, and the claim was made
    /// under this lease.
    fn may_act<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), Interrupt>>;

    /// Registers what undoes a step, which is durable when this returns.
    fn register_undo<'a>(&'a self, new: NewUndo<'a>) -> BoxFuture<'a, Result<(), Interrupt>>;

    /// Runs a step in an instance of its own, with the attempts that its policy allows.
    fn run_step<'a>(&'a self, call: StepCall<'a>) -> BoxFuture<'a, Result<StepEnd, Interrupt>>;

    /// Runs a read-only transaction that is not recorded.
    fn read<'a>(
        &'a self,
        program: &'a Program,
        step: &'a str,
        arguments: &'a str,
        trace: Option<TraceContext>,
    ) -> BoxFuture<'a, Result<String, Failure>>;

    /// A run that this host will own once it is written.
    fn new_run(&self, program: &Program, id: WorkflowId, name: &str, arguments: Arguments) -> NewRun;

    /// Starts a child: writes its row with the parent's record of it, and drives it if it is new. Both happen or neither,
    /// also when the parent's instance is dropped in between.
    fn start_child(&self, child: NewRun) -> BoxFuture<'_, Result<Landed, JournalClosed>>;

    /// Checks the arguments, starts a run and returns it when the start is durable. A run that exists already is not
    /// started again.
    fn start<'a>(&'a self, program: &'a Program, request: StartRequest) -> BoxFuture<'a, Result<StartedRun, Failure>>;

    /// How many started steps of one run may run at once.
    fn steps_at_once(&self) -> usize;

    /// The run waits with its instance, for this reason, as long as what this returns is kept.
    fn waits(&self, claim: &Claim, reason: Reason) -> Waits;

    /// Listens for what others do. Whoever waits for it listens first, looks whether it is done second, and waits third.
    fn listen(&self, signals: &[Signal]) -> Listening;

    /// Returns when something was heard or the time has come, at times too early, or with [`Interrupt::Suspended`] when that
    /// is long in coming. What is waited for is what `listening` listens for.
    fn wait<'a>(&'a self, wait: WaitFor, listening: &'a Listening) -> BoxFuture<'a, Result<(), Interrupt>>;

    /// As [`Self::wait`], with the instance, however long it takes.
    fn wait_here<'a>(&'a self, wait: &'a WaitFor, listening: &'a Listening) -> BoxFuture<'a, ()>;

    /// An event of a run as the database has it. `None`: it is not set.
    fn event<'a>(&'a self, run: &'a WorkflowId, key: &'a Key) -> BoxFuture<'a, Option<RecordedResult>>;

    /// The path by which whoever has it may settle a promise of the run.
    fn link(&self, run: &WorkflowId, name: &PromiseName) -> String;

    /// What a stream of a run has from an offset on, as far as it fits into a page. `None`: there is no such run.
    fn stream<'a>(&'a self, run: &'a WorkflowId, key: &'a Key, from: Offset) -> BoxFuture<'a, Option<StreamPage>>;

    /// Sends a message of nobody's; a run's goes to the journal with its record.
    fn send(&self, message: NewSend) -> BoxFuture<'_, Result<Landed, JournalClosed>>;

    /// Returns the outcome of a run, or [`Interrupt::Suspended`] when it is long in coming. `None`: no such run.
    fn wait_for_outcome<'a>(&'a self, run: &'a WorkflowId) -> BoxFuture<'a, Result<Option<Outcome>, Interrupt>>;

    /// The outcome of a run as the database has it. `None` inside: it goes on. `None` outside: no such run.
    fn outcome_so_far<'a>(&'a self, run: &'a WorkflowId) -> BoxFuture<'a, Option<Option<Outcome>>>;

    /// What the row of a run says, as JSON. `None`: no such run.
    fn status<'a>(&'a self, run: &'a WorkflowId) -> BoxFuture<'a, Option<String>>;

    /// Cancels a run of the app that has not ended. Done to the end, whatever becomes of who asks for it: it may be one of those
    /// that are cancelled.
    fn cancel<'a>(
        &'a self,
        app: &'a AppName,
        run: &'a WorkflowId,
        with_children: bool,
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// Lets a run of the app go on that was cancelled or stopped.
    fn resume<'a>(&'a self, app: &'a AppName, run: &'a WorkflowId) -> BoxFuture<'a, Result<(), Failure>>;

    /// Returns the outcome of a run, however long it takes. `None`: no such run.
    fn outcome<'a>(&'a self, run: &'a WorkflowId) -> BoxFuture<'a, Option<Outcome>>;
}

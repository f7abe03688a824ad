//! What the executor does for the calls of guests.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::Executor;
use super::difference::difference;
use super::start::{NewOrFound, StartError, Started};
use crate::calls::{
    Interrupt, Listening, Program, Services, StartRequest, StartedRun, StepCall, StepEnd, WaitFor, Waits,
};
use crate::clock::Clock;
use crate::database::{Claim, Entry, Journal, JournalClosed, Landed, NewRun, NewSend, NewUndo, Outcome};
use crate::workflow::{
    AppName, Arguments, Code, Failure, Key, Offset, PromiseName, Reason, RecordedResult, Signal, StepKind, StreamPage,
    TraceContext, WorkflowId,
};

impl Services for Executor {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn may_act<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), Interrupt>> {
        self.may_begin(claim).boxed()
    }

    fn register_undo<'a>(&'a self, new: NewUndo<'a>) -> BoxFuture<'a, Result<(), Interrupt>> {
        async move { self.register(&new).await }.boxed()
    }

    fn run_step<'a>(&'a self, call: StepCall<'a>) -> BoxFuture<'a, Result<StepEnd, Interrupt>> {
        async move {
            let kind = call.program.manifest.step(call.name).map(|step| step.kind.clone());
            match kind {
                Some(StepKind::Transaction { isolation, read_only }) => {
                    self.run_transaction(&call, isolation, read_only).await
                }
                Some(StepKind::Communicator { retry, timeout }) => self.run_communicator(&call, &retry, timeout).await,
                None => unreachable!("the gate has found the step `{}` in the manifest", call.name),
            }
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        program: &'a Program,
        step: &'a str,
        arguments: &'a str,
        trace: Option<TraceContext>,
    ) -> BoxFuture<'a, Result<String, Failure>> {
        self.run_unrecorded(program, step, arguments, trace).boxed()
    }

    fn new_run(&self, program: &Program, id: WorkflowId, name: &str, arguments: Arguments) -> NewRun {
        self.prepare_run(program, id, name, arguments)
    }

    fn start_child(&self, child: NewRun) -> BoxFuture<'_, Result<Landed, JournalClosed>> {
        // In a task of its own: the parent may be cancelled between the write and the driving, and its child is a run that
        // somebody must drive.
        let executor = self.this();
        let started = tokio::spawn(async move {
            let landed = executor.journal.write(Entry::Start(Box::new(child.clone()))).await?;
            if landed == Landed::Written {
                let place = executor.backlog.try_enter_child();
                let waiting = place.and_then(|place| executor.backlog.keep_arguments(place, child.input_bytes()));
                executor.drive_new(&child, None, waiting);
            }
            Ok(landed)
        });
        async move { started.await.unwrap_or(Err(JournalClosed)) }.boxed()
    }

    fn start<'a>(&'a self, program: &'a Program, request: StartRequest) -> BoxFuture<'a, Result<StartedRun, Failure>> {
        async move {
            let (name, arguments) = (request.name.clone(), request.arguments.clone());
            let place = self.backlog.enter().await;
            match self.start_or_find(program, request, place).await {
                Ok(NewOrFound { new, existing, news }) => {
                    let id = new.claim().run().clone();
                    // A step that a handler calls gets its result as its own, so another call's result would be a lie. For
                    // a workflow, the handle of the first run is what was asked for.
                    let existing = existing.filter(|_| name.starts_with("temp:"));
                    if let Some(difference) = existing.and_then(|other| difference(&other, &name, &arguments)) {
                        let text = format!("the workflow id `{id}` is taken by {difference}");
                        return Err(Failure::new("Error", Code("id_conflict"), text));
                    }
                    let (executor, started) = (self.this(), Started { id: id.clone(), news });
                    let ended = async move { executor.outcome_of_started(started).await }.boxed();
                    Ok(StartedRun { id, ended })
                }
                Err(StartError::Refused(failure)) => Err(failure),
                Err(StartError::Unfit(error)) => {
                    Err(Failure::new("Error", Code("bad_arguments"), error.to_string()).not_retryable())
                }
                Err(error) => Err(Failure::new("Error", Code("not_started"), error.to_string())),
            }
        }
        .boxed()
    }

    fn steps_at_once(&self) -> usize {
        usize::try_from(self.limits.steps_per_run_at_once).unwrap_or(Semaphore::MAX_PERMITS)
    }

    fn waits(&self, claim: &Claim, reason: Reason) -> Waits {
        Waits::new(self.runs.waits(claim, reason))
    }

    fn listen(&self, signals: &[Signal]) -> Listening {
        self.listening(signals)
    }

    fn wait<'a>(&'a self, wait: WaitFor, listening: &'a Listening) -> BoxFuture<'a, Result<(), Interrupt>> {
        self.heard_or_park(wait, listening).boxed()
    }

    fn wait_here<'a>(&'a self, wait: &'a WaitFor, listening: &'a Listening) -> BoxFuture<'a, ()> {
        self.heard_or_due(wait, listening).boxed()
    }

    fn event<'a>(&'a self, run: &'a WorkflowId, key: &'a Key) -> BoxFuture<'a, Option<RecordedResult>> {
        self.event_so_far(run, key).boxed()
    }

    fn link(&self, run: &WorkflowId, name: &PromiseName) -> String {
        self.link_to(run, name)
    }

    fn stream<'a>(&'a self, run: &'a WorkflowId, key: &'a Key, from: Offset) -> BoxFuture<'a, Option<StreamPage>> {
        self.stream_so_far(run, key, from).boxed()
    }

    fn send(&self, message: NewSend) -> BoxFuture<'_, Result<Landed, JournalClosed>> {
        async move { self.journal.write(Entry::Send(Box::new(message))).await }.boxed()
    }

    fn wait_for_outcome<'a>(&'a self, run: &'a WorkflowId) -> BoxFuture<'a, Result<Option<Outcome>, Interrupt>> {
        self.outcome_or_park(run).boxed()
    }

    fn outcome_so_far<'a>(&'a self, run: &'a WorkflowId) -> BoxFuture<'a, Option<Option<Outcome>>> {
        self.outcome_so_far(run).boxed()
    }

    fn status<'a>(&'a self, run: &'a WorkflowId) -> BoxFuture<'a, Option<String>> {
        self.status_of(run).boxed()
    }

    fn cancel<'a>(
        &'a self,
        app: &'a AppName,
        run: &'a WorkflowId,
        with_children: bool,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        self.cancel_for_guest(app, run, with_children).boxed()
    }

    fn resume<'a>(&'a self, app: &'a AppName, run: &'a WorkflowId) -> BoxFuture<'a, Result<(), Failure>> {
        self.resume_for_guest(app, run).boxed()
    }

    fn outcome<'a>(&'a self, run: &'a WorkflowId) -> BoxFuture<'a, Option<Outcome>> {
        self.outcome_of(run).boxed()
    }
}

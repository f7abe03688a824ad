//! One attempt: an instance from its making to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::app::ComponentError;
use super::drive::too_many_attempts;
use super::wake::after;
use super::{App, Executor};
use crate::calls::{
    Gate, Guest, GuestLog, Inherited, Interrupt, MAX_PAYLOAD, Seed, Seeds, Services, Unsettled, WaitFor, Withheld,
};
use crate::database::{Backoff, Claim, Continuation, FinalOutcome, Loaded, NewRun};
use crate::failpoint;
use crate::sandbox::{Component, GuestEnd, Instance};
use crate::workflow::{
    AppName, Arguments, Beginning, Budget, Code, ComponentDigest, EpochMs, Failure, History, JsonError, OperationKind,
    Record, StepKind, StepNumber, TraceContext, UNDO, WorkflowId, WorkflowTime, check_json,
};

/// What an attempt needs to know of its run.
pub(super) struct Prepared {
    pub(super) attempts: u32,
    name: String,
    app: Option<AppName>,
    version: Option<ComponentDigest>,
    input: Input,
    pub(super) started_at: EpochMs,
    /// The runs that it was copied from, each with the last step that it repeats of them.
    draws_as: Vec<(StepNumber, WorkflowId)>,
    pub(super) trace: Option<TraceContext>,
    deadline: Option<EpochMs>,
    /// Its steps are undone, or were.
    is_undone: bool,
    pub(super) records: Vec<Record>,
    /// The run's start, if it is not written yet.
    pub(super) start: Option<Arc<Withheld>>,
}

enum Input {
    Given(Arguments),
    Stored { text: Option<String>, serialization: Option<String> },
}

impl Prepared {
    /// A run that was just started: no records, and everything known.
    pub(super) fn fresh(new: &NewRun) -> Self {
        Self {
            attempts: 1,
            name: new.name.clone(),
            app: Some(new.app.clone()),
            version: Some(new.version.clone()),
            input: Input::Given(new.arguments.clone()),
            started_at: new.created_at,
            draws_as: Vec::new(),
            trace: new.trace,
            deadline: new.deadline(),
            is_undone: false,
            records: Vec::new(),
            start: None,
        }
    }

    /// The app that it belongs to, for the log.
    pub(super) fn app_name(&self) -> String {
        self.app.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string)
    }

    /// A run that goes on.
    pub(super) fn replay(loaded: Loaded) -> Self {
        let Loaded { attempt, records } = loaded;
        Self {
            attempts: attempt.count,
            name: attempt.name,
            app: attempt.app,
            version: attempt.version,
            input: Input::Stored { text: attempt.inputs, serialization: attempt.serialization },
            started_at: attempt.started_at,
            draws_as: attempt.draws_as,
            trace: attempt.trace,
            deadline: attempt.deadline,
            is_undone: attempt.is_undone,
            records,
            start: None,
        }
    }
}

/// How an attempt ended.
pub(super) enum AttemptEnd {
    /// The run has this outcome, to be written with what is not settled yet.
    Finished(FinalOutcome, Unsettled),
    /// The run continues with other arguments, without what it has recorded; everything is settled. True: it has done nothing
    /// since it began.
    Continues(Box<Continuation>, bool),
    /// Replay at once.
    Reload,
    /// Replay at once, without counting an attempt: what the run has seen was not committed.
    Undone,
    /// Replay when this has come.
    Waits(WaitFor),
    /// Replay after a back-off, for this reason.
    Failed(String),
    /// The run is not this host's any more.
    Lost,
    /// The host stops.
    ShuttingDown,
}

impl AttemptEnd {
    /// An outcome that no instance has been needed for, or that comes after everything it had is settled.
    pub(super) fn of(outcome: FinalOutcome) -> Self {
        Self::Finished(outcome, Unsettled::default())
    }
}

/// How long a run whose deadline is over waits for whoever cancels such runs, before it is looked at again.
const EXPIRY: Duration = Duration::from_secs(1);

impl Executor {
    /// Runs an instance of the workflow to its end.
    pub(super) async fn attempt(&self, claim: &Claim, prepared: Prepared) -> AttemptEnd {
        if prepared.attempts > self.limits.attempts.saturating_add(1) {
            return AttemptEnd::of(FinalOutcome::DeadLetter(too_many_attempts(self.limits.attempts)));
        }
        if prepared.is_undone {
            // Another program has resumed it, which this host would have refused.
            let text = "the steps of the workflow are undone, or were, so it cannot go on";
            return AttemptEnd::of(FinalOutcome::DeadLetter(Failure::new("Error", Code("undone"), text)));
        }
        let now = self.clock.now();
        if prepared.deadline.is_some_and(|deadline| deadline <= now) {
            // It is not to go on. Whoever looks for such runs cancels it; after a time without a host that may be behind this.
            return AttemptEnd::Waits(WaitFor::until(after(now, EXPIRY)));
        }
        let (Some(name), Some(version)) = (&prepared.app, &prepared.version) else {
            return AttemptEnd::Failed("its row names no app or no component".into());
        };
        let Some(app) = self.apps.get(name) else {
            return AttemptEnd::Failed(format!("this host does not serve the app `{name}`"));
        };
        let mut backoff = Backoff::new("load a component");
        let component = loop {
            match app.component(version, &self.database, &self.sandbox).await {
                Ok(component) => break component,
                // The database's state is nothing that the run could be blamed for.
                Err(ComponentError::Database(error)) => backoff.wait(&error).await,
                Err(error) => return AttemptEnd::Failed(error.to_string()),
            }
        };
        failpoint::hit("attempt.before_instance").await;
        match prepared.name.strip_prefix("temp:").map(str::to_owned) {
            Some(step) => self.attempt_step(claim, prepared, app, &component, &step).await,
            None if prepared.name.starts_with(UNDO) => self.attempt_undo(claim, prepared, app, &component).await,
            None => self.attempt_workflow(claim, prepared, app, &component).await,
        }
    }

    async fn attempt_workflow(
        &self,
        claim: &Claim,
        prepared: Prepared,
        app: &Arc<App>,
        component: &Component,
    ) -> AttemptEnd {
        let Some(entry) = component.manifest().workflow(&prepared.name) else {
            let text = format!("the component has no workflow `{}`", prepared.name);
            return AttemptEnd::of(FinalOutcome::Error(Failure::new("Error", Code("unknown_workflow"), text)));
        };
        let arguments = match arguments(prepared.input, &entry.parameters) {
            Ok(arguments) => arguments,
            Err(failure) => return AttemptEnd::of(FinalOutcome::Error(failure)),
        };
        let log = GuestLog::new(app.log(), Some(claim.run())).traced(prepared.trace);
        let log = log.showing_replayed(self.show_replayed_logs);
        let time = WorkflowTime::starting_at(prepared.started_at);
        let begins = Beginning::of(&prepared.records);
        begins.since().into_iter().for_each(|since| time.deliver(since));
        let seeds = self.seeds(claim.run(), &prepared.draws_as, &begins);
        let (records, begun) = (prepared.records.len(), Instant::now());
        let name = prepared.name.clone();
        let own = (prepared.records, Inherited { trace: prepared.trace, deadline: prepared.deadline }, prepared.start);
        let gate = self.gate(claim, own, app, component, &time, &log).of(&name, &begins);
        let guest = Guest::deterministic(gate, log, time, &seeds);
        let instance = Instance::new(component, guest, ());
        let (mut instance, end) = instance.run_workflow(prepared.name, arguments).await;
        let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
        tracing::debug!(workflow = %claim.run(), records, milliseconds, "an instance has ended");
        let gate = instance.guest().gate().expect("a workflow's instance has a gate");
        if matches!(end, GuestEnd::Returned(_)) && gate.continues() {
            return continues(gate).await;
        }
        let outcome = match end {
            GuestEnd::Returned(Ok(json)) => match check_result(&json) {
                Ok(()) => FinalOutcome::Success(json),
                Err(failure) => FinalOutcome::Error(failure),
            },
            GuestEnd::Returned(Err(failure)) => FinalOutcome::Error(failure),
            GuestEnd::Panicked(panic) => FinalOutcome::Error(panic.into_failure()),
            GuestEnd::Interrupted(interrupt) => {
                let gate = instance.guest().gate().expect("a workflow's instance has a gate");
                return unwound(gate, interrupt).await;
            }
            GuestEnd::Limit(limit) => return failed(&mut instance, limit.to_string()).await,
            GuestEnd::Broken(text) => return failed(&mut instance, text).await,
        };
        let gate = instance.guest().gate().expect("a workflow's instance has a gate");
        app.habits().note(component.digest(), &name, (gate.is_one_transaction(), begun.elapsed()));
        finish(gate, outcome).await
    }

    /// A workflow of one step has no code of its own: the step is all of it.
    async fn attempt_step(
        &self,
        claim: &Claim,
        prepared: Prepared,
        app: &Arc<App>,
        component: &Component,
        step: &str,
    ) -> AttemptEnd {
        let Some(entry) = component.manifest().step(step) else {
            let text = format!("the component has no step `{step}`");
            return AttemptEnd::of(FinalOutcome::Error(Failure::new("Error", Code("unknown_step"), text)));
        };
        let arguments = match arguments(prepared.input, &entry.parameters) {
            Ok(arguments) => arguments,
            Err(failure) => return AttemptEnd::of(FinalOutcome::Error(failure)),
        };
        let kind = match entry.kind {
            StepKind::Transaction { .. } => OperationKind::Transaction,
            StepKind::Communicator { .. } => OperationKind::Communicator,
        };
        let log = GuestLog::new(app.log(), Some(claim.run())).traced(prepared.trace);
        let time = WorkflowTime::starting_at(prepared.started_at);
        let own = (prepared.records, Inherited { trace: prepared.trace, deadline: prepared.deadline }, prepared.start);
        let mut gate = self.gate(claim, own, app, component, &time, &log);
        let outcome = match gate.step(kind, step, &arguments).await {
            Ok(Ok(json)) => FinalOutcome::Success(json),
            Ok(Err(failure)) => FinalOutcome::Error(failure),
            Err(interrupt) => return interrupted(interrupt),
        };
        finish(&mut gate, outcome).await
    }

    pub(super) fn gate(
        &self,
        claim: &Claim,
        (records, inherited, start): (Vec<Record>, Inherited, Option<Arc<Withheld>>),
        app: &Arc<App>,
        component: &Component,
        time: &WorkflowTime,
        log: &GuestLog,
    ) -> Gate {
        let services: Arc<dyn Services> = self.this();
        let budget = Budget::of(self.limits.steps_per_run, &records);
        let (program, history) = (app.program(component), History::new(records));
        Gate::new(services, program, claim.clone(), (history, budget), time.clone(), log.clone(), (inherited, start))
    }

    /// The seeds of a run's randomness. One that has continued draws something else than before; so has a run that it was
    /// copied from, if that had continued before the copied steps.
    fn seeds(&self, run: &WorkflowId, draws_as: &[(StepNumber, WorkflowId)], begins: &Beginning) -> Seeds {
        let before = begins.numbers_before();
        let copied = draws_as.iter().filter(|(last, _)| last.get() > before);
        let copied = copied.map(|(last, run)| (*last, self.seed(run, before))).collect();
        Seeds { copied, own: self.seed(run, before) }
    }

    /// The seed of a run behind a mark: from its id, and from the database's secret so that nobody can guess it.
    fn seed(&self, run: &WorkflowId, mark: i32) -> Seed {
        let seed = Sha256::new().chain_update(&self.secret).chain_update("seed").chain_update(run.as_str());
        // No id has a zero byte.
        let seed = if mark > 0 { seed.chain_update([0]).chain_update(mark.to_be_bytes()) } else { seed };
        seed.finalize().into()
    }
}

/// The next attempt loads the history: what this one has recorded must be in it.
async fn failed(instance: &mut Instance, reason: String) -> AttemptEnd {
    let gate = instance.guest().gate().expect("a workflow's instance has a gate");
    match gate.settle().await {
        Ok(()) => AttemptEnd::Failed(reason),
        Err(interrupt) => interrupted(interrupt),
    }
}

/// An interrupt that ends the run: what the run has done and said before it stays. Or one after which it is loaded at once:
/// what is on its way to the disk must be in its history then.
///
/// Steps that run beside the workflow come to their end where an outcome comes behind them, and where the host stops; elsewhere
/// they are given up with the instance.
pub(super) async fn unwound(gate: &mut Gate, interrupt: Interrupt) -> AttemptEnd {
    let ended = match &interrupt {
        Interrupt::Forbidden(_) | Interrupt::Exhausted(_) => gate.end_started().await,
        _ => Ok(()),
    };
    let interrupt = ended.err().unwrap_or(interrupt);
    if interrupt == Interrupt::ShuttingDown {
        gate.stop_started().await;
    }
    let settles = matches!(
        interrupt,
        Interrupt::Diverged(_)
            | Interrupt::Forbidden(_)
            | Interrupt::Exhausted(_)
            | Interrupt::Reload
            | Interrupt::Unavailable(_)
    );
    match if settles { gate.settle().await } else { Ok(()) } {
        Ok(()) => interrupted(interrupt),
        Err(earlier) => interrupted(earlier),
    }
}

pub(super) async fn finish(gate: &mut Gate, outcome: FinalOutcome) -> AttemptEnd {
    match gate.finish().await {
        Ok(unsettled) => AttemptEnd::Finished(outcome, unsettled),
        Err(interrupt) => unwound(gate, interrupt).await,
    }
}

/// The guest has returned and wishes to continue: everything that it has done comes first.
async fn continues(gate: &mut Gate) -> AttemptEnd {
    let settled = match gate.finish().await {
        Ok(unsettled) => unsettled.settle().await,
        Err(interrupt) => Err(interrupt),
    };
    if let Err(interrupt) = settled {
        return unwound(gate, interrupt).await;
    }
    let is_idle = gate.steps_taken() == 0;
    let continuation = gate.continuation().expect("it was asked whether there is one");
    AttemptEnd::Continues(Box::new(continuation), is_idle)
}

/// What an interrupt means for the attempt.
pub(super) fn interrupted(interrupt: Interrupt) -> AttemptEnd {
    match interrupt {
        Interrupt::Suspended(wait) => AttemptEnd::Waits(wait),
        Interrupt::Reload => AttemptEnd::Reload,
        Interrupt::Undone => AttemptEnd::Undone,
        Interrupt::Lost => AttemptEnd::Lost,
        Interrupt::ShuttingDown => AttemptEnd::ShuttingDown,
        Interrupt::Diverged(divergence) => AttemptEnd::of(FinalOutcome::DeadLetter(divergence.to_failure())),
        Interrupt::Unavailable(_) => AttemptEnd::Failed(interrupt.to_string()),
        Interrupt::Forbidden(failure) => AttemptEnd::of(FinalOutcome::Error(failure)),
        Interrupt::Exhausted(failure) => AttemptEnd::of(FinalOutcome::DeadLetter(failure)),
        Interrupt::RunAgain => AttemptEnd::Failed("a transaction's interrupt reached its workflow".into()),
    }
}

fn arguments(input: Input, parameters: &[crate::workflow::Parameter]) -> Result<String, Failure> {
    let arguments = match input {
        Input::Given(arguments) => arguments,
        Input::Stored { text, serialization } => {
            Arguments::from_stored(text.as_deref(), serialization.as_deref(), parameters)
                .map_err(|error| Failure::new("Error", Code("bad_arguments"), error.to_string()))?
        }
    };
    Ok(arguments.to_json())
}

/// A result from a guest: JSON within the limits.
pub(super) fn check_result(json: &str) -> Result<(), Failure> {
    if json.len() > MAX_PAYLOAD {
        let text = format!("the result has {} bytes, more than the limit of {MAX_PAYLOAD}", json.len());
        return Err(Failure::new("Error", Code("payload_too_large"), text).not_retryable());
    }
    match check_json(json) {
        Ok(()) => Ok(()),
        Err(JsonError::Malformed(error)) => {
            let text = format!("the result is not JSON: {error}");
            Err(Failure::new("Error", Code("bad_result"), text).not_retryable())
        }
        Err(error @ JsonError::TooLarge) => {
            let text = format!("the result is too large: {error}");
            Err(Failure::new("Error", Code("payload_too_large"), text).not_retryable())
        }
    }
}

//! Running a transaction step: the body in an instance of its own, then the last flight.
//!
//! An attempt ends in one of few ways, and only one of them has an effect: the commit that holds the guest's SQL and the
//! record. A conflict or a lost connection runs the body again, in a new instance and a new transaction. A failure of the
//! guest rolls back first and is recorded by the journal after.

use std::sync::Arc;
use std::time::Duration;

use super::Executor;
use super::ahead::commit_ahead;
use super::attempt::check_result;
use crate::calls::{
    Commit, Guest, GuestLog, Interrupt, MAX_PAYLOAD, Phase, Program, StepCall, StepEnd, TransactionCalls,
};
use crate::database::{Doom, Flight, GuestSession, NewRecord, SessionEnd, SqlFailure, until_answered};
use crate::failpoint;
use crate::sandbox::{GuestEnd, Instance};
use crate::workflow::{Code, Failure, Isolation, Reason, RecordedResult, StepKind, TraceContext, WorkflowId, doubled};

/// How often a body is run again because of conflicts or lost connections. A guest can bring either about by itself, so
/// there must be an end; with the back-off below it comes after half an hour of bad luck in a row.
const MAX_RUNS: u32 = 200;

/// The wait before the n-th run: nothing at first, since the other transaction is over; then up to ten seconds.
const FIRST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How often a body is run again in one attempt because the database is in trouble: about ten seconds.
const MAX_WAITS: u32 = 20;

/// The wait while the database is in trouble.
const TROUBLE_WAIT: Duration = Duration::from_millis(500);

/// What one run of the body came to.
enum Run {
    Done(StepEnd),
    Again,
    /// The database is in trouble, with what it said: again, when it may be better.
    Wait(String),
}

impl Executor {
    /// Runs a transaction of a workflow until its record is durable or its failure is known.
    pub(super) async fn run_transaction(
        &self,
        call: &StepCall<'_>,
        isolation: Isolation,
        read_only: bool,
    ) -> Result<StepEnd, Interrupt> {
        let (mut run, mut waits) = (0, 0);
        while run < MAX_RUNS {
            match self.transaction_once(call, isolation, read_only).await? {
                Run::Done(end) => return Ok(end),
                Run::Again => run += 1,
                // A guest can make this look like the database's trouble, and trouble can last: the run gives up its slot
                // and backs off, and a guest's doing is counted against it.
                Run::Wait(reason) if waits >= MAX_WAITS => return Err(Interrupt::Unavailable(reason)),
                Run::Wait(reason) => {
                    waits += 1;
                    tracing::warn!(
                        step = call.name,
                        "the database cannot commit a transaction: {reason}; it is run again"
                    );
                    tokio::time::sleep(TROUBLE_WAIT).await;
                }
            }
            // The transaction that has carried it is over, and the next one may take long to come to its end.
            if let Some(start) = call.start
                && !start.write().await.is_written()
            {
                return Err(Interrupt::Lost);
            }
            wait_before(run).await;
            self.may_begin(call.claim).await?;
        }
        let text = format!("the transaction met conflicts or lost its connection {MAX_RUNS} times in a row");
        let now = self.clock.now();
        let result = RecordedResult::Failed(Failure::new("SqlError", Code("too_many_conflicts"), text));
        Ok(StepEnd { result, started_at: now, completed_at: now, commit: Commit::Journal })
    }

    async fn transaction_once(
        &self,
        call: &StepCall<'_>,
        isolation: Isolation,
        read_only: bool,
    ) -> Result<Run, Interrupt> {
        let started_at = self.clock.now();
        let whose = (Some(call.claim.run().clone()), call.log.of_step());
        let body = self.run_body(call.program, whose, (call.name, call.arguments), isolation, read_only).await?;
        let failed = |failure| StepEnd {
            result: RecordedResult::Failed(failure),
            started_at,
            completed_at: self.clock.now(),
            commit: Commit::Journal,
        };
        let (session, json) = match body {
            Body::Again => return Ok(Run::Again),
            Body::Wait(reason) => return Ok(Run::Wait(reason)),
            Body::Failed(failure) => return Ok(Run::Done(failed(failure))),
            Body::Returned(session, json) => (session, json),
        };
        let result = RecordedResult::Output(json);
        let completed_at = self.clock.now();
        let record = NewRecord {
            claim: call.claim.clone(),
            app: call.program.app.clone(),
            step: call.number,
            name: call.name.into(),
            digest: Some(call.digest),
            result: result.clone(),
            child: None,
            started_at,
            completed_at,
            effect: None,
        };
        let (end, commit) = if read_only {
            // Nothing to commit with it: the record rides with the journal. The commit only asks whether what was read
            // was consistent; but a statement that only reads may notify somebody, and that leaves with the commit.
            if let Some(behind) = call.behind {
                behind.clear().await?;
            }
            (session.commit(None).await, Commit::Journal)
        } else {
            self.commit(call, *session, record).await
        };
        match end {
            SessionEnd::Committed => Ok(Run::Done(StepEnd { result, started_at, completed_at, commit })),
            SessionEnd::Failed(failure) => Ok(Run::Done(failed(sql_failure(&failure)))),
            SessionEnd::Retry | SessionEnd::ConnectionLost => Ok(Run::Again),
            SessionEnd::Unavailable(reason) => Ok(Run::Wait(reason)),
            SessionEnd::NotOwner | SessionEnd::StartExists => Err(Interrupt::Lost),
            SessionEnd::Exists => Err(Interrupt::Reload),
        }
    }

    /// Commits what a body has done with its record; or finds out that it can be committed, and leaves it to the run.
    async fn commit(&self, call: &StepCall<'_>, mut session: GuestSession, record: NewRecord) -> (SessionEnd, Commit) {
        let Some(start) = call.start.filter(|start| !start.is_written()) else {
            return (session.commit(Some(&Flight { record, carried: None })).await, Commit::Done);
        };
        match session.check().await {
            Ok(()) => {
                let ahead = commit_ahead(session, record, Arc::clone(start), self.put_off);
                (SessionEnd::Committed, Commit::Ahead(ahead))
            }
            Err(end) => {
                session.rollback().await;
                (end, Commit::Journal)
            }
        }
    }

    /// Runs a read-only transaction of a handler: not recorded, tried again like any other.
    pub(super) async fn run_unrecorded(
        &self,
        program: &Program,
        step: &str,
        arguments: &str,
        trace: Option<TraceContext>,
    ) -> Result<String, Failure> {
        let Some(StepKind::Transaction { isolation, .. }) = program.manifest.step(step).map(|step| &step.kind) else {
            unreachable!("the handler has found the transaction `{step}` in the manifest");
        };
        let Some(app) = self.apps.get(&program.app) else {
            let text = format!("this host does not serve the app `{}`", program.app);
            return Err(Failure::new("Error", Code("interrupted"), text));
        };
        for run in 1..=MAX_RUNS {
            let whose = (None, GuestLog::new(app.log(), None).traced(trace));
            let body = self.run_body(program, whose, (step, arguments), *isolation, true).await;
            match body {
                Ok(Body::Returned(session, json)) => match session.commit(None).await {
                    SessionEnd::Committed => return Ok(json),
                    SessionEnd::Failed(failure) => return Err(sql_failure(&failure)),
                    _ => {}
                },
                Ok(Body::Failed(failure)) => return Err(failure),
                Ok(Body::Again | Body::Wait(_)) => {}
                Err(interrupt) => return Err(Failure::new("Error", Code("interrupted"), interrupt.to_string())),
            }
            wait_before(run).await;
        }
        Err(Failure::new("SqlError", Code("too_many_conflicts"), "the transaction met conflicts again and again"))
    }

    /// Runs the body in a transaction that is open when it returns.
    async fn run_body(
        &self,
        program: &Program,
        (run, log): (Option<WorkflowId>, GuestLog),
        (name, arguments): (&str, &str),
        isolation: Isolation,
        read_only: bool,
    ) -> Result<Body, Interrupt> {
        let app = self.apps.get(&program.app).ok_or(Interrupt::Lost)?;
        let component = app.component(&program.digest, &self.database, &self.sandbox).await;
        let component = component.map_err(|error| {
            tracing::warn!("{error}");
            Interrupt::Reload
        })?;
        // One that a handler reads by has no run.
        let claim = run.as_ref().and_then(|run| self.runs.claim_of(run));
        let waits = |reason| claim.as_ref().map(|claim| self.runs.waits(claim, reason));
        let waiting = waits(Reason::Slot);
        let slot = self.slots.step().await;
        drop(waiting);
        let waiting = waits(Reason::Database);
        let session = self.open(app, isolation, read_only).await;
        drop(waiting);
        failpoint::hit("transaction.begun").await;
        let phase = Phase::Transaction(Box::new(TransactionCalls { session, run }));
        let guest = Guest::acting(phase, log, &app.settings().env, &app.settings().outbound);
        let (limit, of_step) = (self.limits.transaction, (name.to_owned(), arguments.to_owned()));
        let body = async { Instance::new(&component, guest, slot).run_step(of_step.0, of_step.1).await };
        let Ok((instance, end)) = tokio::time::timeout(limit, body).await else {
            // The session went with the instance: its connection is closed, which rolls back.
            let text = format!("the transaction took longer than the limit of {limit:?}");
            return Ok(Body::Failed(Failure::new("Timeout", Code("timeout"), text)));
        };
        let Phase::Transaction(calls) = instance.into_phase() else {
            unreachable!("an instance keeps the phase that it was made for");
        };
        let session = calls.session;
        let failure = match end {
            _ if let Some(failure) = session.stuck() => sql_failure(failure),
            _ if let Some(doom) = session.doom().cloned() => {
                session.rollback().await;
                return Ok(match doom {
                    Doom::Conflict | Doom::ConnectionLost => Body::Again,
                    Doom::NotBegun(reason) => Body::Wait(reason),
                });
            }
            GuestEnd::Returned(Ok(json)) => match (session.first_failure(), check_result(&json)) {
                (None, Ok(())) => return Ok(Body::Returned(Box::new(session), json)),
                (Some(first), _) => failed_before(first),
                (None, Err(failure)) => failure,
            },
            GuestEnd::Returned(Err(failure)) => failure,
            GuestEnd::Panicked(panic) => panic.into_failure(),
            GuestEnd::Limit(limit) => Failure::new("Limit", Code("limit"), limit.to_string()),
            GuestEnd::Broken(text) => Failure::new("Error", Code("broken"), text),
            GuestEnd::Interrupted(Interrupt::Forbidden(failure)) => failure,
            GuestEnd::Interrupted(Interrupt::RunAgain) => {
                session.rollback().await;
                return Ok(Body::Again);
            }
            GuestEnd::Interrupted(other) => return Err(other),
        };
        session.rollback().await;
        failpoint::hit("transaction.rolled_back").await;
        Ok(Body::Failed(failure))
    }

    /// A database failure is never a step's: wait for the database.
    async fn open(&self, app: &super::App, isolation: Isolation, read_only: bool) -> GuestSession {
        until_answered("begin a transaction", || app.settings().sql.begin(isolation, read_only)).await
    }
}

/// What the body came to.
enum Body {
    /// It succeeded; the transaction is open.
    Returned(Box<GuestSession>, String),
    /// It failed; the transaction is rolled back.
    Failed(Failure),
    /// It must be run again.
    Again,
    /// It must be run again when the database is better, for this reason.
    Wait(String),
}

/// Postgres aborts a transaction at its first error. A body that returns `Ok` all the same has not noticed, and its
/// commit would be a rollback.
fn failed_before(first: &SqlFailure) -> Failure {
    let mut failure = sql_failure(first);
    failure.message = format!(
        "the body returned `Ok` although a statement had failed, and nothing of it can be committed: {}",
        failure.message
    );
    failure
}

fn sql_failure(failure: &SqlFailure) -> Failure {
    let data = serde_json::json!({
        "detail": failure.detail, "hint": failure.hint, "constraint": failure.constraint, "position": failure.position,
    });
    Failure { data: Some(data), ..Failure::sql(&failure.code, failure.message.clone()) }.limited(MAX_PAYLOAD)
}

async fn wait_before(run: u32) {
    let wait = doubled(FIRST_WAIT, run.saturating_sub(1), LONGEST_WAIT);
    let jitter = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0;
    tokio::time::sleep(wait.mul_f64(0.5 + jitter / 2.0)).await;
}

//! What the host keeps for one instance: its phase, its log, and the state behind WASI.

use std::collections::VecDeque;
use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_http::WasiHttpCtx;

use super::arguments::invalid;
use super::gate::{Gate, no_such_workflow};
use super::interrupt::Interrupt;
use super::log::GuestLog;
use super::outbound::Outbound;
use super::processor::Processor;
use super::random::Seeds;
use super::services::{Program, Services, StartRequest, StartedRun};
use super::streams::ReadAhead;
use super::unsettled::Behind;
use super::wasi;
use crate::database::{GuestSession, Outcome};
use crate::workflow::{Code, Failure, StepNumber, TraceContext, WorkflowId};

/// The phase of an instance, with what its calls work on.
#[derive(Debug)]
pub enum Phase {
    /// Says what the app has; may call nothing.
    Describe,
    /// Answers one request.
    Handler(HandlerCalls),
    /// Is a run.
    Workflow(Box<Gate>),
    /// Is one attempt of a transaction.
    Transaction(Box<TransactionCalls>),
    /// Is one attempt of a communicator.
    Communicator(CommunicatorCalls),
}

impl Phase {
    /// The run that the instance works for.
    pub(super) fn run(&self) -> Option<&WorkflowId> {
        match self {
            Self::Describe | Self::Handler(_) => None,
            Self::Workflow(gate) => Some(gate.run()),
            Self::Transaction(calls) => calls.run.as_ref(),
            Self::Communicator(calls) => Some(&calls.run),
        }
    }
}

/// A handler's calls (lifetime: one request).
pub struct HandlerCalls {
    /// What runs things.
    pub services: Arc<dyn Services>,
    /// The component.
    pub program: Program,
    /// The request's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The name of the route that it answers.
    pub(super) route: String,
    /// How many runs the handler has started.
    pub started: u32,
    /// How many messages it has sent. Not counted with the runs: whether there is one more of these must not change the ids
    /// of those.
    pub(super) sent: u32,
    /// What it has read of a stream and not asked for yet.
    pub(super) ahead: Option<ReadAhead>,
    /// What is heard of the runs that it has started and not asked for yet, the newest last.
    pub(super) heard: VecDeque<StartedRun>,
    /// The trace that the request belongs to.
    pub trace: Option<TraceContext>,
}

impl std::fmt::Debug for HandlerCalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandlerCalls").field("started", &self.started).finish_non_exhaustive()
    }
}

/// Runs of one handler that are listened for. Of others the database tells.
const MOST_HEARD: usize = 100;

impl HandlerCalls {
    /// The calls of a handler that has done nothing yet.
    #[must_use]
    pub fn new(
        services: Arc<dyn Services>,
        program: Program,
        (route, idempotency_key): (&str, Option<String>),
        trace: Option<TraceContext>,
    ) -> Self {
        Self {
            services,
            program,
            idempotency_key,
            route: route.to_owned(),
            started: 0,
            sent: 0,
            ahead: None,
            heard: VecDeque::new(),
            trace,
        }
    }

    /// Starts a run and listens for its end.
    pub(super) async fn begin(&mut self, request: StartRequest) -> Result<WorkflowId, Failure> {
        let started = self.services.start(&self.program, request).await?;
        let id = started.id.clone();
        if self.heard.len() >= MOST_HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back(started);
        Ok(id)
    }

    /// The result of a run, however long it takes.
    pub(super) async fn end_of(&mut self, run: &WorkflowId) -> Result<String, Failure> {
        let at = self.heard.iter().position(|started| started.id == *run);
        let outcome = match at.and_then(|at| self.heard.remove(at)) {
            Some(started) => started.ended.await,
            None => self.services.outcome(run).await,
        };
        match outcome {
            Some(Outcome::Success(json)) => Ok(json),
            Some(Outcome::Failed(_, failure)) => Err(failure),
            None => Err(no_such_workflow(run.as_str())),
        }
    }

    /// The id for the next run that the handler starts without choosing one: `<Idempotency-Key>-<n>`, so that a request
    /// sent twice starts each of its runs once; without a key, a fresh one.
    pub(super) fn next_id(&mut self) -> Result<Option<WorkflowId>, Failure> {
        self.started += 1;
        let Some(key) = &self.idempotency_key else { return Ok(None) };
        let id = WorkflowId::parse(&format!("{key}-{}", self.started));
        id.map(Some).map_err(|error| invalid(Code("invalid_id"), &error))
    }
}

/// A transaction's calls (lifetime: one attempt).
#[derive(Debug)]
pub struct TransactionCalls {
    /// The open database transaction. The executor takes it back when the body has returned.
    pub session: GuestSession,
    /// The run; none for a read-only transaction of a handler.
    pub run: Option<WorkflowId>,
}

/// A communicator's calls (lifetime: one attempt).
#[derive(Debug)]
pub struct CommunicatorCalls {
    /// The run.
    pub run: WorkflowId,
    /// The step.
    pub step: StepNumber,
    /// How many keys were asked for in this attempt.
    pub keys: u32,
    /// The trace that the run belongs to.
    pub trace: Option<TraceContext>,
    /// What must be durable before a request leaves, if that is not known.
    pub behind: Option<Behind>,
}

impl CommunicatorCalls {
    /// Waits until a request may leave.
    ///
    /// # Errors
    /// When the run is to be given up.
    pub(super) async fn clear(&mut self) -> Result<(), Interrupt> {
        if let Some(behind) = &self.behind {
            behind.clear().await?;
            self.behind = None;
        }
        Ok(())
    }
}

/// What an instance may have open at once in the interfaces of WASI: requests, their bodies, streams, headers, what can be
/// waited for. A request has about ten of them while it is on its way, so a hundred can be at once; an entry holds at
/// most [`MAX_HEADERS`] of the host's memory, or two pieces of a body ([`super::outbound::BODY_PIECE`]).
const MAX_RESOURCES: usize = 1_000;

/// The headers of one request or answer, in bytes as the host keeps them: four times what most servers take.
pub const MAX_HEADERS: usize = 32 * 1024;

/// The host's side of one instance.
pub struct Guest {
    phase: Phase,
    processor: Processor,
    pub(super) log: GuestLog,
    pub(super) table: ResourceTable,
    pub(super) wasi: WasiCtx,
    pub(super) http: WasiHttpCtx,
    pub(super) outbound: Outbound,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Guest {
    /// An instance's host side in the phase `Describe`: no environment, no network.
    #[must_use]
    pub fn describing(log: GuestLog) -> Self {
        Self::with_wasi(Phase::Describe, wasi::closed(&log), log, Outbound::none())
    }

    /// A handler or a step: real clock and randomness, the app's environment; network for a communicator only.
    #[must_use]
    pub fn acting(phase: Phase, log: GuestLog, env: &[(String, String)], outbound: &Outbound) -> Self {
        let outbound = if matches!(phase, Phase::Communicator(_)) { outbound.clone() } else { Outbound::none() };
        Self::with_wasi(phase, wasi::acting(&log, env), log, outbound)
    }

    /// A workflow: its clock is workflow time, its randomness comes from `seeds`, it has no environment and no network.
    #[must_use]
    pub fn deterministic(gate: Gate, log: GuestLog, time: crate::workflow::WorkflowTime, seeds: &Seeds) -> Self {
        let wasi = wasi::deterministic(&log, time, seeds, &gate.taken());
        Self::with_wasi(Phase::Workflow(Box::new(gate)), wasi, log, Outbound::none())
    }

    fn with_wasi(phase: Phase, wasi: WasiCtx, log: GuestLog, outbound: Outbound) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_HEADERS);
        Self { phase, processor: Processor::default(), log, table, wasi, http, outbound }
    }

    /// The phase, for a call that does something. It begins among those that answer requests, not among those that
    /// compute: there, an instance that was given up could still begin an effect.
    pub(super) async fn act(&mut self) -> &mut Phase {
        self.processor.foreground().await;
        &mut self.phase
    }

    /// The answer of a call that does something, as it crosses. If it did, the guest's processor time is counted anew.
    pub(super) fn answered<T, F, E: From<F>>(&self, answer: Result<T, F>) -> wasmtime::Result<Result<T, E>> {
        if answer.is_ok() {
            self.processor.start_anew();
        }
        Ok(answer.map_err(E::from))
    }

    /// The phase, for what the host only notes down: nothing begins by it.
    pub(super) fn phase_mut(&mut self) -> &mut Phase {
        &mut self.phase
    }

    /// The phase.
    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The guest's processor time.
    #[must_use]
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// The log of the instance.
    #[must_use]
    pub fn log(&self) -> &GuestLog {
        &self.log
    }

    /// Gives up the host's side and returns the phase: a transaction's session lives on after its body.
    #[must_use]
    pub fn into_phase(self) -> Phase {
        self.phase
    }

    /// The gate, in a workflow.
    pub fn gate(&mut self) -> Option<&mut Gate> {
        match &mut self.phase {
            Phase::Workflow(gate) => Some(gate),
            _ => None,
        }
    }
}

/// A call's answer, or the interrupt that unwinds the guest.
pub(super) fn unwind<T>(answer: Result<T, Interrupt>) -> wasmtime::Result<T> {
    answer.map_err(wasmtime::Error::new)
}

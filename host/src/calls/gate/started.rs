//! A started step, from its turn to its record.
//!
//! It runs beside its workflow and beside its siblings, so it owns all it needs. What its arguments were made from is what the
//! run had open when it began: a transaction waits for that before its body, as its record must not be written without it; a
//! communicator waits before its first request. What siblings add meanwhile is none of its concern.
//!
//! A step waits for its turn in its group, then in its run, then for a slot of the host, and holds nothing but what it has
//! of these: nobody in front of it waits for what it holds.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::handles::Ended;
use crate::calls::chain::Chain;
use crate::calls::interrupt::Interrupt;
use crate::calls::log::GuestLog;
use crate::calls::services::{Commit, Program, Services, StepCall};
use crate::calls::unsettled::Behind;
use crate::database::{Claim, NewRecord, NewUndo};
use crate::failpoint;
use crate::workflow::{Budget, OperationDigest, StepNumber, TraceContext};

/// A step to be run beside its workflow.
#[derive(Debug)]
pub(super) struct StartedCall {
    pub(super) claim: Claim,
    pub(super) program: Program,
    pub(super) number: StepNumber,
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) digest: OperationDigest,
    pub(super) trace: Option<TraceContext>,
    /// It is a transaction that may write.
    pub(super) may_write: bool,
    /// What undoes it.
    pub(super) undo: Option<String>,
    pub(super) group: Option<Arc<Semaphore>>,
    /// A replay has held it.
    pub(super) was_held: bool,
}

/// What it shares with its run.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) services: Arc<dyn Services>,
    pub(super) chain: Chain,
    pub(super) budget: Budget,
    pub(super) log: GuestLog,
    pub(super) at_once: Arc<Semaphore>,
    /// What must be durable before anything leaves it.
    pub(super) behind: Option<Behind>,
}

impl StartedCall {
    /// Runs the step until its record is durable or in the chain.
    ///
    /// # Errors
    /// When the run is to be given up.
    pub(super) async fn run(self, shared: Shared) -> Result<Ended, Interrupt> {
        let Shared { services, chain, budget, log, at_once, mut behind } = shared;
        let _place_in_group = match &self.group {
            Some(group) => Some(group.acquire().await.expect("the semaphores are never closed")),
            None => None,
        };
        let _turn = at_once.acquire().await.expect("the semaphores are never closed");
        if self.was_held {
            failpoint::hit("parallel.released").await;
        }
        // Asked here and not only where the step was started: thousands may have been started before the first result came.
        budget.check(self.number).map_err(Interrupt::Exhausted)?;
        chain.not_full().await?;
        if (self.may_write || self.undo.is_some())
            && let Some(behind) = behind.take()
        {
            behind.clear().await?;
        }
        services.may_act(&self.claim).await?;
        if let Some(undo) = &self.undo {
            let (claim, step, arguments) = (&self.claim, self.name.as_str(), self.arguments.as_str());
            services.register_undo(NewUndo { claim, number: self.number, step, undo, arguments }).await?;
        }
        failpoint::hit("parallel.before_effect").await;
        let call = StepCall {
            claim: &self.claim,
            program: &self.program,
            number: self.number,
            name: &self.name,
            arguments: &self.arguments,
            digest: self.digest,
            trace: self.trace,
            start: None,
            behind: behind.as_ref(),
            undo: self.undo.as_deref(),
            log: &log,
        };
        let end = services.run_step(call).await?;
        failpoint::hit("parallel.after_effect").await;
        budget.recorded(&end.result);
        let (result, completed_at) = (end.result.clone(), end.completed_at);
        let place = match end.commit {
            Commit::Done => None,
            Commit::Ahead(_) => unreachable!("a started step carries no start"),
            Commit::Journal => {
                let record = NewRecord {
                    claim: self.claim,
                    app: self.program.app,
                    step: self.number,
                    name: self.name,
                    digest: Some(self.digest),
                    result: end.result,
                    child: None,
                    started_at: end.started_at,
                    completed_at,
                    effect: None,
                };
                Some(chain.append(services.journal(), record).await?)
            }
        };
        Ok(Ended { result, completed_at, place })
    }
}

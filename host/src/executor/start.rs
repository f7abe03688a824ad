//! Starting a run because somebody asked for it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::backlog::{Place, Waiting};
use super::difference::{Difference, difference};
use super::registry::News;
use super::{App, Executor};
use crate::calls::{Fate, Program, StartRequest, Withheld, Withholding};
use crate::database::{Entry, Existing, JournalClosed, Landed, NewRun, TakenRun, until_answered};
use crate::failpoint;
use crate::workflow::{Arguments, ArgumentsError, Failure, StepKind, WorkflowId};

/// The pause before a start is prepared again under the identity that this process has got in the meantime.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// How long a transaction may carry the start of a workflow. It may wait for a lock, or for a connection that cannot be had;
/// nobody sees the run meanwhile, and whoever asked may want no more than an acknowledgement by now. So the transaction is
/// undone, and the run begins again with a start that is written at once.
const LONGEST_CARRIED: Duration = Duration::from_secs(5);

/// A run that was asked for.
#[derive(Debug)]
pub struct Started {
    /// Its id. Its start is durable: it runs to its end, whatever crashes.
    pub id: WorkflowId,
    /// What this process hears of it, if it drives it.
    pub(super) news: Option<watch::Receiver<News>>,
}

/// What came of a start.
pub(super) struct NewOrFound {
    /// The run as it was to be started.
    pub(super) new: NewRun,
    /// The run that has its id.
    pub(super) existing: Option<Existing>,
    /// What this process hears of it, if it drives it.
    pub(super) news: Option<watch::Receiver<News>>,
}

/// Why a run was not started.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StartError {
    /// The id belongs to another call.
    #[error("the workflow id `{id}` is taken by {difference}")]
    Conflict {
        /// The id.
        id: WorkflowId,
        /// What is different in the call that has it.
        difference: Difference,
    },
    /// The arguments do not fit the workflow.
    #[error(transparent)]
    Unfit(ArgumentsError),
    /// The start could not be written.
    #[error("{0}")]
    Refused(Failure),
    /// As many runs wait for an instance as may. Nothing was written.
    #[error("as many workflows wait for their turn as the host allows; nothing was started, try again")]
    TooManyWaiting,
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

impl Executor {
    /// Starts a workflow of `app` for a caller who knows what it wants: under an id that exists already, the name and the
    /// arguments must be the same.
    ///
    /// # Errors
    /// When the arguments do not fit, the id belongs to another call, too many wait, or the host is shutting down. Nothing is
    /// written.
    pub async fn start_workflow(&self, app: &Arc<App>, request: StartRequest) -> Result<Started, StartError> {
        let program = app.program(&app.current());
        let (name, arguments) = (request.name.clone(), request.arguments.clone());
        let place = self.backlog.try_enter().ok_or(StartError::TooManyWaiting)?;
        let NewOrFound { new, existing, news } = self.start_or_find(&program, request, place).await?;
        let id = new.claim().run().clone();
        match existing.and_then(|existing| difference(&existing, &name, &arguments)) {
            None => Ok(Started { id, news }),
            Some(difference) => Err(StartError::Conflict { id, difference }),
        }
    }

    /// Starts a run, or finds the one that has its id. In a task of its own: a caller that goes away between the write
    /// and the driving (a client that hangs up) must not leave a run that nobody drives. It waits for its instance in `place`.
    pub(super) async fn start_or_find(
        &self,
        program: &Program,
        request: StartRequest,
        place: Place,
    ) -> Result<NewOrFound, StartError> {
        let (executor, program) = (self.this(), program.clone());
        let started = tokio::spawn(async move {
            check_arguments(&program, &request).map_err(StartError::Unfit)?;
            let id = request.id.clone().unwrap_or_else(fresh_id);
            let (mut place, mut is_first) = (Some(place), true);
            loop {
                // The first place went with the run that was given up.
                let own = place.take().or_else(|| executor.backlog.try_enter());
                let may_withhold = is_first && request.is_awaited;
                if let Some(end) = executor.try_start(&program, (&id, &request), own, may_withhold).await {
                    // A commit that was under way when its run was given up has landed by now, or never will.
                    if !is_first {
                        executor.doubt();
                    }
                    return end;
                }
                is_first = false;
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
        });
        started.await.unwrap_or(Err(StartError::ShuttingDown))
    }

    /// `None`: this process is another incarnation by now, a start that was withheld was not written, or the run that was
    /// met is gone; once more.
    async fn try_start(
        &self,
        program: &Program,
        (id, request): (&WorkflowId, &StartRequest),
        place: Option<Place>,
        may_withhold: bool,
    ) -> Option<Result<NewOrFound, StartError>> {
        if self.is_stopping() {
            return Some(Err(StartError::ShuttingDown));
        }
        self.lease.held().await;
        let new = self.prepare_run(program, id.clone(), &request.name, request.arguments.clone());
        let mut new = new.on(request.terms.clone(), None);
        new.trace = request.trace;
        failpoint::hit("start.prepared").await;
        let waiting = place.and_then(|place| self.backlog.keep_arguments(place, new.input_bytes()));
        let (fate, news) = self.write_start(program, &new, may_withhold, waiting).await;
        match fate {
            Fate::Landed(Landed::Written) => Some(Ok(NewOrFound { new, existing: None, news })),
            Fate::Landed(Landed::Exists) => match self.existing(&new).await {
                Some(existing) if !existing.is_this_start => {
                    Some(Ok(NewOrFound { new, existing: Some(existing), news: None }))
                }
                // The run that was met is gone since: somebody has removed it. Nothing was started, so once more.
                None => None,
                // The answer to this very start was lost, and it was sent again. Whoever looked in the meantime has found
                // the run and may have driven it, even to its end: only its records tell.
                Some(_) => {
                    let claim = new.claim().clone();
                    self.drive_taken(&TakenRun { claim, attempts: 1, sleeps_until: None });
                    Some(Ok(NewOrFound { new, existing: None, news: None }))
                }
            },
            Fate::Landed(Landed::Refused(failure)) => Some(Err(StartError::Refused(failure))),
            // Nothing was acknowledged: whatever the withheld start has come to, the key decides.
            Fate::Landed(Landed::NotOwner) | Fate::Abandoned => None,
            Fate::Landed(Landed::Nobody | Landed::Received(_)) => unreachable!("a start is no message"),
            Fate::Closed => Some(Err(StartError::ShuttingDown)),
        }
    }

    /// Writes a start and drives its run, which may begin before the start is durable. One that is to wait without its
    /// arguments has to be written first, and one whose id this process has.
    async fn write_start(
        &self,
        program: &Program,
        new: &NewRun,
        may_withhold: bool,
        waiting: Option<Waiting>,
    ) -> (Fate, Option<watch::Receiver<News>>) {
        let run = new.claim().run();
        self.meet(run).await;
        let start = match &waiting {
            Some(_) => self.begin_start(program, new, may_withhold).await,
            None => Ok(None),
        };
        let start = match start {
            Ok(start) => start,
            Err(closed) => return (Err(closed).into(), None),
        };
        let Some(start) = start else {
            let fate = Fate::from(self.journal.write(Entry::Start(Box::new(new.clone()))).await);
            let news = if fate.is_written() { self.drive_new(new, None, waiting) } else { None };
            return (fate, news);
        };
        let is_journaled = start.ticket().is_some();
        if !is_journaled {
            failpoint::hit("start.withheld").await;
        }
        let news = self.drive_new(new, Some(Withholding(Arc::clone(&start))), waiting);
        let fate = if is_journaled { start.fate().await } else { self.carried(new, &start).await };
        if !fate.is_written() {
            // Its task may compute for long before it finds out.
            self.runs.give_up(new.claim());
        }
        self.withheld().remove(run);
        if news.is_none() && fate.is_written() {
            // Another run under this id came in between, and was not there.
            self.drive_taken(&TakenRun { claim: new.claim().clone(), attempts: 1, sleeps_until: None });
        }
        (fate, news)
    }

    /// Withholds a start, or gives it to the journal. `None`: there is something under its id in this process.
    async fn begin_start(
        &self,
        program: &Program,
        new: &NewRun,
        may_withhold: bool,
    ) -> Result<Option<Arc<Withheld>>, JournalClosed> {
        let run = new.claim().run();
        let withholds = may_withhold && new.may_be_carried() && self.is_one_transaction(program, &new.name);
        let room = if withholds { None } else { Some(self.journal.room(run).await?) };
        // Arguments may be large, and nobody else is to wait while they are copied.
        let new = new.clone();
        let mut others = self.withheld();
        if others.contains_key(run) || self.runs.claim_of(run).is_some() {
            return Ok(None);
        }
        let start = match room {
            Some(room) => Withheld::journaled(new, room),
            None => Withheld::held(new, self.journal.clone()),
        };
        others.insert(run.clone(), Arc::clone(&start));
        Ok(Some(start))
    }

    /// The fate of a start that is withheld. It is not withheld for long, and not carried for ever.
    async fn carried(&self, new: &NewRun, withheld: &Arc<Withheld>) -> Fate {
        if let Ok(fate) = tokio::time::timeout(self.put_off, withheld.fate()).await {
            return fate;
        }
        // A handler that calls a step wants its result, however long that takes.
        if withheld.wait_no_longer() || new.name.starts_with("temp:") {
            return withheld.fate().await;
        }
        if let Ok(fate) = tokio::time::timeout(LONGEST_CARRIED.max(self.put_off), withheld.fate()).await {
            return fate;
        }
        // The journal has it if the transaction has failed in the meantime. If its commit is under way, the key decides.
        if withheld.wait_no_longer() {
            return withheld.fate().await;
        }
        self.runs.give_up(new.claim());
        let fate = withheld.fate().await;
        // It was written all the same, and nobody drives it.
        self.doubt();
        fate
    }

    /// Whether a run is likely to be one transaction.
    fn is_one_transaction(&self, program: &Program, name: &str) -> bool {
        match name.strip_prefix("temp:") {
            Some(step) => program
                .manifest
                .step(step)
                .is_some_and(|step| matches!(step.kind, StepKind::Transaction { read_only: false, .. })),
            None => {
                self.apps.get(&program.app).is_some_and(|app| app.habits().is_one_transaction(&program.digest, name))
            }
        }
    }

    /// Waits until a start that is withheld under this id in this process is written, or not.
    async fn meet(&self, id: &WorkflowId) {
        let other = self.withheld().get(id).map(Arc::clone);
        if let Some(other) = other {
            other.wait_no_longer();
            other.fate().await;
        }
    }

    /// The runs whose starts are not written yet.
    pub(super) fn unwritten(&self) -> HashSet<WorkflowId> {
        let starts = self.withheld();
        starts.iter().filter(|(_, start)| !start.is_written()).map(|(run, _)| run.clone()).collect()
    }

    /// The starts that were not written when they came in here.
    pub(super) fn withheld(&self) -> MutexGuard<'_, HashMap<WorkflowId, Arc<Withheld>>> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn existing(&self, new: &NewRun) -> Option<Existing> {
        until_answered("read a workflow", || self.database.existing_run(new)).await
    }

    pub(super) fn prepare_run(&self, program: &Program, id: WorkflowId, name: &str, arguments: Arguments) -> NewRun {
        let identity = self.identity();
        let now = self.clock.now();
        NewRun::new(
            id,
            &identity.incarnation,
            &identity.executor,
            (&program.app, &program.digest),
            (name, arguments, now),
        )
    }
}

/// A new id, unlike every other and later than the ones before it: keys in the order of time keep index pages warm.
#[must_use]
pub fn fresh_id() -> WorkflowId {
    WorkflowId::stored(&uuid::Uuid::now_v7().to_string())
}

/// The arguments against the parameters of the workflow, or of the step that is to be a workflow of its own.
fn check_arguments(program: &Program, request: &StartRequest) -> Result<(), ArgumentsError> {
    let manifest = &program.manifest;
    let parameters = match request.name.strip_prefix("temp:") {
        Some(step) => manifest.step(step).map(|step| &step.parameters),
        None => manifest.workflow(&request.name).map(|workflow| &workflow.parameters),
    };
    parameters.map_or(Ok(()), |parameters| request.arguments.check(parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_are_ordered_by_time() {
        let ids: Vec<_> = (0..100).map(|_| fresh_id()).collect();
        assert!(ids.is_sorted());
    }
}

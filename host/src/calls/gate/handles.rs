//! The steps that a run has started: which of them are held, which run, and how the others have ended.
//!
//! Problem: a guest has one thread, and its steps are to run side by side. So each runs in a task, and the guest holds a number
//! for it. A task that ends is heard of here, in whatever the gate waits for; one whose run is lost or stops ends the
//! instance in the same place. When the instance goes, so do its tasks: sessions are rolled back, requests are given up.
//!
//! This module must not know records, nor what a task does.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id, JoinSet};

use super::started::StartedCall;
use crate::calls::chain::Place;
use crate::calls::interrupt::Interrupt;
use crate::workflow::{Code, EpochMs, Failure, OperationDigest, RecordedResult, StepNumber};

/// Handles that are not joined yet. Each costs a task while its step runs, about two kibibytes, and its arguments.
const MAX_HANDLES: usize = 10_000;

/// The arguments of their steps, in bytes of JSON: as much as the results of a whole run may have.
const MAX_ARGUMENTS: usize = 64 * 1024 * 1024;

/// Groups that are kept although no step of theirs is left. Making one again costs less than a look at this many.
const MAX_IDLE_GROUPS: usize = 1_000;

/// How a started step ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) result: RecordedResult,
    pub(super) completed_at: EpochMs,
    /// The place of its record in the chain. None: the record is durable.
    pub(super) place: Option<Place>,
}

/// Where a started step is.
#[derive(Debug)]
enum State {
    /// A replay has come past its start, and has more to say.
    Held(Box<StartedCall>),
    Running(AbortHandle),
    /// It was cancelled, and has no record yet.
    Aborted,
    Ended(Ended),
}

/// What a step was called as, for its record.
#[derive(Debug, Clone)]
pub(super) struct Called {
    pub(super) name: String,
    pub(super) digest: OperationDigest,
    /// The size of its arguments.
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Handle {
    called: Called,
    state: State,
}

/// The started steps of one run that are not joined yet (lifetime: one instance).
#[derive(Debug)]
pub(super) struct Handles {
    steps: BTreeMap<StepNumber, Handle>,
    /// The steps that were held, in their order. Some of them may be cancelled by now.
    held: Vec<StepNumber>,
    running: JoinSet<(StepNumber, Result<Ended, Interrupt>)>,
    tasks: HashMap<Id, StepNumber>,
    bytes: usize,
    groups: HashMap<u32, Arc<Semaphore>>,
    /// How many of them may run at once.
    pub(super) at_once: Arc<Semaphore>,
}

impl Handles {
    /// Nothing is started yet.
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            steps: BTreeMap::new(),
            held: Vec::new(),
            running: JoinSet::new(),
            tasks: HashMap::new(),
            bytes: 0,
            groups: HashMap::new(),
            at_once: Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    /// Whether there is room for one more. It depends on the guest's own calls only, so it is the same in each replay.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), Failure> {
        let text = if self.steps.len() >= MAX_HANDLES {
            format!("the workflow has {MAX_HANDLES} started steps that it has not joined, which is the limit")
        } else if self.bytes.saturating_add(bytes) > MAX_ARGUMENTS {
            format!("the arguments of started steps that are not joined have more than {MAX_ARGUMENTS} bytes together")
        } else {
            return Ok(());
        };
        let text = format!("{text}\n  hint: join some before more are started");
        Err(Failure::new("Limit", Code("too_many_handles"), text).not_retryable())
    }

    /// The bound of a group.
    pub(super) fn group(&mut self, number: u32, at_once: u32) -> Arc<Semaphore> {
        if self.groups.len() >= MAX_IDLE_GROUPS {
            self.groups.retain(|_, group| Arc::strong_count(group) > 1);
        }
        let permits = usize::try_from(at_once).unwrap_or(Semaphore::MAX_PERMITS).clamp(1, Semaphore::MAX_PERMITS);
        Arc::clone(self.groups.entry(number).or_insert_with(|| Arc::new(Semaphore::new(permits))))
    }

    /// The steps that run.
    pub(super) fn running(&self) -> impl Iterator<Item = StepNumber> {
        let is_running = |handle: &Handle| matches!(handle.state, State::Running(_));
        self.steps.iter().filter(move |(_, handle)| is_running(handle)).map(|(number, _)| *number)
    }

    fn insert(&mut self, number: StepNumber, called: Called, state: State) {
        self.bytes = self.bytes.saturating_add(called.bytes);
        self.steps.insert(number, Handle { called, state });
    }

    /// Takes in a step that is recorded.
    pub(super) fn insert_ended(&mut self, number: StepNumber, called: Called, ended: Ended) {
        self.insert(number, called, State::Ended(ended));
    }

    /// Takes in a step that must not begin yet.
    pub(super) fn insert_held(&mut self, number: StepNumber, called: Called, call: StartedCall) {
        self.insert(number, called, State::Held(Box::new(call)));
        self.held.push(number);
    }

    /// Takes in a step that runs.
    pub(super) fn insert_running(
        &mut self,
        number: StepNumber,
        called: Called,
        step: impl Future<Output = Result<Ended, Interrupt>> + Send + 'static,
    ) {
        let state = self.spawn(number, step);
        self.insert(number, called, state);
    }

    fn spawn(
        &mut self,
        number: StepNumber,
        step: impl Future<Output = Result<Ended, Interrupt>> + Send + 'static,
    ) -> State {
        let task = self.running.spawn(async move { (number, step.await) });
        self.tasks.insert(task.id(), number);
        State::Running(task)
    }

    /// Lets the held steps begin, as `begin` makes them.
    pub(super) fn release<F>(&mut self, begin: impl Fn(StartedCall) -> F)
    where
        F: Future<Output = Result<Ended, Interrupt>> + Send + 'static,
    {
        for number in std::mem::take(&mut self.held) {
            let Some(handle) = self.steps.get_mut(&number) else { continue };
            match std::mem::replace(&mut handle.state, State::Aborted) {
                State::Held(call) => {
                    let state = self.spawn(number, begin(*call));
                    self.set(number, state);
                }
                other => handle.state = other,
            }
        }
    }

    /// True while steps are held.
    pub(super) fn are_held(&self) -> bool {
        !self.held.is_empty()
    }

    fn set(&mut self, number: StepNumber, state: State) {
        if let Some(handle) = self.steps.get_mut(&number) {
            handle.state = state;
        }
    }

    /// The step of a handle that is not joined yet.
    pub(super) fn find(&self, handle: u32) -> Result<StepNumber, Failure> {
        let number = i32::try_from(handle).ok().map(StepNumber::stored);
        number.filter(|number| self.steps.contains_key(number)).ok_or_else(|| {
            let text = format!("there is no started step `{handle}`, or it was joined or cancelled before");
            Failure::new("Error", Code("no_such_handle"), text).not_retryable()
        })
    }

    /// How a step ended, if it has.
    pub(super) fn ended(&self, number: StepNumber) -> Option<&Ended> {
        match &self.steps.get(&number)?.state {
            State::Ended(ended) => Some(ended),
            State::Held(_) | State::Running(_) | State::Aborted => None,
        }
    }

    /// What a step was called as.
    pub(super) fn called(&self, number: StepNumber) -> Option<&Called> {
        self.steps.get(&number).map(|handle| &handle.called)
    }

    /// A step that was cancelled has its record.
    pub(super) fn end(&mut self, number: StepNumber, ended: Ended) {
        self.set(number, State::Ended(ended));
    }

    /// Gives up the handle of a step that has ended.
    pub(super) fn take(&mut self, number: StepNumber) -> Option<Ended> {
        let handle = self.steps.remove(&number)?;
        self.bytes -= handle.called.bytes;
        match handle.state {
            State::Ended(ended) => Some(ended),
            State::Held(_) | State::Running(_) | State::Aborted => None,
        }
    }

    /// True while the task of a step runs.
    pub(super) fn are_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Returns when a step has ended. Without one that runs, it never does. Nothing is lost if it is dropped before.
    ///
    /// # Errors
    /// When the instance must be given up.
    pub(super) async fn next(&mut self) -> Result<(), Interrupt> {
        let Some(joined) = self.running.join_next_with_id().await else { return pending().await };
        let id = joined.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        let number = self.tasks.remove(&id);
        let state = match joined {
            Ok((_, (_, end))) => State::Ended(end?),
            Err(error) if error.is_cancelled() => State::Aborted,
            Err(error) => {
                tracing::error!("the task of a step has panicked: {error}");
                return Err(Interrupt::Reload);
            }
        };
        if let Some(number) = number {
            self.set(number, state);
        }
        Ok(())
    }

    /// Waits for something else, and hears of steps meanwhile.
    ///
    /// # Errors
    /// When the instance must be given up, for either.
    pub(super) async fn beside<T>(
        &mut self,
        other: impl Future<Output = Result<T, Interrupt>>,
    ) -> Result<T, Interrupt> {
        let mut other = pin!(other);
        match self.while_running(&mut other).await? {
            Some(end) => end,
            None => other.await,
        }
    }

    /// Waits for something else as long as steps run, and hears of them. `None`: none runs any more.
    ///
    /// # Errors
    /// When the instance must be given up.
    pub(super) async fn while_running<T>(&mut self, other: impl Future<Output = T>) -> Result<Option<T>, Interrupt> {
        let mut other = pin!(other);
        while self.are_running() {
            tokio::select! {
                biased;
                end = &mut other => return Ok(Some(end)),
                ended = self.next() => ended?,
            }
        }
        Ok(None)
    }

    /// Gives a step up, and returns when nothing more is done for it. It may have ended before.
    ///
    /// # Errors
    /// When the instance must be given up.
    pub(super) async fn abort(&mut self, number: StepNumber) -> Result<(), Interrupt> {
        match self.steps.get_mut(&number).map(|handle| &mut handle.state) {
            Some(State::Running(task)) => task.abort(),
            Some(state @ State::Held(_)) => *state = State::Aborted,
            Some(State::Aborted | State::Ended(_)) | None => {}
        }
        while matches!(self.steps.get(&number), Some(Handle { state: State::Running(_), .. })) {
            self.next().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    fn called() -> Called {
        Called { name: "step".into(), digest: OperationDigest([0; 8]), bytes: 2 }
    }

    fn ended(text: &str) -> Ended {
        Ended { result: RecordedResult::Output(text.into()), completed_at: EpochMs(1), place: None }
    }

    #[tokio::test]
    async fn a_step_that_has_ended_is_not_aborted() {
        let mut handles = Handles::new(1);
        let number = StepNumber::FIRST;
        handles.insert_running(number, called(), ready(Ok(ended("1"))));
        handles.next().await.expect("the step ends");
        handles.abort(number).await.expect("there is nothing to give up");
        assert_eq!(handles.ended(number), Some(&ended("1")));
        assert_eq!(handles.take(number), Some(ended("1")));
        assert!(handles.find(1).is_err(), "its handle is used up");
    }

    #[tokio::test]
    async fn a_step_that_runs_is_gone_when_it_was_aborted() {
        let mut handles = Handles::new(1);
        let (number, kept) = (StepNumber::FIRST, Arc::new(()));
        let held = Arc::clone(&kept);
        handles.insert_running(number, called(), async move {
            let _held = held;
            pending().await
        });
        handles.abort(number).await.expect("it is given up");
        assert_eq!((handles.ended(number), Arc::strong_count(&kept)), (None, 1));
        assert!(!handles.are_running());
    }

    #[tokio::test]
    async fn what_ends_a_step_without_a_result_ends_the_instance() {
        let mut handles = Handles::new(1);
        handles.insert_running(StepNumber::FIRST, called(), ready(Err(Interrupt::Lost)));
        assert_eq!(handles.beside(pending::<Result<(), Interrupt>>()).await, Err(Interrupt::Lost));
        handles.insert_running(StepNumber::FIRST, called(), async { panic!("a bug") });
        assert_eq!(handles.next().await, Err(Interrupt::Reload));
    }

    #[test]
    fn a_group_without_steps_is_forgotten_when_there_are_many() {
        let mut handles = Handles::new(1);
        let kept = handles.group(0, 5);
        for number in 1..=u32::try_from(MAX_IDLE_GROUPS).expect("a small number") {
            handles.group(number, 1);
        }
        assert_eq!(handles.groups.len(), 2, "one that has steps, and the newest");
        assert_eq!((kept.available_permits(), handles.group(0, 1).available_permits()), (5, 5));
    }
}

//! Steps that run side by side.
//!
//! A workflow has one thread and is replayed call by call, so it cannot have threads of its own. It starts steps instead, each
//! of which runs in an instance of its own, and joins them. Steps are numbered by their starts, so a replay knows them again
//! whatever the order in which they end.

use std::{
    fmt,
    marker::PhantomData,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde::de::DeserializeOwned;

use crate::{Error, Result, arguments::decode_result, host, sleep::milliseconds};

/// As many started steps as the host lets a workflow have that are not joined.
const MAX_HANDLES: usize = 10_000;

/// A step that was started and not joined, and that returns a `T`. Available in workflows.
///
/// It comes from `start` of the type that stands beside each step: `reserve::start(order)?` for the step `reserve(order)`.
/// Dropping it changes nothing: the step runs to its end, and so does the workflow, which ends behind all steps that it has
/// started.
///
/// **What holds.** When `start` has returned, nothing is durable yet; the step has its number for ever, in the order of the
/// calls. The step takes effect as a call of it does: a transaction exactly once, a communicator at least once until its
/// result is recorded. After a crash, steps that are recorded are not run again, and those that are not begin anew, when the
/// workflow has come to the first thing that is not recorded.
#[must_use = "the step runs anyway, and its error is lost unless it is joined"]
pub struct Step<T> {
    handle: u32,
    name: &'static str,
    result: PhantomData<fn() -> T>,
}

impl<T> Step<T> {
    pub(crate) fn start(name: &'static str, arguments: &str, group: Option<Group>) -> Result<Self> {
        let group = group.map(|Group { number, at_once }| (number, at_once));
        let handle = host::start_step(name, arguments, group)?;
        Ok(Step { handle, name, result: PhantomData })
    }

    /// Waits for the end of the step and returns its result, or its error.
    ///
    /// It is the result that is recorded, now and in every replay, and it is durable before anything that this workflow does
    /// next leaves it.
    pub fn join(self) -> Result<T>
    where
        T: DeserializeOwned,
    {
        decode_result(self.name, &host::join_step(self.handle)?)
    }

    /// As [`Step::join`], for this long at most. Then the step is cancelled, and its error has the code `step_timed_out`: a
    /// transaction is rolled back; of a communicator nobody knows what it has done outside.
    ///
    /// The end of the wait is recorded before it begins: a crash does not start it anew. Whether the step has ended in time is
    /// decided once, by what is recorded of it first, and is the same in every replay.
    pub fn within(self, time: Duration) -> Result<T>
    where
        T: DeserializeOwned,
    {
        decode_result(self.name, &host::join_step_within(self.handle, milliseconds(time))?)
    }

    /// Cancels the step, unless it has ended: a transaction is rolled back; what a communicator has done outside stays done.
    /// Nothing more is done for it when this returns, and it is never run again.
    pub fn cancel(self) -> Result<()> {
        host::cancel_step(self.handle)
    }
}

impl<T> fmt::Debug for Step<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("number", &self.handle).field("name", &self.name).finish()
    }
}

/// Waits for all of these steps, and returns their results in the order of the list, or the first error in that order. No step
/// is left running, whatever the others have come to.
pub fn join_all<T: DeserializeOwned>(steps: impl IntoIterator<Item = Step<T>>) -> Result<Vec<T>> {
    let ended: Vec<Result<T>> = steps.into_iter().map(Step::join).collect();
    ended.into_iter().collect()
}

/// Waits until one of these steps has ended, and takes it out of the list; join it for its result. The others run on.
///
/// Which one it was is recorded, and is the same in every replay. At most 1,000 steps can be waited for at once.
pub fn select<T>(steps: &mut Vec<Step<T>>) -> Result<Step<T>> {
    first(steps, None)?.ok_or_else(|| Error::new("the host says that the time is over, and there was none"))
}

/// As [`select`], for this long at most. `None`: none of them has ended by then, which is recorded too.
pub fn select_within<T>(steps: &mut Vec<Step<T>>, time: Duration) -> Result<Option<Step<T>>> {
    first(steps, Some(milliseconds(time)))
}

/// As [`select`]; all but the one that has ended first are cancelled, as by [`Step::cancel`].
pub fn race<T>(steps: impl IntoIterator<Item = Step<T>>) -> Result<Step<T>> {
    let mut steps: Vec<Step<T>> = steps.into_iter().collect();
    let handles: Vec<u32> = steps.iter().map(|step| step.handle).collect();
    let place = host::select_step(&handles, None, true)?;
    take(&mut steps, place)?.ok_or_else(|| Error::new("the host says that the time is over, and there was none"))
}

fn first<T>(steps: &mut Vec<Step<T>>, milliseconds: Option<u64>) -> Result<Option<Step<T>>> {
    let handles: Vec<u32> = steps.iter().map(|step| step.handle).collect();
    let place = host::select_step(&handles, milliseconds, false)?;
    take(steps, place)
}

fn take<T>(steps: &mut Vec<Step<T>>, place: Option<u32>) -> Result<Option<Step<T>>> {
    let Some(place) = place.and_then(|place| usize::try_from(place).ok()) else { return Ok(None) };
    if place < steps.len() {
        Ok(Some(steps.remove(place)))
    } else {
        Err(Error::new("the host names no step of the list"))
    }
}

/// As [`Step::within`]: `timeout(Duration::from_secs(5), charge::start(order)?)`.
pub fn timeout<T: DeserializeOwned>(time: Duration, step: Step<T>) -> Result<T> {
    step.within(time)
}

/// A bound that several steps share. [`map`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    number: u32,
    at_once: u32,
}

impl Group {
    /// A group of which at most this many steps run at once; at least one.
    pub fn of(at_once: u32) -> Self {
        // An instance of a workflow has a count of its own, which is the same in every replay.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Group { number: NEXT.fetch_add(1, Ordering::Relaxed), at_once }
    }
}

/// Starts a step for each item, at most `at_once` of which run at a time, and returns all results in the order of the items.
///
/// ```no_run
/// use dbos_guest::prelude::*;
///
/// #[communicator]
/// fn charge(order: u64) -> Result<String> {
///     Ok(format!("receipt of {order}"))
/// }
///
/// #[workflow]
/// fn charge_all(orders: Vec<u64>) -> Result<usize> {
///     let receipts = map(orders, 20, charge::start_in)?;
///     Ok(receipts.iter().filter(|receipt| receipt.is_ok()).count())
/// }
/// ```
///
/// A step that fails does not end the others: each result is for itself. An error of the whole is one of `start`.
pub fn map<I, T: DeserializeOwned>(
    items: impl IntoIterator<Item = I>,
    at_once: u32,
    mut start: impl FnMut(Group, I) -> Result<Step<T>>,
) -> Result<Vec<Result<T>>> {
    let group = Group::of(at_once);
    let mut started = std::collections::VecDeque::new();
    let mut ended = Vec::new();
    for item in items {
        // Some handles are left to the rest of the workflow.
        if started.len() >= MAX_HANDLES / 2 {
            ended.extend(started.pop_front().map(Step::join));
        }
        started.push_back(start(group, item)?);
    }
    ended.extend(started.into_iter().map(Step::join));
    Ok(ended)
}

//! Runs that were started here and wait for their first instance.
//!
//! Problem: a start is acknowledged as soon as it is on disk, and the run then waits for a slot with its arguments in memory.
//! A client that starts more than the host can run would fill that memory, and all who come would wait behind what is
//! there. So there is a bound on how many wait. Whoever comes from outside when it is reached is turned away before
//! anything is written, and can come again. A guest cannot be turned away, since its replay must hear the same: a handler
//! waits until there is room; a child is started, and waits without its arguments like a run that was taken over, to be
//! loaded when its turn comes. (A parent that waited for room would keep its slot from the children that make room.)

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The arguments of all runs that wait, as they are stored, in KiB. In memory they are up to eight times as large; with more
/// than this, runs wait without them.
const ARGUMENTS_KIB: u32 = 64 * 1024;

/// The places for runs that wait (lifetime: the process).
#[derive(Debug)]
pub(super) struct Backlog {
    runs: Arc<Semaphore>,
    /// Half of the places.
    half: usize,
    arguments_kib: Arc<Semaphore>,
}

/// A place for a run, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

/// A place for a run and its arguments, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting(#[expect(dead_code, reason = "they are held")] (Place, OwnedSemaphorePermit));

impl Backlog {
    pub(super) fn new(runs: u32) -> Self {
        let semaphore = |count: u32| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(usize::MAX >> 4)));
        let runs = semaphore(runs);
        Self { half: runs.available_permits() / 2, runs, arguments_kib: semaphore(ARGUMENTS_KIB) }
    }

    /// A place. `None`: as many wait as may.
    pub(super) fn try_enter(&self) -> Option<Place> {
        Arc::clone(&self.runs).try_acquire_owned().ok().map(Place)
    }

    /// A place for a child, which can do without one: as long as half of them are free. A guest that starts children without
    /// end must not turn away everybody else.
    pub(super) fn try_enter_child(&self) -> Option<Place> {
        if self.runs.available_permits() > self.half { self.try_enter() } else { None }
    }

    /// A place, when there is one.
    pub(super) async fn enter(&self) -> Place {
        Place(Arc::clone(&self.runs).acquire_owned().await.expect("the semaphores are never closed"))
    }

    /// Room for the arguments of a run that has a place. `None`: it is to wait without them.
    pub(super) fn keep_arguments(&self, place: Place, bytes: usize) -> Option<Waiting> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.arguments_kib).try_acquire_many_owned(kib).ok()?;
        Some(Waiting((place, permit)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_place_that_is_given_back_is_the_next_ones() {
        let backlog = Backlog::new(1);
        let first = backlog.try_enter().expect("a place");
        assert!(backlog.try_enter().is_none());
        let mut second = Box::pin(backlog.enter());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(backlog.try_enter().is_none(), "it is that of the one who waits");
        drop(second.await);
        assert!(backlog.try_enter().is_some());
    }

    #[test]
    fn children_leave_places_for_others() {
        let backlog = Backlog::new(4);
        let _children = (backlog.try_enter_child().expect("a place"), backlog.try_enter_child().expect("a place"));
        assert!(backlog.try_enter_child().is_none());
        assert!(backlog.try_enter().is_some());
    }

    #[test]
    fn arguments_beyond_the_bound_are_not_kept() {
        let backlog = Backlog::new(3);
        let place = || backlog.try_enter().expect("a place");
        let (one, two, three) = (place(), place(), place());
        let all = 1024 * usize::try_from(ARGUMENTS_KIB).unwrap();
        let held = backlog.keep_arguments(one, all).expect("room");
        assert!(backlog.keep_arguments(two, 1).is_none());
        assert!(backlog.try_enter().is_some(), "who waits without its arguments has no place");
        drop(held);
        assert!(backlog.keep_arguments(three, all).is_some());
    }
}

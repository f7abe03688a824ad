//! The order in which parked runs are due.
//!
//! Most runs of a host wait: for tomorrow, for another run. Each keeps what is needed to go on (its claim, in the registry)
//! and a place here, some hundred bytes in all; a task with a future of several kibibytes for each would be gigabytes for a
//! million sleepers. This module must not know runs' claims, tasks or clocks: it keeps ids by time.

use std::collections::BTreeMap;

use crate::workflow::{EpochMs, WorkflowId};

/// A run's place: by its time, and among those of one time in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due(EpochMs, u64);

impl Due {
    /// The time.
    pub(super) fn at(&self) -> EpochMs {
        self.0
    }
}

/// The runs that wait for a time (lifetime: the process).
#[derive(Debug, Default)]
pub(super) struct Parked {
    by_due: BTreeMap<Due, WorkflowId>,
    entered: u64,
}

impl Parked {
    /// Enters a run, and says whether it is due before every other.
    pub(super) fn enter(&mut self, run: WorkflowId, wake: EpochMs) -> (Due, bool) {
        self.entered += 1;
        let due = Due(wake, self.entered);
        let is_first = self.by_due.first_key_value().is_none_or(|(first, _)| due < *first);
        self.by_due.insert(due, run);
        (due, is_first)
    }

    /// Takes a run out, wherever it stands.
    pub(super) fn leave(&mut self, due: Due) {
        self.by_due.remove(&due);
    }

    /// The runs that are due at `now`, in their order.
    pub(super) fn due_before(&self, now: EpochMs) -> impl Iterator<Item = &WorkflowId> {
        self.by_due.iter().take_while(move |(due, _)| due.0 <= now).map(|(_, run)| run)
    }

    /// Takes out the run that has been due for longest.
    ///
    /// # Errors
    /// When none is due at `now`: the time at which the next one is, if there is any.
    pub(super) fn take_due(&mut self, now: EpochMs) -> Result<WorkflowId, Option<EpochMs>> {
        let Some(first) = self.by_due.first_entry() else { return Err(None) };
        let Due(wake, _) = *first.key();
        if wake > now { Err(Some(wake)) } else { Ok(first.remove()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str) -> WorkflowId {
        WorkflowId::stored(id)
    }

    #[test]
    fn runs_leave_in_the_order_of_their_times_and_not_before() {
        let mut parked = Parked::default();
        assert_eq!(parked.take_due(EpochMs(9)), Err(None));
        assert!(parked.enter(run("late"), EpochMs(5)).1);
        assert!(parked.enter(run("early"), EpochMs(3)).1);
        let (gone, is_first) = parked.enter(run("gone"), EpochMs(3));
        assert!(!is_first, "it came after the one of the same time");
        assert!(!parked.enter(run("last"), EpochMs(5)).1);
        parked.leave(gone);
        assert_eq!(parked.take_due(EpochMs(2)), Err(Some(EpochMs(3))));
        assert_eq!(parked.take_due(EpochMs(3)), Ok(run("early")));
        assert_eq!(parked.take_due(EpochMs(4)), Err(Some(EpochMs(5))));
        assert_eq!(parked.take_due(EpochMs(9)), Ok(run("late")));
        assert_eq!(parked.take_due(EpochMs(9)), Ok(run("last")));
        assert_eq!(parked.take_due(EpochMs(9)), Err(None));
    }
}

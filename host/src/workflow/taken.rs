//! How far a guest has come in its run, for those who do not pass the gate.
//!
//! What a workflow draws depends on it: up to its last copied step, a fork draws what its origin drew. But randomness is no
//! call of the gate's, and must not become one. So the history tells how many numbers it has given, and whoever needs to
//! know has a handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use super::id::StepNumber;

/// The last number that a guest has taken (lifetime: one instance). Cloned handles share it.
#[derive(Debug, Clone, Default)]
pub struct LastTaken(Arc<AtomicI32>);

impl LastTaken {
    /// The next call gets this number: the one before it is taken.
    pub(super) fn before(&self, next: StepNumber) {
        self.0.store(next.get() - 1, Ordering::Relaxed);
    }

    /// True if the guest has taken this number.
    #[must_use]
    pub fn has_reached(&self, step: StepNumber) -> bool {
        self.0.load(Ordering::Relaxed) >= step.get()
    }
}

//! Saying that a run waits, and for what, as long as it does.
//!
//! Whoever wonders what a run does is told. This module must not know who is told, or how.

use std::any::Any;
use std::fmt;

/// A run waits, until this is dropped.
pub struct Waits(#[expect(dead_code, reason = "it is kept, and that is what it is for")] Box<dyn Any + Send + Sync>);

impl Waits {
    /// It waits as long as `place` is kept.
    pub fn new(place: impl Send + Sync + 'static) -> Self {
        Self(Box::new(place))
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waits").finish_non_exhaustive()
    }
}

//! Listening for what others do, while an instance waits for it.
//!
//! A signal may be raised at any moment, also between a look that finds nothing and the wait behind it. So whoever waits
//! listens first, looks second, and waits third; what is raised in between is heard at once. This module must not know who
//! raises signals, or where those who listen are kept.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;

/// Somebody listens, until this is dropped.
pub struct Listening {
    heard: Arc<Notify>,
    /// Where it stands among those who listen; dropping it leaves that.
    _place: Box<dyn Any + Send + Sync>,
}

impl Listening {
    /// Listens by being notified, as long as `place` is kept.
    pub fn new(heard: Arc<Notify>, place: impl Send + Sync + 'static) -> Self {
        Self { heard, _place: Box::new(place) }
    }

    /// Hears nothing: for who waits for a time only.
    #[must_use]
    pub fn to_nothing() -> Self {
        Self::new(Arc::default(), ())
    }

    /// Returns when one of the signals was raised since this returned last, or since it was made.
    pub async fn heard(&self) {
        self.heard.notified().await;
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}

//! The host's clock: what time it is, and waiting until a time.
//!
//! Everything that waits for a wall-clock time (durable sleeps, retry intervals, back-offs) goes through here, so that a
//! test can move time instead of waiting for it. Time-outs of input and output use tokio's timers: they measure
//! effort, not time of day. Lifetime: the process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::workflow::EpochMs;

/// The clock. Cheap to clone; all clones agree.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    #[cfg(feature = "failpoints")]
    moved: movable::Offset,
}

/// No wait is longer than this in one piece, so that a change of the system's clock is noticed within a minute.
const LONGEST_NAP: Duration = Duration::from_secs(60);

impl Clock {
    /// The machine's clock; in a build for tests, moved as `DBOS_HOST_TEST_CLOCK` says.
    #[must_use]
    pub fn system() -> Self {
        Self {
            #[cfg(feature = "failpoints")]
            moved: movable::Offset::from_environment(),
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> EpochMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        #[cfg(feature = "failpoints")]
        let now = now.saturating_add(self.moved.millis());
        EpochMs(now)
    }

    /// Returns when the clock shows `until` or later. Nothing is lost when the future is dropped.
    pub async fn sleep_until(&self, until: EpochMs) {
        loop {
            let left = Duration::from_millis(until.millis_since(self.now()));
            if left.is_zero() {
                return;
            }
            #[cfg(feature = "failpoints")]
            self.moved.nap(until, left).await;
            #[cfg(not(feature = "failpoints"))]
            tokio::time::sleep(left.min(LONGEST_NAP)).await;
        }
    }

    /// Returns after `duration` on this clock.
    pub async fn sleep(&self, duration: Duration) {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.sleep_until(EpochMs(self.now().0.saturating_add(millis))).await;
    }
}

#[cfg(feature = "failpoints")]
mod movable {
    //! How a test moves the clock, by the variable `DBOS_HOST_TEST_CLOCK`: `auto`, and whoever sleeps moves the clock to
    //! its wake time at once; or the path of a file that holds the offset in milliseconds and is read again and again.

    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use crate::workflow::EpochMs;

    #[derive(Debug, Clone, Default)]
    pub(super) struct Offset {
        millis: Arc<AtomicI64>,
        source: Source,
    }

    #[derive(Debug, Clone, Default)]
    enum Source {
        #[default]
        Fixed,
        Auto,
        File(Arc<PathBuf>),
    }

    impl Offset {
        pub(super) fn from_environment() -> Self {
            let source = match std::env::var("DBOS_HOST_TEST_CLOCK") {
                Err(_) => Source::Fixed,
                Ok(text) if text == "auto" => Source::Auto,
                Ok(path) => Source::File(Arc::new(path.into())),
            };
            Self { millis: Arc::default(), source }
        }

        pub(super) fn millis(&self) -> i64 {
            if let Source::File(path) = &self.source {
                let read = std::fs::read_to_string(path.as_path()).ok().and_then(|text| text.trim().parse().ok());
                if let Some(millis) = read {
                    self.millis.fetch_max(millis, Ordering::Relaxed);
                }
            }
            self.millis.load(Ordering::Relaxed)
        }

        pub(super) async fn nap(&self, until: EpochMs, left: Duration) {
            match &self.source {
                Source::Auto => {
                    let left = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
                    self.millis.fetch_add(left, Ordering::Relaxed);
                    tracing::debug!(until = until.0, "the test clock was moved");
                    tokio::task::yield_now().await;
                }
                Source::File(_) => tokio::time::sleep(left.min(Duration::from_millis(5))).await,
                Source::Fixed => tokio::time::sleep(left.min(super::LONGEST_NAP)).await,
            }
        }
    }
}

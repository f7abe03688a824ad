//! Waiting for events. The only place of the suite that waits: a test says what must become true, and it is looked at
//! again and again until it is, so a fast machine loses no time and a slow one gets what it needs.

use std::time::{Duration, Instant};

/// How long anything may take. Far more than a healthy run needs on a busy machine of two cores; who waits longer waits
/// for something that will not happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks: unnoticed by the database, and by whoever waits for the suite.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// After [`PATIENCE`], saying that `what` did not happen.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "this did not happen within {PATIENCE:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for a condition.
///
/// # Panics
/// As [`eventually`].
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, async || holds().await.then_some(())).await;
}

/// Lets a time pass that was drawn at random: for a test that does something at a moment which nothing leads up to. A test that
/// waits for something to become true says so by [`eventually`].
pub async fn some_moment(drawn: Duration) {
    tokio::time::sleep(drawn).await;
}

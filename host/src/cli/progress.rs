//! A word about work that takes long.
//!
//! Most commands answer at once, and a line about what they are doing would be noise. One that is silent for longer looks
//! as if it hung. So a line is printed only when a second has passed; nothing moves, so that it reads the same in a file.

use std::time::Duration;

/// Longer than people wait without wondering.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does `work`; says `what` it is if it takes long.
pub(crate) async fn telling<T>(what: impl FnOnce() -> String, work: impl Future<Output = T>) -> T {
    telling_after(PATIENCE, || tracing::info!("{} …", what()), work).await
}

async fn telling_after<T>(patience: Duration, tell: impl FnOnce(), work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(patience, &mut work).await {
        return done;
    }
    tell();
    work.await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{poll_fn, ready};
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn quick_work_is_not_told() {
        assert_eq!(telling(|| unreachable!("it is done"), ready(1)).await, 1);
    }

    #[tokio::test]
    async fn slow_work_is_told_once() {
        let told = Cell::new(0);
        let work = poll_fn(|_| if told.get() > 0 { Poll::Ready("done") } else { Poll::Pending });
        assert_eq!(telling_after(Duration::ZERO, || told.set(told.get() + 1), work).await, "done");
        assert_eq!(told.get(), 1);
    }
}

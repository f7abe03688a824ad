//! The processor time of one instance, and on which threads it is spent.
//!
//! Problem: a guest that computes without end must be stopped, and one that streams for an hour must not, although both
//! are awake ten thousand times. Wall time cannot tell them apart, nor can the number of times that an instance is
//! interrupted. So what is counted is the time that the kernel has charged to the thread while the instance was polled,
//! the host's own work for its calls included: who makes the host compute pays for it. The instance of a step is polled
//! inside a call of its workflow's instance; each is charged for itself only.
//!
//! The count begins anew when a call has done something. One that was refused has not: a loop over refused calls ends.
//!
//! This module must not know how an instance is made, nor where the other threads come from.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

thread_local! {
    /// Nanoseconds that instances have used inside the poll that is going on in this thread.
    static NESTED: Cell<u64> = const { Cell::new(0) };
}

/// The time of one instance (lifetime: the instance). Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Processor(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Nanoseconds in ended polls, since the last call that did something.
    used: AtomicU64,
    /// When the poll that is going on began, by its thread's own clock.
    polled_at: AtomicU64,
    /// The last poll ended because the guest computed for a whole tick.
    computing: AtomicBool,
    /// The instance is polled by a thread for those that compute.
    background: AtomicBool,
}

impl Processor {
    /// Polls the instance, and counts what that takes.
    pub fn charge<T>(&self, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
        let outer = NESTED.replace(0);
        let start = thread_time();
        self.0.polled_at.store(start, Ordering::Relaxed);
        let polled = poll();
        let elapsed = thread_time().saturating_sub(start);
        let nested = NESTED.replace(outer.saturating_add(elapsed));
        self.0.used.fetch_add(elapsed.saturating_sub(nested), Ordering::Relaxed);
        polled
    }

    /// What the poll that is going on has taken so far.
    #[must_use]
    pub fn in_this_poll(&self) -> Duration {
        let start = self.0.polled_at.load(Ordering::Relaxed);
        Duration::from_nanos(thread_time().saturating_sub(start).saturating_sub(NESTED.get()))
    }

    /// What the instance has used since its last call that did something.
    #[must_use]
    pub fn used(&self) -> Duration {
        Duration::from_nanos(self.0.used.load(Ordering::Relaxed)).saturating_add(self.in_this_poll())
    }

    /// A call did something.
    pub fn start_anew(&self) {
        self.0.used.store(0, Ordering::Relaxed);
    }

    /// The guest gives way because it has computed for a tick.
    pub fn gives_way(&self) {
        self.0.computing.store(true, Ordering::Relaxed);
    }

    /// True if the poll that has just ended did so because the guest gave way.
    #[must_use]
    pub fn gave_way(&self) -> bool {
        self.0.computing.swap(false, Ordering::Relaxed)
    }

    /// Says which threads poll the instance from now on.
    pub fn set_background(&self, background: bool) {
        self.0.background.store(background, Ordering::Relaxed);
    }

    /// Returns when the instance is not in the background: a poll there that ends, and not because the guest gave way,
    /// brings it back.
    pub(super) async fn foreground(&self) {
        poll_fn(|_| if self.0.background.load(Ordering::Relaxed) { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}

/// What the kernel has charged to this thread, in nanoseconds.
fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Duration = Duration::from_millis(5);

    fn compute(processor: &Processor) {
        while processor.in_this_poll() < WORK {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn waiting_costs_nothing_and_computing_does() {
        let processor = Processor::default();
        let _ = processor.charge(|| -> Poll<()> {
            std::thread::sleep(Duration::from_millis(50));
            Poll::Pending
        });
        let waited = Duration::from_nanos(processor.0.used.load(Ordering::Relaxed));
        assert!(waited < WORK, "{waited:?}");
        let _ = processor.charge(|| {
            compute(&processor);
            Poll::Ready(())
        });
        assert!(Duration::from_nanos(processor.0.used.load(Ordering::Relaxed)) >= WORK);
        processor.start_anew();
        assert_eq!(processor.0.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_step_is_not_charged_to_its_workflow() {
        let (workflow, step) = (Processor::default(), Processor::default());
        let _ = workflow.charge(|| {
            let polled = step.charge(|| {
                compute(&step);
                Poll::Ready(())
            });
            assert!(workflow.in_this_poll() < WORK, "the limit looks at it in the middle, too");
            polled
        });
        let used = |processor: &Processor| Duration::from_nanos(processor.0.used.load(Ordering::Relaxed));
        assert!(used(&step) >= WORK && used(&workflow) < WORK, "{:?} {:?}", used(&step), used(&workflow));
    }
}

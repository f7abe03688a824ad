//! Threads for guests that compute.
//!
//! Problem: the threads that answer requests also run the guests. A guest that computes gives way every tick, but then
//! stands in the same queue as everybody else, and with a few such guests each wake of a neighbour's request waits for
//! several ticks: a request of five milliseconds takes hundreds. So a guest that has computed for a whole tick goes on in
//! threads of its own, which the kernel gives what the others leave, and comes back when it waits or calls. Most guests
//! never compute for a tick and never move.
//!
//! What must hold: calls that have an effect begin in the foreground only ([`Processor::foreground`] in `calls/`). An
//! instance that is given up while it computes here ends a moment later, at its next tick; it can begin nothing until
//! then.

use std::future::{pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::Poll;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::calls::Processor;

/// How much these threads stand back behind the others: of a processor that both want, they get about a tenth. Lower
/// still, and a guest that has much to do would come to nothing on a busy machine.
const NICENESS: i32 = 10;

/// The threads (lifetime: the process). Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Background(Arc<Threads>);

#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Background {
    /// Starts them: one for each processor, as the others are.
    pub(super) fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().enable_all().thread_name("guest").on_thread_start(stand_back).build()?;
        Ok(Self(Arc::new(Threads(Some(runtime)))))
    }

    /// Runs a call into a guest to its end, in the foreground except while it computes.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        processor: &Processor,
        call: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let mut call = Box::pin(call);
        loop {
            let in_foreground = poll_fn(|cx| match processor.charge(|| call.as_mut().poll(cx)) {
                Poll::Ready(value) => Poll::Ready(Some(value)),
                Poll::Pending if processor.gave_way() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(value) = in_foreground.await {
                return value;
            }
            let of_task = processor.clone();
            let task = self.spawn(async move {
                of_task.set_background(true);
                let end = poll_fn(|cx| match of_task.charge(|| call.as_mut().poll(cx)) {
                    Poll::Ready(value) => Poll::Ready(Some(value)),
                    // It has asked for its next turn already.
                    Poll::Pending if of_task.gave_way() => Poll::Pending,
                    Poll::Pending => Poll::Ready(None),
                });
                let end = end.await;
                of_task.set_background(false);
                (call, end)
            });
            let end;
            (call, end) = task.join().await;
            if let Some(value) = end {
                return value;
            }
        }
    }

    fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let runtime = self.0.0.as_ref().expect("the threads end with their last handle");
        Task(runtime.spawn(task))
    }
}

/// A task that ends when nobody waits for it any more.
struct Task<T>(JoinHandle<T>);

impl<T> Task<T> {
    async fn join(mut self) -> T {
        match (&mut self.0).await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Cancelled with the threads: the process is about to end.
                Err(_cancelled) => pending().await,
            },
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A runtime cannot be dropped where others run; it is told to end.
impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Linux counts niceness for each thread; elsewhere this would be the whole process.
fn stand_back() {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::setpriority_process(None, NICENESS)
    {
        tracing::debug!("guests that compute run at the priority of the host: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Gives way as an instance does that has computed for a tick.
    async fn give_way(processor: &Processor) {
        let mut given = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut given, true) {
                return Poll::Ready(());
            }
            processor.gives_way();
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[tokio::test]
    async fn who_computes_moves_and_comes_back_when_it_waits() {
        let background = Background::start().expect("threads");
        let processor = Processor::default();
        let (home, of_call) = (thread::current().id(), processor.clone());
        let places = background.run(&processor, async move {
            let mut places = vec![thread::current().id() == home];
            give_way(&of_call).await;
            places.push(thread::current().id() == home);
            give_way(&of_call).await;
            places.push(thread::current().id() == home);
            tokio::task::yield_now().await;
            places.push(thread::current().id() == home);
            places
        });
        assert_eq!(places.await, [true, false, false, true]);
    }

    #[tokio::test]
    async fn what_is_given_up_in_the_background_ends() {
        let background = Background::start().expect("threads");
        let processor = Processor::default();
        let (dropped, ended) = tokio::sync::oneshot::channel::<()>();
        let (moved, has_moved) = tokio::sync::oneshot::channel::<()>();
        let of_call = processor.clone();
        let call = background.run(&processor, async move {
            let _dropped = dropped;
            give_way(&of_call).await;
            moved.send(()).expect("somebody waits");
            loop {
                give_way(&of_call).await;
            }
        });
        tokio::select! {
            () = call => unreachable!("it does not end by itself"),
            moved = has_moved => moved.expect("it has moved"),
        }
        ended.await.expect_err("nothing was sent; it was dropped");
    }
}

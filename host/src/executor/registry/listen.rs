//! Those who wait for what others do: live ones listen, parked runs are woken.
//!
//! This is the registry's side of `signals`: what happens to runs when a signal is raised. It must not know what a signal
//! is about.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc};

use super::{Registry, Runs, Shared};
use crate::calls::Listening;
use crate::executor::signals::Look;
use crate::workflow::{Signal, WorkflowId};

/// Signals that wait to be raised: those of some commits of the journal. Raising one takes a microsecond; what finds no room is
/// found by a look.
const QUEUE: usize = 4096;

impl Registry {
    /// Listens for signals. True: nobody looks for them yet.
    pub(in crate::executor) fn listen(&self, signals: &[Signal]) -> (Listening, bool) {
        let heard = Arc::new(Notify::new());
        let must_look = self.0.lock().signals.listen(signals, &heard, Instant::now());
        self.0.newcomer.notify_one();
        let ear = Ear { registry: Arc::clone(&self.0), signals: signals.into(), heard: Arc::clone(&heard) };
        (Listening::new(heard, ear), must_look)
    }

    /// What somebody may wait for was done: those with an instance hear it, parked runs are due.
    pub(in crate::executor) fn raise(&self, signal: &Signal) {
        self.0.raise(signal);
    }

    /// What is sent there is raised, by a task that ends with the last sender, and handed on to `then`.
    pub(in crate::executor) fn raiser(&self, then: impl Fn(&Signal) + Send + 'static) -> mpsc::Sender<Signal> {
        let (sender, mut signals) = mpsc::channel(QUEUE);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Some(signal) = signals.recv().await {
                shared.raise(&signal);
                then(&signal);
            }
        });
        sender
    }

    /// What is to be looked for now. Not the ends of runs that are here: however such a run leaves, its signal is raised or
    /// doubted, or it is here no more at the next look. So ten thousand parents with their children in this process cost the
    /// database nothing.
    pub(in crate::executor) fn look(&self, now: Instant) -> Look {
        let mut runs = self.0.lock();
        match runs.signals.look(now) {
            Look::For(mut signals) => {
                signals.retain(|signal| !matches!(signal, Signal::Ended(run) if runs.entries.contains_key(run)));
                Look::For(signals)
            }
            later => later,
        }
    }

    /// Returns when somebody has come who waits for a signal. Remembered until it is asked for.
    pub(in crate::executor) async fn newcomer(&self) {
        self.0.newcomer.notified().await;
    }

    /// Nobody looks for signals any more: whoever waits for one is woken, looks for itself, and comes again.
    pub(in crate::executor) fn nobody_looks(&self) {
        let mut runs = self.0.lock();
        let woken = runs.signals.abandon();
        self.0.wake(&mut runs, &woken);
    }
}

impl Shared {
    /// What somebody may wait for was done.
    pub(super) fn raise(&self, signal: &Signal) {
        let mut runs = self.lock();
        let woken = runs.signals.raise(signal);
        self.wake(&mut runs, &woken);
    }

    fn wake(&self, runs: &mut Runs, woken: &[WorkflowId]) {
        let mut is_first = false;
        for run in woken {
            is_first |= runs.wake(run, self.clock.now());
        }
        if is_first {
            self.sooner.notify_one();
        }
    }
}

/// The place of somebody who listens.
struct Ear {
    registry: Arc<Shared>,
    signals: Box<[Signal]>,
    heard: Arc<Notify>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.registry.lock().signals.forget(&self.signals, &self.heard);
    }
}

//! Moves the engine's epoch while guests run, and rests when none does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wasmtime::Engine;

use super::limits::TICK;

/// Ticks without a guest after which the thread rests: a fifth of a second. Between two requests of a host that is asked
/// all the time no guest runs either, and to wake a thread costs more than its ticks.
const TICKS_BEFORE_REST: u32 = 100;

/// The ticker (lifetime: the process). A thread of its own: the runtime's threads may all be running guests.
#[derive(Debug, Clone)]
pub(super) struct Ticker(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    /// The thread rests, or is about to look whether it may.
    resting: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

/// A guest that runs. The ticker ticks while there is one.
#[derive(Debug)]
pub(super) struct Running(Arc<Shared>);

impl Ticker {
    /// Starts the thread. It ends with the engine.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (weak_engine, thread_shared) = (engine.weak(), Arc::downgrade(&shared));
        std::thread::Builder::new().name("epoch-ticker".into()).spawn(move || {
            let mut idle = 0;
            loop {
                let (Some(engine), Some(shared)) = (weak_engine.upgrade(), thread_shared.upgrade()) else { return };
                if shared.running.load(Ordering::SeqCst) > 0 {
                    idle = 0;
                    engine.increment_epoch();
                } else if idle < TICKS_BEFORE_REST {
                    idle += 1;
                } else {
                    drop(engine);
                    shared.rest();
                    continue;
                }
                drop((engine, shared));
                std::thread::sleep(TICK);
            }
        })?;
        Ok(Self(shared))
    }

    /// A guest begins to run.
    pub(super) fn running(&self) -> Running {
        // Either this sees that the thread rests, or the thread sees this guest before it does.
        if self.0.running.fetch_add(1, Ordering::SeqCst) == 0 && self.0.resting.load(Ordering::SeqCst) {
            let _guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.wake.notify_one();
        }
        Running(Arc::clone(&self.0))
    }
}

impl Shared {
    /// Waits until a guest runs. The time limit only lets the thread notice that the engine is gone.
    fn rest(&self) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.resting.store(true, Ordering::SeqCst);
        // Looked at again: a guest that has begun since, and saw no rest, must not be left without ticks.
        if self.running.load(Ordering::SeqCst) == 0 {
            drop(self.wake.wait_timeout(guard, TICK * 100).unwrap_or_else(PoisonError::into_inner));
        }
        self.resting.store(false, Ordering::SeqCst);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

//! Moves the engine's epoch while guests run, and rests when none does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wasmtime::Engine;

use super::limits::TICK;

/// The ticker (lifetime: the process). A thread of its own: the runtime's threads may all be running guests.
#[derive(Debug, Clone)]
pub(super) struct Ticker(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
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
            loop {
                let (Some(engine), Some(shared)) = (weak_engine.upgrade(), thread_shared.upgrade()) else { return };
                if shared.running.load(Ordering::SeqCst) == 0 {
                    let guard = shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
                    // Looked at again under the lock: a guest that has begun since notifies under it. The time limit only
                    // lets the thread notice that the engine is gone.
                    if shared.running.load(Ordering::SeqCst) == 0 {
                        drop(shared.wake.wait_timeout(guard, TICK * 100).unwrap_or_else(PoisonError::into_inner));
                    }
                    continue;
                }
                engine.increment_epoch();
                drop((engine, shared));
                std::thread::sleep(TICK);
            }
        })?;
        Ok(Self(shared))
    }

    /// A guest begins to run.
    pub(super) fn running(&self) -> Running {
        if self.0.running.fetch_add(1, Ordering::SeqCst) == 0 {
            let _guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.wake.notify_one();
        }
        Running(Arc::clone(&self.0))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

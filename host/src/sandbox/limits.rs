//! The limits of one instance: memory, tables, processor time.
//!
//! Processor time is counted in ticks: the engine's epoch moves every [`TICK`], and an instance that runs when it does gets
//! a callback, which counts one tick and yields to other tasks. A busy machine makes ticks longer, never more of them, so
//! an innocent guest is not killed because its neighbours are busy. Calls that do something (steps, SQL, waiting) begin the
//! count anew; calls that only ask (clocks, randomness, output) do not, or a loop around one would never end.

use std::time::Duration;

use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use crate::calls::TicksSinceCall;

/// How often an instance gives way: short enough that a neighbour's request does not feel it, long enough that switching
/// costs nothing.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Entries of a table. Rust guests need some thousand (one for each function that is called by pointer), JavaScript and
/// Python some ten thousand; each costs the host eight bytes.
pub(super) const TABLE_ELEMENTS: usize = 100_000;

/// What an instance may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of linear memory, all memories together.
    pub memory: usize,
    /// Processor time between two calls of the host.
    pub processor: Duration,
}

/// A limit that an instance has passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// It asked for more memory.
    #[error("the guest needs more memory than the limit of {0} bytes")]
    Memory(usize),
    /// It asked for larger tables.
    #[error("the guest needs tables of more than {TABLE_ELEMENTS} elements")]
    Tables,
    /// Its stack is full: endless recursion, most likely.
    #[error("the guest's stack is full")]
    Stack,
    /// It computed without a call for too long.
    #[error("the guest used more than {0:?} of processor time between two calls")]
    Processor(Duration),
}

/// Counts what an instance uses (lifetime: one instance).
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    memory: usize,
    ticks: TicksSinceCall,
}

impl Meter {
    pub(super) fn new(limits: &Limits, ticks: TicksSinceCall) -> Self {
        Self { limits: limits.clone(), memory: 0, ticks }
    }

    fn allowed_ticks(&self) -> u32 {
        u32::try_from(self.limits.processor.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX).max(1)
    }

    fn tick(&mut self) -> Result<(), Limit> {
        if self.ticks.count() > self.allowed_ticks() { Err(Limit::Processor(self.limits.processor)) } else { Ok(()) }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.memory.saturating_add(desired.saturating_sub(current));
        // A guest that is told "no" may go on in a way that depends on this machine's limits; it is stopped instead.
        if wanted > self.limits.memory {
            return Err(wasmtime::Error::new(Limit::Memory(self.limits.memory)));
        }
        self.memory = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            return Err(wasmtime::Error::new(Limit::Tables));
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }
}

/// Makes `store` keep its limits.
pub(super) fn enforce<T: AsMut<Meter> + 'static>(store: &mut Store<T>) {
    store.limiter(|state| state.as_mut());
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| {
        context.data_mut().as_mut().tick().map_err(wasmtime::Error::new)?;
        Ok(UpdateDeadline::Yield(1))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        Meter::new(&Limits { memory: 1000, processor: TICK * 3 }, TicksSinceCall::default())
    }

    #[test]
    fn memory_counts_over_all_memories() {
        let mut meter = meter();
        assert!(meter.memory_growing(0, 600, None).expect("fits"));
        assert!(meter.memory_growing(0, 400, None).expect("fits"));
        let error = meter.memory_growing(400, 401, None).expect_err("does not fit");
        assert_eq!(error.downcast_ref::<Limit>(), Some(&Limit::Memory(1000)));
    }

    #[test]
    fn processor_time_is_counted_between_two_calls() {
        let mut meter = meter();
        for _ in 0..3 {
            assert_eq!(meter.tick(), Ok(()));
        }
        meter.ticks.called();
        for _ in 0..3 {
            assert_eq!(meter.tick(), Ok(()));
        }
        assert_eq!(meter.tick(), Err(Limit::Processor(TICK * 3)));
    }
}

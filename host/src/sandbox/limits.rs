//! The limits of one instance: memory, tables, processor time, and what the host keeps or copies for it.
//!
//! The engine's epoch moves every [`TICK`], and an instance that runs when it does gets a callback. There it is stopped if
//! it has used up its processor time ([`crate::calls::Processor`] says how that is counted), and gives way to others if it
//! has computed for long enough. A busy machine makes ticks longer, never more time of them, so an innocent guest is not
//! killed because its neighbours are busy.

use std::time::Duration;

use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use crate::calls::{MAX_HEADERS, MAX_PAYLOAD, Processor};

/// How often an instance gives way: short enough that a neighbour's request, which waits for some turns of others, does
/// not feel it; long enough that most guests are done before, and that moving the others costs nothing.
pub(super) const TICK: Duration = Duration::from_millis(2);

/// Entries of a table. Rust guests need some thousand (one for each function that is called by pointer), JavaScript and
/// Python some ten thousand; each costs the host eight bytes.
pub(super) const TABLE_ELEMENTS: usize = 100_000;

/// A guest that was interrupted earlier than this in its turn goes on: it has just woken up, and the epoch moved while it
/// waited.
const SHORTEST_TURN: Duration = Duration::from_millis(1);

/// Bytes that cross from a guest to the host in one call or answer, as the host keeps them. The largest payload, and as
/// much again so that one that is too large is refused with a sentence, and a failure's texts beside it.
const MAX_TRANSFER: usize = 2 * MAX_PAYLOAD + 1024 * 1024;

/// Handles of all kinds, those included that components make for each other without asking the host. The host's own
/// ([`crate::calls::Guest`]) are far fewer.
const MAX_HANDLES: usize = 10_000;

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
    /// It handed more over in one call or answer than the host copies.
    #[error("the guest passed more than {MAX_TRANSFER} bytes in one call or answer")]
    Transfer,
    /// It put too much into the headers of a request.
    #[error("the headers of the guest's request are larger than the limit of {MAX_HEADERS} bytes")]
    Headers,
    /// It has too much open: requests, streams, headers, what can be waited for.
    #[error("the guest holds more handles than the limit")]
    Handles,
}

/// Counts what an instance uses (lifetime: one instance).
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    memory: usize,
    processor: Processor,
}

impl Meter {
    pub(super) fn new(limits: &Limits, processor: Processor) -> Self {
        Self { limits: limits.clone(), memory: 0, processor }
    }

    fn tick(&mut self) -> Result<UpdateDeadline, Limit> {
        if self.processor.used() > self.limits.processor {
            return Err(Limit::Processor(self.limits.processor));
        }
        if self.processor.in_this_poll() < SHORTEST_TURN {
            return Ok(UpdateDeadline::Continue(1));
        }
        self.processor.gives_way();
        Ok(UpdateDeadline::Yield(1))
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
    store.set_hostcall_fuel(MAX_TRANSFER);
    store.set_max_component_handles(MAX_HANDLES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| context.data_mut().as_mut().tick().map_err(wasmtime::Error::new));
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    fn meter() -> Meter {
        Meter::new(&Limits { memory: 1000, processor: TICK }, Processor::default())
    }

    #[test]
    fn memory_counts_over_all_memories() {
        let mut meter = meter();
        assert!(meter.memory_growing(0, 600, None).expect("fits"));
        assert!(meter.memory_growing(0, 400, None).expect("fits"));
        let error = meter.memory_growing(400, 401, None).expect_err("does not fit");
        assert_eq!(error.downcast_ref::<Limit>(), Some(&Limit::Memory(1000)));
    }

    /// Computes in the instance's name, for this long.
    fn compute(meter: &Meter, time: Duration) {
        while meter.processor.in_this_poll() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn who_computes_gives_way_and_is_stopped_in_the_end() {
        let mut meter = meter();
        let processor = meter.processor.clone();
        let _ = processor.charge(|| {
            assert!(matches!(meter.tick(), Ok(UpdateDeadline::Continue(1))), "it has just begun");
            compute(&meter, SHORTEST_TURN);
            assert!(matches!(meter.tick(), Ok(UpdateDeadline::Yield(1))));
            Poll::<()>::Pending
        });
        assert!(processor.gave_way() && !processor.gave_way(), "it is told once");
        let _ = processor.charge(|| {
            compute(&meter, TICK);
            assert_eq!(meter.tick().err(), Some(Limit::Processor(TICK)));
            Poll::<()>::Pending
        });
        processor.start_anew();
        let _ = processor.charge(|| {
            assert!(meter.tick().is_ok(), "a call did something");
            Poll::<()>::Pending
        });
    }
}

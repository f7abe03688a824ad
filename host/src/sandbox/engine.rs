//! The engine: one for the process, with the settings that make guests deterministic and interruptible.

use std::num::NonZeroUsize;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use super::artefact::ArtefactCache;
use super::background::Background;
use super::instance::State;
use super::limits::{Limits, TABLE_ELEMENTS};
use super::ticker::Ticker;
use crate::calls;
use crate::workflow::MOST_FRAMES;

/// The guest's stack. Deep enough for recursive descent through generous JSON, small enough for a thousand guests.
const WASM_STACK: usize = 512 * 1024;

/// The stack of the fiber that a guest runs on: its own, and what the host needs when it is called.
const FIBER_STACK: usize = WASM_STACK + 512 * 1024;

/// Core instances, memories and tables that one component may have: a Rust guest has four, one and two; JavaScript and
/// Python some more.
const CORE_INSTANCES_OF_ONE: u32 = 30;
const MEMORIES_OF_ONE: u32 = 2;
const TABLES_OF_ONE: u32 = 16;

/// Of a table, this much is set back by writing over it when its instance ends: two thousand entries, more than most
/// Rust guest has. What is beyond is given back to the system, which costs a call, a message to the other processors and
/// a page fault for each page that the next instance touches; what is written over stays in memory, so it must be little.
///
/// Memories are not written over: nothing tells which pages of them a guest has used. Linux's `PAGEMAP_SCAN` would, but
/// not those that it has swapped out, and the next guest would find what the last one left there (wasmtime's pull request
/// 14357).
const TABLE_WRITTEN_OVER: usize = 16 * 1024;

/// wasmtime, set up (lifetime: the process). Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) linker: Linker<State>,
    pub(super) cache: ArtefactCache,
    pub(super) ticker: Ticker,
    pub(super) background: Background,
    pub(super) limits: Limits,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Sets wasmtime up for at most `instances` at once.
    ///
    /// # Errors
    /// When this machine cannot run it: no memory to reserve, no thread to be had.
    pub fn new(cache: ArtefactCache, limits: Limits, instances: u32) -> wasmtime::Result<Self> {
        let engine = Engine::new(&config(&limits, instances))?;
        let mut linker = Linker::new(&engine);
        calls::add_to_linker(&mut linker)?;
        let ticker = Ticker::start(&engine).map_err(wasmtime::Error::new)?;
        let background = Background::start().map_err(wasmtime::Error::new)?;
        Ok(Self { engine, linker, cache, ticker, background, limits })
    }
}

fn config(limits: &Limits, instances: u32) -> Config {
    let mut config = Config::new();
    // Guests are synchronous: the host runs them on fibers. Async component functions would cost more for each call and
    // bring an order of completions that had to be recorded.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    // As many as are kept of an error. A trap costs a microsecond more by it (46 instead of 45 with its instance). Whoever
    // recurses to the end of its stack has the host walk back through all of it: 0.6 ms instead of 0.13 for the 30,000 smallest
    // frames that it has room for, which is little before the pause that follows.
    config.wasm_backtrace_max_frames(NonZeroUsize::new(MOST_FRAMES));
    // Names are enough. What a guest says of its source, in whichever form, would be parsed at each trap.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    // The same answer on every machine: NaNs have one bit pattern, relaxed instructions one meaning.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    config.max_wasm_stack(WASM_STACK);
    config.async_stack_size(FIBER_STACK);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_OF_ONE))
        .total_memories(instances.saturating_mul(MEMORIES_OF_ONE))
        .total_tables(instances.saturating_mul(TABLES_OF_ONE))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES_OF_ONE)
        .max_memories_per_component(MEMORIES_OF_ONE)
        .max_tables_per_component(TABLES_OF_ONE)
        .max_memory_size(limits.memory)
        .table_elements(TABLE_ELEMENTS)
        .table_keep_resident(TABLE_WRITTEN_OVER);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

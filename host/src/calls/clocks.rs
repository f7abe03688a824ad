//! `wasi:clocks/monotonic-clock`: as wasmtime-wasi has it, except that a workflow cannot wait on it.
//!
//! A workflow that polls a clock would wait in real time, holding its instance, and wait again in every replay. The call
//! has no way to return an error, so it ends the run with one that names what to use instead.

use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::clocks::WasiClocksCtxView;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;

use super::guest::{Guest, Phase};
use super::interrupt::Interrupt;
use crate::workflow::{Code, Failure};

/// The clock of an instance.
pub(super) struct GuardedClock;

impl HasData for GuardedClock {
    type Data<'a> = Guarded<'a>;
}

/// A view of the clock, with what the phase forbids.
pub(super) struct Guarded<'a> {
    clocks: WasiClocksCtxView<'a>,
    may_wait: bool,
}

impl<'a> Guarded<'a> {
    pub(super) fn of(guest: &'a mut Guest) -> Self {
        let may_wait = !matches!(guest.phase(), Phase::Workflow(_));
        let view = guest.ctx();
        Self { clocks: WasiClocksCtxView { ctx: view.ctx.clocks(), table: view.table }, may_wait }
    }

    fn check(&self) -> wasmtime::Result<()> {
        if self.may_wait {
            return Ok(());
        }
        let text = "waiting on a clock is not possible in a workflow; use `sleep`, which is durable";
        Err(wasmtime::Error::new(Interrupt::Forbidden(Failure::new("PhaseError", Code("wrong_phase"), text))))
    }
}

impl monotonic_clock::Host for Guarded<'_> {
    fn now(&mut self) -> wasmtime::Result<monotonic_clock::Instant> {
        self.clocks.now()
    }

    fn resolution(&mut self) -> wasmtime::Result<monotonic_clock::Duration> {
        monotonic_clock::Host::resolution(&mut self.clocks)
    }

    fn subscribe_instant(&mut self, when: monotonic_clock::Instant) -> wasmtime::Result<Resource<DynPollable>> {
        self.check()?;
        self.clocks.subscribe_instant(when)
    }

    fn subscribe_duration(&mut self, duration: monotonic_clock::Duration) -> wasmtime::Result<Resource<DynPollable>> {
        self.check()?;
        self.clocks.subscribe_duration(duration)
    }
}

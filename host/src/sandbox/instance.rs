//! An instance: made for one phase, used for one call, thrown away.

use wasmtime::Store;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::component::Component;
use super::end::GuestEnd;
use super::limits::{self, Meter};
use super::ticker::Running;
use crate::calls::bindings;
use crate::calls::bindings::app::{Request, Response};
use crate::calls::{Guest, GuestLog, MAX_PAYLOAD, Phase};
use crate::workflow::Failure;

/// What wasmtime keeps for an instance.
pub(super) struct State {
    guest: Guest,
    meter: Meter,
}

impl AsMut<Guest> for State {
    fn as_mut(&mut self) -> &mut Guest {
        &mut self.guest
    }
}

impl AsMut<Meter> for State {
    fn as_mut(&mut self) -> &mut Meter {
        &mut self.meter
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.guest.ctx()
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.guest.http()
    }
}

/// An instance (lifetime: one phase of one run or request).
pub struct Instance {
    store: Store<State>,
    log: GuestLog,
    bindings: Result<bindings::Guest, wasmtime::Error>,
    _running: Running,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("guest", &self.store.data().guest).finish_non_exhaustive()
    }
}

impl Instance {
    /// Makes an instance of `component` with `guest` as its host side. What goes wrong here is told by the call.
    pub async fn new(component: &Component, guest: Guest) -> Self {
        let log = guest.log().clone();
        let sandbox = component.sandbox();
        let meter = Meter::new(&sandbox.limits, guest.ticks().clone());
        let mut store = Store::new(&sandbox.engine, State { guest, meter });
        limits::enforce(&mut store);
        let running = sandbox.ticker.running();
        let bindings = component.pre().instantiate_async(&mut store).await;
        Self { store, log, bindings, _running: running }
    }

    /// Runs the body of a workflow.
    #[expect(clippy::ptr_arg, reason = "the generated bindings take `&String`")]
    pub async fn run_workflow(&mut self, name: &String, arguments: &String) -> GuestEnd<Result<String, Failure>> {
        let end = match self.exports() {
            Ok(app) => app.call_run_workflow(&mut self.store, name, arguments).await,
            Err(error) => Err(error),
        };
        GuestEnd::of(end, &self.log).map(|answer| answer.map_err(|failure| Failure::from(failure).limited(MAX_PAYLOAD)))
    }

    /// Runs the body of a step.
    #[expect(clippy::ptr_arg, reason = "the generated bindings take `&String`")]
    pub async fn run_step(&mut self, name: &String, arguments: &String) -> GuestEnd<Result<String, Failure>> {
        let end = match self.exports() {
            Ok(app) => app.call_run_step(&mut self.store, name, arguments).await,
            Err(error) => Err(error),
        };
        GuestEnd::of(end, &self.log).map(|answer| answer.map_err(|failure| Failure::from(failure).limited(MAX_PAYLOAD)))
    }

    /// Answers a request.
    #[expect(clippy::ptr_arg, reason = "the generated bindings take `&String`")]
    pub async fn handle(&mut self, route: &String, request: &Request) -> GuestEnd<Response> {
        let end = match self.exports() {
            Ok(app) => app.call_handle(&mut self.store, route, request).await,
            Err(error) => Err(error),
        };
        GuestEnd::of(end, &self.log)
    }

    /// Asks for the manifest.
    pub(super) async fn describe(&mut self) -> GuestEnd<String> {
        let end = match self.exports() {
            Ok(app) => app.call_describe(&mut self.store).await,
            Err(error) => Err(error),
        };
        GuestEnd::of(end, &self.log)
    }

    /// The exports; an instance that could not be made says why, once.
    fn exports(&mut self) -> wasmtime::Result<bindings::app::Guest> {
        match &self.bindings {
            Ok(bindings) => Ok(bindings.dbos_host_app().clone()),
            Err(_) => {
                let said_before = Err(wasmtime::Error::msg("the instance could not be made"));
                std::mem::replace(&mut self.bindings, said_before).map(|bindings| bindings.dbos_host_app().clone())
            }
        }
    }

    /// The host side, while the instance lives.
    pub fn guest(&mut self) -> &mut Guest {
        &mut self.store.data_mut().guest
    }

    /// Ends the instance and returns its phase: a transaction's session lives on after its body.
    #[must_use]
    pub fn into_phase(self) -> Phase {
        self.store.into_data().guest.into_phase()
    }
}

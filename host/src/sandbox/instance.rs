//! An instance: made for one phase, used for one call, thrown away.

use wasmtime::Store;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::background::Background;
use super::component::Component;
use super::end::GuestEnd;
use super::limits::{self, Meter};
use super::ticker::Running;
use crate::calls::bindings;
use crate::calls::bindings::app::{Request, Response};
use crate::calls::{Guest, GuestLog, MAX_PAYLOAD, Phase, Processor};
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
    pre: bindings::GuestPre<State>,
    background: Background,
    _running: Running,
    /// What is free again only when the instance is gone.
    _slot: Box<dyn Send>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("guest", &self.store.data().guest).finish_non_exhaustive()
    }
}

/// A call takes the instance with it and brings it back: while the guest computes, both are in other threads.
impl Instance {
    /// An instance of `component` with `guest` as its host side. Nothing is made before the call, which also tells what
    /// goes wrong with it. `slot` is dropped with the instance, which may outlive a caller that gives it up by a moment.
    pub fn new(component: &Component, guest: Guest, slot: impl Send + 'static) -> Self {
        let log = guest.log().clone();
        let sandbox = component.sandbox();
        let meter = Meter::new(&sandbox.limits, guest.processor().clone());
        let mut store = Store::new(&sandbox.engine, State { guest, meter });
        limits::enforce(&mut store);
        let (background, pre) = (sandbox.background.clone(), component.pre().clone());
        Self { store, log, pre, background, _running: sandbox.ticker.running(), _slot: Box::new(slot) }
    }

    /// Runs the body of a workflow.
    pub async fn run_workflow(self, name: String, arguments: String) -> (Self, GuestEnd<Result<String, Failure>>) {
        let (background, processor) = self.place();
        let call = async move {
            let mut this = self;
            let end = match this.make().await {
                Ok(app) => app.call_run_workflow(&mut this.store, &name, &arguments).await,
                Err(error) => Err(error),
            };
            let end = GuestEnd::of(end, &this.log).map(limited);
            (this, end)
        };
        background.run(&processor, call).await
    }

    /// Runs the body of a step.
    pub async fn run_step(self, name: String, arguments: String) -> (Self, GuestEnd<Result<String, Failure>>) {
        let (background, processor) = self.place();
        let call = async move {
            let mut this = self;
            let end = match this.make().await {
                Ok(app) => app.call_run_step(&mut this.store, &name, &arguments).await,
                Err(error) => Err(error),
            };
            let end = GuestEnd::of(end, &this.log).map(limited);
            (this, end)
        };
        background.run(&processor, call).await
    }

    /// Answers a request.
    pub async fn handle(self, route: String, request: Request) -> GuestEnd<Response> {
        let (background, processor) = self.place();
        let call = async move {
            let mut this = self;
            let end = match this.make().await {
                Ok(app) => app.call_handle(&mut this.store, &route, &request).await,
                Err(error) => Err(error),
            };
            GuestEnd::of(end, &this.log)
        };
        background.run(&processor, call).await
    }

    /// Asks for the manifest.
    pub(super) async fn describe(self) -> GuestEnd<String> {
        let (background, processor) = self.place();
        let call = async move {
            let mut this = self;
            let end = match this.make().await {
                Ok(app) => app.call_describe(&mut this.store).await,
                Err(error) => Err(error),
            };
            GuestEnd::of(end, &this.log)
        };
        background.run(&processor, call).await
    }

    fn place(&self) -> (Background, Processor) {
        (self.background.clone(), self.store.data().guest.processor().clone())
    }

    /// Makes the instance and finds its exports. With the call it is one turn of the processor, and is counted as one.
    async fn make(&mut self) -> wasmtime::Result<bindings::app::Guest> {
        let bindings = self.pre.instantiate_async(&mut self.store).await?;
        Ok(bindings.dbos_host_app().clone())
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

fn limited(answer: Result<String, bindings::imports::types::Failure>) -> Result<String, Failure> {
    answer.map_err(|failure| Failure::from(failure).limited(MAX_PAYLOAD))
}

//! Write durable workflows in Rust, compile them to a WebAssembly component, and let `dbos-host` run them.
//!
//! A program that talks to other systems can be killed between any two of its lines, and then nobody knows which of its
//! effects have happened. With this crate each effect is a **step** whose result is recorded in Postgres. When a
//! process dies, the host runs the workflow again from its records: steps that are recorded return what they returned,
//! and the rest goes on from there.
//!
//! | attribute | the function | what holds |
//! |---|---|---|
//! | [`macro@workflow`] | calls steps, sleeps, computes | once acknowledged it runs to its end and has one outcome |
//! | [`macro@transaction`] | runs SQL | takes effect exactly once: the SQL and its record are one commit |
//! | [`macro@communicator`] | sends HTTP requests | at least once until its result is recorded, then never again |
//! | [`macro@get`], [`macro@post`], … | answers HTTP requests | not durable itself: it starts workflows and reads |
//!
//! # A program
//!
//! This is all of it; `examples/greeting` has its table and its configuration.
//!
//! ```no_run
#![doc = include_str!("../../examples/greeting/src/lib.rs")]
//! ```
//!
//! # What to know
//!
//! * **Calls of steps look like calls and are not.** `insert_greeting(name, note)?` hands its arguments to the host,
//!   which runs the body in another instance of the component. Steps and workflows share no memory: a `static` that one
//!   sets, the other does not see.
//! * **Steps run side by side by handles.** `insert_greeting::start(name, note)?` starts the step and returns a [`Step`] to
//!   join; [`join_all`], [`select`], [`race`], [`timeout`] and [`map`] wait for several, for the first, for so long, and for
//!   many with a bound.
//! * **A workflow must not reach around its steps.** It has no network, no SQL, no environment and no files; its clock
//!   and its random numbers ([`now`], [`random`], [`uuid`], or those of any crate) are the same in every replay. A call in
//!   the wrong place is an error that names the call and the place where it belongs.
//! * **Arguments and results are JSON**, by parameter name: types need `Serialize`, `Deserialize` and `JsonSchema`. The
//!   derives of the latter want the crates `serde` and `schemars` among the program's own dependencies.
//! * **Errors cross as data.** A step that fails returns an [`Error`] with the name, message, code and data of the
//!   original, now and in every replay. A workflow that returns an error has ended, with that as its outcome.
//! * **Everything registers itself.** There is no `main` and no list of routes; names must be unique in a program.
//!
//! Build with `cargo build --release --target wasm32-wasip2` or `cargo component build --release`; the crate must be a
//! `cdylib`.

// The macros name this crate as its users do, in its own tests too.
#[cfg(test)]
extern crate self as dbos_guest;

mod arguments;
#[expect(missing_docs, reason = "the bindings are generated and private")]
mod bindings;
mod call;
mod chance;
pub mod env;
mod error;
mod events;
mod export;
mod handle;
mod host;
pub mod http;
pub mod log;
mod manifest;
mod messages;
mod panic;
mod parallel;
mod patches;
pub mod prelude;
mod promises;
mod registry;
mod runs;
mod sleep;
pub mod sql;
mod start_options;
mod streams;
mod web;

pub use dbos_guest_macros::{communicator, delete, get, patch, post, put, transaction, workflow};
pub use schemars;
pub use serde;
pub use serde_json;

pub use crate::{
    chance::{Random, now, random, uuid},
    error::{Cause, Context, Error, Result},
    events::{get_event, get_event_within, set_event},
    handle::{Handle, workflow_id},
    messages::{recv, send, send_once},
    parallel::{Group, Step, join_all, map, race, select, select_within, timeout},
    patches::{deprecate_patch, patch},
    promises::{Promise, promise, reject, resolve},
    runs::{RunStatus, Status, cancel, cancel_with_children, resume, run_status},
    sleep::{sleep, sleep_until},
    start_options::StartOptions,
    streams::{Stream, StreamValues, read_stream, read_stream_from, stream},
    web::{Html, IntoResponse, Json, Request, Response},
};

/// What the code that the macros generate calls. Not for use by hand: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use inventory;

    pub use crate::{
        arguments::{Arguments, encode_result},
        call::{call_communicator, call_transaction, continue_as_new, run_workflow, start_step, start_workflow},
        manifest::{parameter_schema, result_schema},
        registry::{Parameter, Route, Step, StepKind, Workflow},
        web::{AsJson, AsResponse, Reply},
    };
}

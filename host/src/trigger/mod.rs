//! HTTP in, HTTP out: the routes of apps, and the trigger that starts and reads workflows.
//!
//! This module must not know wasm or SQL. It turns requests into calls of the executor and what comes back into answers;
//! what goes wrong becomes a problem (RFC 9457) that says what was expected, what came, and what to do.

#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod problem;
mod routes;
mod server;
mod workflows;

pub(crate) use problem::Problem;
pub use routes::{RouteConflict, Routes};
pub use server::{ServeError, Server};

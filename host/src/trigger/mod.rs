//! HTTP in, HTTP out: the routes of apps, and the trigger that starts and reads workflows.
//!
//! This module must not know wasm or SQL. It turns requests into calls of the executor and what comes back into answers;
//! what goes wrong becomes a problem (RFC 9457) that says what was expected, what came, and what to do. Whoever can
//! reach the port can send anything, so everything that a client can make the host hold has a bound: connections,
//! requests, bytes, and the time that each may take.

mod answer;
mod body;
mod connection;
mod events;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod handler;
mod limits;
mod messages;
mod path;
mod prefer;
mod problem;
mod promises;
mod result;
mod routes;
mod server;
mod start;
mod streams;

pub use limits::HttpLimits;
pub(crate) use problem::Problem;
pub use routes::{RouteConflict, Routes};
pub use server::{ServeError, Server};

//! Helpers of the integration suite.
//!
//! The suite checks promises about crashes, so it works on the real thing: the host's own binary as a process that can be
//! killed and stopped, a real Postgres that can be restarted, and an outside world that counts what reaches it. All of
//! this must be gone when the tests are over, however they end, and nothing in it may wait for time to pass: a test
//! waits for events, by [`wait::eventually`].
//!
//! These helpers must not know what a test promises, and must not use the host as a library: what the tests see is what
//! an operator sees.

pub mod builder;
pub mod certificates;
pub mod database;
pub mod event_source;
pub mod host;
pub mod http;
mod message;
pub mod outside;
pub mod pooler;
pub mod postgres;
pub mod programs;
pub mod proxy;
pub mod schema;
pub mod snapshot;
mod supervisor;
pub mod wait;

pub use builder::HostBuilder;
pub use certificates::{Authority, Certificate};
pub use database::{Database, Notices, Run, Step, WRITTEN_BY};
pub use event_source::{Event, EventSource};
pub use host::{Hold, Host};
pub use http::{Reply, Request};
pub use outside::{Answer, Gate, Outside, Received};
pub use postgres::TestPostgres;
pub use proxy::{Cut, Proxy};
pub use wait::{eventually, until};

//! `dbos-host`: runs durable workflows, compiled to WebAssembly components, on Postgres.
//!
//! The folders are the parts of a run's life: a request comes in ([`trigger`]), an executor takes the workflow from its
//! row to its end ([`executor`]), its code runs in a sandbox ([`sandbox`]) and asks for things ([`calls`]), what it did
//! is recorded ([`database`]), and another host takes over when this one dies ([`recovery`]). [`workflow`] has the words,
//! [`retention`] removes what has ended, [`admin`] is the operator's door, [`cli`] puts everything together.
//! `ARCHITECTURE.md` draws the map.

pub mod admin;
pub mod calls;
pub mod cli;
pub mod clock;
pub mod database;
pub mod executor;
pub mod failpoint;
#[cfg(feature = "failpoints")]
pub mod fuzz;
pub mod local_postgres;
pub mod recovery;
pub mod retention;
pub mod sandbox;
pub mod trigger;
pub mod workflow;

//! The operator's door: a second HTTP server, for whoever runs the host and the tools that they have.
//!
//! Problem: whoever reaches this server can stop any workflow, and it asks nobody for a password. So it listens on this
//! machine only, and refuses what a page in the operator's own browser sends, wherever that page comes from (`guard`).
//! Its paths and their JSON are those of DBOS's admin servers, so that scripts made for them work; what this host does not
//! do is answered by a sentence, never by a pretence. This module must not know wasm or SQL.

mod cuts;
mod guard;
mod health;
mod list;
mod server;
mod shape;
mod workflows;

pub use server::{AdminServer, CannotListen};

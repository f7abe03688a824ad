//! The sandbox: wasmtime, and everything that is made of it — engine, components, instances, limits.
//!
//! Problem: the guest is not trusted and its host has other guests. So an instance has bounded memory, stack and processor
//! time, gives way to others every few milliseconds, and computes the same on every machine. This module must not know
//! Postgres or HTTP servers; what a guest may call is in [`crate::calls`].

mod artefact;
mod background;
mod backtrace;
mod component;
mod end;
mod engine;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod instance;
mod limits;
mod ticker;

pub use artefact::{ArtefactCache, CacheError};
pub use component::{Component, LoadError};
pub use end::{GuestEnd, Panic};
pub use engine::Sandbox;
pub use instance::Instance;
pub use limits::{Limit, Limits};

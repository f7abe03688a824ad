//! Staying alive in the eyes of others, and taking over from those who are not.
//!
//! Problem: hosts die without a word, and hosts that seem dead wake up. So a host holds a lease and renews it; past its
//! lease it begins no effect; and whoever takes a dead host's runs changes the owner in the database first, so that a late
//! waker can write nothing. What to do is decided by a pure function ([`plan`]); a thin loop carries it out. This module
//! must not know wasm.

mod changes;
mod lease;
pub mod plan;
mod request;
mod undo;
mod watch;

pub use changes::{LOOK_EVERY, follow_changes};
pub use lease::{Keeper, LEASE, Lease, acquire};
pub use request::{RecoverError, recover};
pub use undo::undo_what_failed;
pub use watch::watch;

//! What a guest may ask for: one file for each interface of the contract, and the gate.
//!
//! The host runs a guest in four phases, and each grants some calls only. Every file here answers for its calls in every
//! phase: a call that the phase does not grant gets an error that names the call and where it belongs, never a silent
//! zero. This module must not know how an instance is made or where a step runs; it asks [`Services`] for that.

mod ahead;
mod arguments;
pub mod bindings;
mod chain;
mod clocks;
mod communicator;
mod events;
mod gate;
mod guest;
mod interrupt;
mod listening;
mod log;
mod log_budget;
mod messages;
mod outbound;
mod parallel;
mod processor;
mod promises;
mod random;
mod requests;
mod services;
mod sleep;
mod sql;
mod streams;
mod transaction;
mod unsettled;
mod waits;
mod wasi;
mod withheld;
mod workflow;

pub use ahead::{Ahead, Committed, Orders};
pub use gate::{Gate, Inherited, MAX_PAYLOAD, no_such_workflow};
pub use guest::{CommunicatorCalls, Guest, HandlerCalls, MAX_HEADERS, Phase, TransactionCalls};
pub use interrupt::{Interrupt, WaitFor};
pub use listening::Listening;
pub use log::{AppLog, GuestLog};
pub use log_budget::LogBudget;
#[cfg(feature = "failpoints")]
pub use outbound::fuzz_outbound;
pub use outbound::{AllowList, Network, Origin, Outbound};
pub use processor::Processor;
pub use random::{Seed, Seeds};
pub use services::{Commit, Program, Services, StartRequest, StartedRun, StepCall, StepEnd};
pub use unsettled::{Behind, Unsettled};
pub use waits::Waits;
pub use wasi::add_to_linker;
pub use withheld::{Fate, Withheld, Withholding};

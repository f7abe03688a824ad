//! How a guest's function ended, told apart once and for all.

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use super::backtrace;
use super::limits::Limit;
use crate::calls::{GuestLog, Interrupt};
use crate::workflow::Failure;

/// What a guest has said as it panicked, and where.
#[derive(Debug)]
pub struct Panic {
    /// What it said, or what wasmtime did.
    pub text: String,
    /// The functions that it was in, the innermost first.
    pub backtrace: Vec<String>,
}

impl Panic {
    /// The failure that it is recorded as.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        Failure::panic(&self.text, self.backtrace)
    }
}

/// How a call into a guest ended.
#[derive(Debug)]
pub enum GuestEnd<T> {
    /// It returned.
    Returned(T),
    /// A call of the host gave the instance up.
    Interrupted(Interrupt),
    /// It passed a limit. Another machine or another time may do better.
    Limit(Limit),
    /// It panicked, or did something else that it would do again in each replay.
    Panicked(Panic),
    /// The host could not run it.
    Broken(String),
}

impl<T> GuestEnd<T> {
    /// Reads wasmtime's answer.
    pub(super) fn of(result: wasmtime::Result<T>, log: &GuestLog) -> Self {
        let error = match result {
            Ok(value) => return Self::Returned(value),
            Err(error) => error,
        };
        if let Some(interrupt) = error.downcast_ref::<Interrupt>() {
            return Self::Interrupted(interrupt.clone());
        }
        if let Some(limit) = error.downcast_ref::<Limit>() {
            return Self::Limit(limit.clone());
        }
        if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
            return Self::Limit(Limit::Handles);
        }
        // There are no types for these.
        let text = backtrace::without(&error);
        if text.contains("fuel allocated for hostcalls has been exhausted") {
            return Self::Limit(Limit::Transfer);
        }
        if text.contains("total size of fields exceeds limit") {
            return Self::Limit(Limit::Headers);
        }
        if text.contains("store handle limit exceeded") {
            return Self::Limit(Limit::Handles);
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Self::Limit(Limit::Stack),
            Some(trap) => {
                // A panic aborts with an "unreachable" trap; what it said was announced before, or printed.
                let said = log.take_panic();
                let text = said.unwrap_or_else(|| format!("the guest trapped: {trap}"));
                Self::Panicked(Panic { text, backtrace: backtrace::of(&error) })
            }
            None => match error.downcast_ref::<wasmtime_wasi::I32Exit>() {
                Some(exit) => {
                    let text = format!("the guest ended its process with status {}", exit.0);
                    Self::Panicked(Panic { text, backtrace: backtrace::of(&error) })
                }
                None => Self::Broken(text),
            },
        }
    }

    /// The same end with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> GuestEnd<U> {
        match self {
            Self::Returned(value) => GuestEnd::Returned(f(value)),
            Self::Interrupted(interrupt) => GuestEnd::Interrupted(interrupt),
            Self::Limit(limit) => GuestEnd::Limit(limit),
            Self::Panicked(panic) => GuestEnd::Panicked(panic),
            Self::Broken(text) => GuestEnd::Broken(text),
        }
    }
}

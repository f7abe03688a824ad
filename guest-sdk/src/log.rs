//! Log lines, on the host's console and wherever it sends its log.
//!
//! `log::info!("signed: {signature}")` takes what `format!` takes, and is available in every phase. A line that a
//! replay repeats is not printed twice.

use std::fmt;

use crate::host;

/// How much a line matters.
#[doc(hidden)]
pub use crate::host::Level;

#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace, __log_warn as warn,
};

/// What the macros call.
#[doc(hidden)]
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    host::log(level, &message.to_string());
}

/// Writes a line for those who look very closely.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Trace, ::std::format_args!($($message)+)) };
}

/// Writes a line for those who look for a fault.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Debug, ::std::format_args!($($message)+)) };
}

/// Writes a line for those who want to know what happens.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Info, ::std::format_args!($($message)+)) };
}

/// Writes a line about something that should be looked at.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::std::format_args!($($message)+)) };
}

/// Writes a line about something that failed.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Error, ::std::format_args!($($message)+)) };
}

//! Every call to the host, one thin function each, in a file for each part of the contract.
//!
//! The rest of the crate speaks in its own types and does not know the bindings. A program that is built for the
//! machine it is written on, for its own tests, has no host: there each call is an error that says so, where the
//! generated stubs would abort.

mod events;
mod messages;
mod parallel;
mod promises;
mod sql;
mod steps;
mod streams;
mod workflow;

#[cfg(not(target_family = "wasm"))]
use std::hash::{BuildHasher, RandomState};

use crate::{
    Cause, Error, Result,
    bindings::dbos::host::{log, types},
};

pub use crate::bindings::dbos::host::log::Level;
pub(crate) use events::{get_event, set_event};
pub(crate) use messages::{receive, send};
pub(crate) use parallel::{cancel_step, join_step, join_step_within, select_step, start_step};
pub(crate) use promises::{promise_link, promise_wait};
pub(crate) use sql::{Cursor, SQL_ERROR, execute, open_cursor, query, release, rollback_to, savepoint};
pub(crate) use steps::{call_communicator, call_transaction, sleep, sleep_until};
pub(crate) use streams::{close_stream, read_stream, write_stream};
pub(crate) use workflow::{
    StartOptions, cancel, continue_as_new, deprecate_patch, idempotency_key, outcome, outcome_within, patch, resume,
    start_workflow, status, workflow_id,
};

/// The name of errors about a call that is not available where it was made.
pub(crate) const PHASE_ERROR: &str = "PhaseError";

/// Fails where there is no host to call.
fn inside(call: &str) -> Result<()> {
    if cfg!(target_family = "wasm") {
        return Ok(());
    }
    let message = format!("`{call}` is only available in a component that dbos-host runs");
    Err(Error::new(message).with_name(PHASE_ERROR).do_not_retry())
}

/// Writes a log line; without a host, to standard error.
pub(crate) fn log(level: Level, message: &str) {
    match inside("log.write") {
        Ok(()) => log::write(level, message),
        Err(_) => eprintln!("[{level:?}] {message}"),
    }
}

/// Tells the host why the program is about to abort.
pub(crate) fn panic(message: &str, location: Option<&str>) {
    match inside("log.panic") {
        Ok(()) => log::panic(message, location),
        Err(_) => eprintln!("panicked at {}: {message}", location.unwrap_or("an unknown place")),
    }
}

/// Random bytes. A program that is built for the machine it is written on has no host to draw them: there they come from
/// the keys that its standard library draws for hash maps, which is chance enough for tests.
pub(crate) fn random_bytes(into: &mut [u8]) {
    #[cfg(target_family = "wasm")]
    into.copy_from_slice(&wasip2::random::random::get_random_bytes(into.len() as u64));
    #[cfg(not(target_family = "wasm"))]
    for piece in into.chunks_mut(8) {
        let hash = BuildHasher::hash_one(&RandomState::new(), ());
        piece.copy_from_slice(&hash.to_le_bytes()[..piece.len()]);
    }
}

/// Fails where there is no host that could send a request.
pub(crate) fn may_send_requests() -> Result<()> {
    inside("http")
}

/// The error that the host hands over.
///
/// A function, because the bindings make the type a standard error, for which `From` exists already and would keep
/// nothing but its text.
fn from_failure(failure: types::Failure) -> Error {
    let types::Failure { name, message, code, data, retryable, causes, backtrace } = failure;
    let causes = causes.into_iter().map(|types::Cause { name, message }| Cause { name, message }).collect();
    Error::from_parts(name, message, code, data, retryable).with_origin(causes, backtrace)
}

/// The error that is handed to the host.
pub(crate) fn into_failure(error: &Error) -> types::Failure {
    let cause = |cause: &Cause| types::Cause { name: cause.name.clone(), message: cause.message.clone() };
    types::Failure {
        name: error.name().to_owned(),
        message: error.message().to_owned(),
        code: error.code().map(str::to_owned),
        data: error.data_text().map(str::to_owned),
        retryable: error.is_retryable(),
        causes: error.causes().iter().map(cause).collect(),
        backtrace: error.backtrace().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::{from_failure, into_failure};
    use crate::{Cause, Error};

    #[test]
    fn an_error_crosses_to_the_host_and_back_unchanged() {
        let data = "{\"b\":1, \"a\":123456789012345678901234567890}".to_owned();
        let error = Error::from_parts("N".into(), "m".into(), Some("c".into()), Some(data.clone()), false);
        let cause = Cause { name: "C".into(), message: "why".into() };
        let error = error.with_origin(vec![cause.clone()], vec!["shop::pay".into()]);
        let failure = into_failure(&error);
        assert_eq!(failure.data.as_deref(), Some(data.as_str()));
        let back = from_failure(failure);
        assert_eq!((back.name(), back.message(), back.code(), back.is_retryable()), ("N", "m", Some("c"), false));
        assert_eq!(back.data_text(), Some(data.as_str()));
        assert_eq!((back.causes(), back.backtrace()), (&[cause][..], &["shop::pay".to_owned()][..]));
    }

    #[test]
    fn without_a_host_a_call_says_so() {
        let error = super::query("SELECT 1", "[]").unwrap_err();
        assert_eq!(error.message(), "`sql.query` is only available in a component that dbos-host runs");
        assert_eq!(error.name(), super::PHASE_ERROR);
    }
}

//! The Rust side of `wit/host.wit`, generated.
#![expect(missing_docs, reason = "the contract is documented in `wit/host.wit`; generated code repeats none of it")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "guest",
    imports: { default: async | trappable },
    exports: { default: async },
    with: { "dbos:host/sql.cursor": crate::database::CursorNumber },
});

pub use self::dbos::host as imports;
pub use self::exports::dbos::host::app;

use self::dbos::host::types;
use crate::workflow::{Cause, Failure, Origin};

/// A failure as it crosses to the guest. A code that is a number (other SDKs have such) crosses as its text.
impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        let code = failure.code.map(|code| match code {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        });
        let data = failure.data.map(|data| data.to_string());
        let Origin { causes, backtrace } = failure.origin.map(|origin| *origin).unwrap_or_default();
        let causes = causes.into_iter().map(|Cause { name, message }| types::Cause { name, message }).collect();
        let Failure { name, message, retryable, .. } = failure;
        Self { name: name.into(), message, code, data, retryable, causes, backtrace }
    }
}

/// A failure as it comes from the guest. Data that is not JSON is kept as the text that it is.
impl From<types::Failure> for Failure {
    fn from(failure: types::Failure) -> Self {
        let data = failure.data.map(|text| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)));
        let code = failure.code.map(serde_json::Value::String);
        let causes = failure.causes.into_iter().map(|types::Cause { name, message }| Cause { name, message }).collect();
        let types::Failure { name, message, retryable, backtrace, .. } = failure;
        Self { name: name.into(), message, code, data, retryable, origin: Origin::of(causes, backtrace) }
    }
}

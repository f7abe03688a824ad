//! Requests to the outside, in communicators.
//!
//! ```no_run
//! use dbos_guest::prelude::*;
//!
//! #[communicator(attempts = 3)]
//! fn charge(order: &str, cents: u64) -> Result<String> {
//!     let answer = http::post("https://payments.example/charges")
//!         .json(&json!({ "order": order, "cents": cents }))?
//!         .idempotency_key()?
//!         .timeout(Duration::from_secs(10))
//!         .send()?
//!         .error_for_status()?;
//!     answer.text()
//! }
//! ```
//!
//! The host sends a request only to where `outbound.allow` in `dbos-config.yaml` permits, checks each hop of a
//! redirect, and does nothing else to it: what the guest says is what is sent. There is no client to keep, no
//! connection to close.

mod redirect;
mod request;
mod response;
mod transport;
mod url;

pub use self::{request::Request, response::Response};

/// The name of errors about a request.
const HTTP_ERROR: &str = "HttpError";

/// A `GET` request; nothing is sent before [`Request::send`].
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// A `HEAD` request.
pub fn head(url: impl Into<String>) -> Request {
    request("HEAD", url)
}

/// A `POST` request.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// A `PUT` request.
pub fn put(url: impl Into<String>) -> Request {
    request("PUT", url)
}

/// A `PATCH` request.
pub fn patch(url: impl Into<String>) -> Request {
    request("PATCH", url)
}

/// A `DELETE` request.
pub fn delete(url: impl Into<String>) -> Request {
    request("DELETE", url)
}

/// A request with any method.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    Request::new(method.into(), &url.into())
}

//! What clients may make the host hold.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use crate::workflow::Code;

/// The longest target of a request (path and query), in bytes: what servers commonly take. More is data that belongs
/// into the body.
const MAX_TARGET: usize = 8 * 1024;

/// The most header fields of a request. Browsers behind some proxies send about forty.
const MAX_FIELDS: usize = 100;

/// The most bytes of header fields of a request: room for large cookies and tokens, which others allow 8 to 16 KiB for.
const MAX_FIELD_BYTES: usize = 32 * 1024;

/// The bodies of all requests together, in KiB. Each is held once here and again in its guest's memory.
const MAX_BODIES_KIB: u32 = 256 * 1024;

/// How soon a client that was turned away may ask again, in seconds: requests end within milliseconds as a rule.
pub(super) const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// What the operator says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Requests that are answered or wait at once.
    pub requests: u32,
    /// Connections at once. More wait in the kernel's queue.
    pub connections: u32,
    /// The largest body of a request, in KiB.
    pub body_kib: u32,
    /// The largest body of a handler's answer, in KiB.
    pub answer_kib: u32,
    /// How long the head of a request may take to arrive, its body after that, and the client to take an answer; and how
    /// long a connection may be idle.
    pub patience: Duration,
}

impl HttpLimits {
    /// The largest body of a request, in bytes.
    pub(super) fn body_bytes(&self) -> usize {
        bytes(self.body_kib)
    }

    /// The largest body of an answer, in bytes.
    pub(super) fn answer_bytes(&self) -> usize {
        bytes(self.answer_kib)
    }
}

fn bytes(kib: u32) -> usize {
    usize::try_from(kib).unwrap_or(usize::MAX / 1024).saturating_mul(1024)
}

/// The places for requests and for their bodies (lifetime: the process).
#[derive(Debug)]
pub(super) struct Places {
    requests: Arc<Semaphore>,
    body_kib: Arc<Semaphore>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _request: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(limits: &HttpLimits) -> Self {
        let semaphore = |count: u32| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(usize::MAX >> 4)));
        // One body of the largest size must find room, whatever the operator has chosen.
        Self {
            requests: semaphore(limits.requests),
            body_kib: semaphore(MAX_BODIES_KIB.max(limits.body_kib.saturating_add(1))),
        }
    }

    /// A place for a request; a problem if there is none.
    pub(super) fn request(&self) -> Result<Place, Problem> {
        let permit = Arc::clone(&self.requests).try_acquire_owned();
        permit.map(|permit| Place { _request: permit }).map_err(|_| too_busy("requests are being answered"))
    }

    /// Room for more bytes of bodies.
    pub(super) fn body(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.body_kib).try_acquire_many_owned(kib);
        permit.map_err(|_| too_busy("bytes of requests are held"))
    }
}

fn too_busy(what: &str) -> Problem {
    let text = format!("the host is too busy: as many {what} as it allows at once; nothing was done, try again");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code("too_busy"), text).header(header::RETRY_AFTER, RETRY_AFTER)
}

/// Checks the head of a request.
pub(super) fn check_head(parts: &Parts) -> Result<(), Problem> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET {
        let text = format!("path and query have {target} bytes, more than the limit of {MAX_TARGET}");
        return Err(Problem::new(StatusCode::URI_TOO_LONG, Code("uri_too_long"), text));
    }
    let fields = parts.headers.len();
    let bytes: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if fields > MAX_FIELDS || bytes > MAX_FIELD_BYTES {
        let text = format!(
            "the request has {fields} header fields of {bytes} bytes; the limits are {MAX_FIELDS} and {MAX_FIELD_BYTES}"
        );
        return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Code("headers_too_large"), text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_their_bodies_find_places_or_are_turned_away() {
        let limits =
            HttpLimits { requests: 2, connections: 1, body_kib: 1, answer_kib: 1, patience: Duration::from_secs(1) };
        let places = Places::new(&limits);
        let (first, _second) = (places.request().expect("a place"), places.request().expect("a place"));
        assert!(format!("{:?}", places.request().expect_err("no place")).contains("too_busy"));
        drop(first);
        assert!(places.request().is_ok());
        let all = places.body(bytes(MAX_BODIES_KIB)).expect("room for all");
        assert!(places.body(1).is_err());
        drop(all);
        assert!(places.body(1).is_ok());
        // An operator who allows larger bodies gets room for one.
        let large = HttpLimits { body_kib: 1024 * 1024, ..limits };
        assert!(Places::new(&large).body(large.body_bytes()).is_ok());
    }
}

//! The body of a request: read whole, within bounds of size, memory and time.

use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use tokio::sync::OwnedSemaphorePermit;

use super::problem::Problem;
use super::server::Shared;
use crate::workflow::Code;

/// A body, with the room that it takes among all bodies.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// The bytes for whoever consumes them, and the room to be kept until then.
    pub(super) fn into_parts(self) -> (Vec<u8>, Option<OwnedSemaphorePermit>) {
        (self.bytes, self.room)
    }

    fn add(&mut self, chunk: &Bytes, room: OwnedSemaphorePermit) {
        self.bytes.extend_from_slice(chunk);
        match &mut self.room {
            Some(all) => all.merge(room),
            none => *none = Some(room),
        }
    }
}

/// Reads a body.
pub(super) async fn read(shared: &Shared, body: Incoming) -> Result<Held, Problem> {
    let patience = shared.limits.patience;
    tokio::time::timeout(patience, read_all(shared, body)).await.unwrap_or_else(|_| {
        let text = format!("the body did not arrive within {} ms", patience.as_millis());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, Code("body_too_slow"), text))
    })
}

async fn read_all(shared: &Shared, mut body: Incoming) -> Result<Held, Problem> {
    let limit = shared.limits.body_bytes();
    let too_large = || {
        let text = format!("the body is larger than the limit of {limit} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code("body_too_large"), text).with("limit", limit)
    };
    // A client that says so in advance need not send it.
    if usize::try_from(body.size_hint().lower()).is_ok_and(|announced| announced > limit) {
        return Err(too_large());
    }
    let mut held = Held::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, Code("body_incomplete"), format!("the body was cut off: {error}"))
        })?;
        let Ok(chunk) = frame.into_data() else { continue };
        if held.bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        held.add(&chunk, shared.places.body(chunk.len())?);
    }
    Ok(held)
}

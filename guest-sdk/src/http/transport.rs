//! One exchange over `wasi:http`: a request goes out, the whole answer comes in.
//!
//! The interface is made of resources that wait separately: to be allowed to write, to be answered, for more of the
//! body. A timeout that means "in all" therefore needs one deadline, carried through every wait.

use std::time::Instant;

use wasip2::{
    clocks::monotonic_clock,
    http::{
        outgoing_handler,
        types::{ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme},
    },
    io::{
        poll::{self, Pollable},
        streams::StreamError,
    },
};

use super::{HTTP_ERROR, request::Outgoing, response::Response, url};
use crate::{Error, Result};

/// The largest body of an answer. Its caller will record what it makes of it, in a row of the database, and the guest's
/// memory is limited too; whoever moves more than this should pass a URL on.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// How much is read at once.
const CHUNK: u64 = 64 * 1024;

/// Sends a request and reads the whole answer.
pub(super) fn exchange(outgoing: &Outgoing<'_>) -> Result<Response> {
    let deadline = Deadline(outgoing.deadline);
    let (request, body) = request(outgoing)?;
    let answer = outgoing_handler::handle(request, None).map_err(|code| failure(&code))?;
    write(body, outgoing.body, &deadline)?;
    deadline.wait(&answer.subscribe())?;
    let answer = answer.get().and_then(std::result::Result::ok).ok_or_else(|| error("the answer was taken already"))?;
    let answer = answer.map_err(|code| failure(&code))?;
    let headers = answer.headers().entries();
    let (status, body) = (answer.status(), read(&answer, &deadline)?);
    Ok(Response { url: outgoing.url.to_string(), status, headers, body })
}

fn request(outgoing: &Outgoing<'_>) -> Result<(OutgoingRequest, OutgoingBody)> {
    let headers = Fields::new();
    for (name, value) in outgoing.headers {
        headers
            .append(name, value.as_bytes())
            .map_err(|_| error(format!("the host does not accept the header `{name}`")).do_not_retry())?;
    }
    let length = outgoing.body.len();
    if length > 0 {
        // Without it the body would be sent in chunks, which some services refuse.
        _ = headers.append("content-length", length.to_string().as_bytes());
    }
    let refused = |what: &str| error(format!("the host does not accept the {what}")).do_not_retry();
    let request = OutgoingRequest::new(headers);
    let scheme = match outgoing.url.scheme {
        url::Scheme::Http => Scheme::Http,
        url::Scheme::Https => Scheme::Https,
    };
    request.set_method(&method(outgoing.method)).map_err(|()| refused("method"))?;
    request.set_scheme(Some(&scheme)).map_err(|()| refused("scheme"))?;
    request.set_authority(Some(&outgoing.url.authority)).map_err(|()| refused("host name"))?;
    request.set_path_with_query(Some(&outgoing.url.path_and_query)).map_err(|()| refused("path"))?;
    let body = request.body().map_err(|()| refused("body"))?;
    Ok((request, body))
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        other => Method::Other(other.to_owned()),
    }
}

fn write(body: OutgoingBody, mut bytes: &[u8], deadline: &Deadline) -> Result<()> {
    let stream = body.write().map_err(|()| error("the body was written already"))?;
    while !bytes.is_empty() {
        let Ok(room) = stream.check_write() else {
            // The other side does not want more: its answer says why.
            return Ok(());
        };
        let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        if now.is_empty() {
            deadline.wait(&stream.subscribe())?;
        } else if stream.write(now).is_err() {
            return Ok(());
        }
        bytes = later;
    }
    // A failed flush, too, shows in the answer.
    if stream.flush().is_ok() {
        deadline.wait(&stream.subscribe())?;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|code| failure(&code))
}

fn read(answer: &IncomingResponse, deadline: &Deadline) -> Result<Vec<u8>> {
    let body: IncomingBody = answer.consume().map_err(|()| error("the body was read already"))?;
    let stream = body.stream().map_err(|()| error("the body was read already"))?;
    let mut bytes = Vec::new();
    loop {
        match stream.read(CHUNK) {
            Ok(chunk) if chunk.is_empty() => deadline.wait(&stream.subscribe())?,
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(why)) => {
                let why = why.to_debug_string();
                return Err(error(format!("the answer broke off: {why}")).with_code("http-response-incomplete"));
            }
        }
        if bytes.len() > LARGEST_BODY {
            let message = format!("the answer is larger than {} MiB", LARGEST_BODY / (1024 * 1024));
            return Err(error(message).with_code("http-response-body-size").do_not_retry());
        }
    }
}

/// When everything must be done.
struct Deadline(Instant);

impl Deadline {
    /// Waits until `ready` is, or fails when the time is over.
    fn wait(&self, ready: &Pollable) -> Result<()> {
        let left = self.0.saturating_duration_since(Instant::now());
        let nanoseconds = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        let timer = monotonic_clock::subscribe_duration(nanoseconds);
        match poll::poll(&[ready, &timer]).first() {
            Some(0) => Ok(()),
            _ => Err(error("it took longer than its timeout").with_code("timeout")),
        }
    }
}

/// The error for what the host or the other side reports. Its code is the name of the case: `connection-refused`.
fn failure(code: &ErrorCode) -> Error {
    let debug = format!("{code:?}");
    let case = debug.trim_start_matches("ErrorCode::");
    let (case, detail) = case.split_at(case.find(['(', ' ']).unwrap_or(case.len()));
    let code_text = kebab(case);
    match code {
        ErrorCode::HttpRequestDenied => {
            let message = "the host does not allow it\n\
                hint: requests are sent from communicators only, to where `outbound.allow` in dbos-config.yaml permits";
            error(message).with_code(code_text).do_not_retry()
        }
        ErrorCode::DestinationIpProhibited => {
            let message = "the host does not connect to where this name leads\n\
                hint: its address is not public; the log of the host has it, and `outbound.private` in dbos-config.yaml can \
                permit it";
            error(message).with_code(code_text).do_not_retry()
        }
        ErrorCode::InternalError(Some(message)) => error(message).with_code(code_text),
        _ => error(format!("{}{detail}", code_text.replace('-', " "))).with_code(code_text),
    }
}

/// `connection-refused` of `ConnectionRefused`.
fn kebab(case: &str) -> String {
    let mut text = String::new();
    for c in case.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

fn error(message: impl std::fmt::Display) -> Error {
    Error::new(message).with_name(HTTP_ERROR)
}

#[cfg(test)]
mod tests {
    use super::{ErrorCode, failure};

    #[test]
    fn what_the_host_reports_has_a_code_and_a_text() {
        let refused = failure(&ErrorCode::ConnectionRefused);
        assert_eq!((refused.code(), refused.message()), (Some("connection-refused"), "connection refused"));
        assert!(refused.is_retryable());
        let denied = failure(&ErrorCode::HttpRequestDenied);
        assert!(denied.message().contains("outbound.allow") && !denied.is_retryable(), "{denied}");
        assert_eq!(denied.code(), Some("http-request-denied"));
        let prohibited = failure(&ErrorCode::DestinationIpProhibited);
        assert!(prohibited.message().contains("outbound.private") && !prohibited.is_retryable(), "{prohibited}");
        let size = failure(&ErrorCode::HttpRequestBodySize(Some(7)));
        assert_eq!((size.code(), size.message()), (Some("http-request-body-size"), "http request body size(Some(7))"));
        assert_eq!(failure(&ErrorCode::InternalError(Some("x".into()))).message(), "x");
    }
}

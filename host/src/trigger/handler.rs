//! Requests for the apps' routes.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use hyper::body::Incoming;

use super::limits::Place;
use super::problem::Problem;
use super::routes::{Placeholders, Target};
use super::server::Shared;
use super::{body, path, start};
use crate::calls::bindings::app;
use crate::executor::HandlerError;
use crate::workflow::{Code, TraceContext, excerpt};

/// The most header fields of an answer, and their bytes: what a request may have. Clients give up at about the same.
const MAX_FIELDS: usize = 100;
const MAX_FIELD_BYTES: usize = 32 * 1024;

/// Headers that belong to the connection. The server writes them itself, from the body that there is.
const OF_THE_CONNECTION: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TRAILER,
    HeaderName::from_static("keep-alive"),
];

/// Has a handler answer a request.
pub(super) async fn answer(
    shared: Arc<Shared>,
    target: Target,
    placeholders: Placeholders,
    parts: Parts,
    incoming: Incoming,
    place: Place,
) -> Result<Response, Problem> {
    let placeholders = placeholders.into_iter().map(|(name, segment)| {
        let value = path::decoded(&name, &segment)?;
        Ok((name, value))
    });
    let path_parameters = placeholders.collect::<Result<Vec<_>, Problem>>()?;
    let key = start::idempotency_key(&parts.headers)?;
    let trace = start::trace(&parts.headers);
    let (body, room) = body::read(&shared, incoming).await?.into_parts();
    let request = app::Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        path_parameters,
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers.iter().map(|(n, v)| (n.as_str().to_owned(), v.as_bytes().to_vec())).collect(),
        body,
    };
    // In a task of its own: a client that goes away must not stop a handler between two of the runs that it starts. The
    // handler keeps its place even then.
    let answer = tokio::spawn(async move {
        let _held = (place, room);
        run(&shared, &target, request, (key, trace)).await
    });
    answer.await.unwrap_or_else(|error| {
        tracing::error!("answering a request failed: {error}");
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("internal"), "the host failed to answer"))
    })
}

async fn run(
    shared: &Shared,
    target: &Target,
    request: app::Request,
    (key, trace): (Option<String>, Option<TraceContext>),
) -> Result<Response, Problem> {
    let route = &target.route;
    match shared.executor.handle(&target.app, route, request, (key, trace)).await {
        Ok(answer) => from_guest(answer, shared.limits.answer_bytes()),
        Err(error) => {
            let trace = trace.map(TraceContext::trace_id);
            tracing::error!(app = %target.app.name(), trace, "the handler `{route}` gave no answer: {error}");
            let text = format!("the handler `{route}` gave no answer: {error}");
            Err(match error {
                HandlerError::Failed(_) => {
                    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("handler_failed"), text)
                }
                HandlerError::TimedOut(_) => Problem::new(StatusCode::GATEWAY_TIMEOUT, Code("handler_timeout"), text),
            })
        }
    }
}

/// A guest's answer; what is not HTTP in it is the guest's mistake.
fn from_guest(answer: app::Response, limit: usize) -> Result<Response, Problem> {
    let (fields, bytes) = answer
        .headers
        .iter()
        .fold((0_usize, 0_usize), |(fields, bytes), (name, value)| (fields + 1, bytes + name.len() + value.len()));
    let too_large = |text: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("answer_too_large"), text);
    if answer.body.len() > limit {
        let text = format!("the handler's answer has {} bytes, more than the limit of {limit}", answer.body.len());
        return Err(too_large(text));
    }
    if fields > MAX_FIELDS || bytes > MAX_FIELD_BYTES {
        return Err(too_large(format!(
            "the handler's answer has {fields} header fields of {bytes} bytes; the limits are {MAX_FIELDS} and \
             {MAX_FIELD_BYTES}"
        )));
    }
    let wrong = |what: String| {
        let text = format!("the handler's answer is not valid: {what}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("invalid_answer"), text)
    };
    let status = StatusCode::from_u16(answer.status).ok().filter(|status| !status.is_informational());
    let status = status.ok_or_else(|| wrong(format!("status {}", answer.status)))?;
    let mut response = (status, Body::from(answer.body)).into_response();
    // Axum makes one up for bytes; what the guest says, or nothing, is what is so.
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong(format!("header name `{}`", excerpt(&name.escape_debug().to_string()))))?;
        if OF_THE_CONNECTION.contains(&name) {
            continue;
        }
        let value = HeaderValue::from_bytes(&value).map_err(|_| wrong(format!("value of the header `{name}`")))?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &[u8])], body: usize) -> app::Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        app::Response { status, headers, body: vec![b'x'; body] }
    }

    fn refused(answer: app::Response) -> String {
        format!("{:?}", from_guest(answer, 1000).expect_err("must be refused"))
    }

    #[test]
    fn what_is_http_goes_out_as_it_is() {
        let headers: [(&str, &[u8]); 4] =
            [("X-One", b"1"), ("set-cookie", b"a"), ("set-cookie", b"\xff"), ("Content-Length", b"99")];
        let response = from_guest(answer(299, &headers, 1000), 1000).expect("an answer");
        assert_eq!(response.status(), 299);
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert!(response.headers().get("content-length").is_none() && response.headers()["x-one"] == "1");
    }

    #[test]
    fn what_is_not_http_is_the_handlers_mistake() {
        assert!(refused(answer(42, &[], 0)).contains("status 42"));
        assert!(refused(answer(100, &[], 0)).contains("status 100"));
        assert!(refused(answer(200, &[("a b", b"")], 0)).contains("header name `a b`"));
        assert!(refused(answer(200, &[("a", b"x\r\nset-cookie: y")], 0)).contains("value of the header `a`"));
        assert!(refused(answer(200, &[], 1001)).contains("1001 bytes, more than the limit of 1000"));
        let many: [(&str, &[u8]); 101] = [("a", b""); 101];
        assert!(refused(answer(200, &many, 0)).contains("101 header fields"));
        assert!(refused(answer(200, &[("a", &[b'x'; 40_000])], 0)).contains("answer_too_large"));
    }
}

//! `GET /workflows/{id}/streams/{key}`: the values of a stream, as they come, as server-sent events; or those that are there,
//! as JSON.
//!
//! A reader may lose its connection at any moment, and its host may stop. Nothing is kept for it here: it says which event it
//! has seen last, as browsers do by themselves, and any host goes on behind that. A reader that takes nothing holds up nobody
//! but itself: pages are read when there is room to send them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::limits::Place;
use super::problem::Problem;
use super::result::{READ_TIMEOUT, json_answer, no_such_workflow, unavailable};
use crate::executor::Executor;
use crate::failpoint;
use crate::workflow::{Code, Failure, Key, Offset, RecordedResult, StreamPage, Then, WorkflowId, excerpt};

/// How often a reader hears something when nothing comes: most proxies cut off what is silent for a minute, some for less. It
/// is also how a reader that is gone is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What the id of the event begins with that tells that there is no more.
const END: &str = "end-";

/// Answers with the values from where the client wants them.
pub(super) async fn answer(
    executor: Arc<Executor>,
    (run, key): (WorkflowId, &str),
    parts: &Parts,
    place: Place,
) -> Result<Response, Problem> {
    let key = Key::parse(key)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, Code("invalid_key"), error.to_string()))?;
    let From { offset, knows_the_end } = From::of(parts)?;
    let first = tokio::time::timeout(READ_TIMEOUT, executor.stream_so_far(&run, &key, offset)).await;
    let page = first.map_err(|error| unavailable(&run, &error))?.ok_or_else(|| no_such_workflow(&run))?;
    if wants_json(parts) {
        return as_json(page, offset);
    }
    if knows_the_end && page.values.is_empty() && page.then == Then::End {
        // By this status browsers learn not to ask again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let reader = Reader { executor, run, key, next: offset, page: Some(page), sent: false, over: false, _place: place };
    let chunks = stream::unfold(reader, |mut reader| async move {
        let chunk = reader.chunk().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), reader))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep events until it has a buffer full of them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Where a client wants to begin.
#[derive(Debug, PartialEq)]
struct From {
    offset: Offset,
    /// It was told that nothing comes from there on.
    knows_the_end: bool,
}

impl From {
    /// What a client has seen counts before what it has asked for at first: a browser that connects anew repeats both.
    fn of(parts: &Parts) -> Result<Self, Problem> {
        if let Some(seen) = parts.headers.get("last-event-id").filter(|seen| !seen.is_empty()) {
            let of_end = |text: &str| Some(Self { offset: Offset::parse(text)?, knows_the_end: true });
            let of_value = |text: &str| Some(Self { offset: Offset::parse(text)?.plus(1), knows_the_end: false });
            let from =
                seen.to_str().ok().and_then(|text| text.strip_prefix(END).map_or_else(|| of_value(text), of_end));
            let expected = "the id of an event of this stream";
            return from.ok_or_else(|| wrong("Last-Event-ID", &String::from_utf8_lossy(seen.as_bytes()), expected));
        }
        let asked = parts.uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("offset=")));
        let offset = asked.map_or(Ok(Offset::FIRST), |text| {
            Offset::parse(text).ok_or_else(|| wrong("offset", text, "a whole number, at most 2147483647"))
        })?;
        Ok(Self { offset, knows_the_end: false })
    }
}

fn wrong(parameter: &str, came: &str, expected: &str) -> Problem {
    let text = format!("`{parameter}` is `{}`: expected {expected}", excerpt(came));
    Problem::new(StatusCode::BAD_REQUEST, Code("bad_parameter"), text).with("parameter", parameter)
}

/// Events are for whoever does not ask for JSON.
fn wants_json(parts: &Parts) -> bool {
    let accepted = parts.headers.get_all(header::ACCEPT);
    let has = |kind: &str| accepted.iter().any(|value| value.to_str().is_ok_and(|text| text.contains(kind)));
    has("application/json") && !has("text/event-stream")
}

/// What is there, at once.
fn as_json(page: StreamPage, from: Offset) -> Result<Response, Problem> {
    let count = page.values.len();
    let mut values = Vec::new();
    for value in page.values {
        match told(value) {
            Ok(json) => values.push(json),
            Err(failure) if values.is_empty() => {
                let code = Code("unreadable_record");
                return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, failure.message));
            }
            // What comes before it can be told.
            Err(_) => break,
        }
    }
    let closed = page.then == Then::End && values.len() == count;
    // The values as they are written: numbers keep their digits.
    let text = format!(r#"{{"values":[{}],"next":{},"closed":{closed}}}"#, values.join(","), from.plus(values.len()));
    Ok(json_answer(StatusCode::OK, text))
}

/// A value as it is told.
fn told(value: RecordedResult) -> Result<String, Failure> {
    match value {
        RecordedResult::Output(json) => Ok(json),
        RecordedResult::Nothing => Ok("null".into()),
        RecordedResult::Failed(failure) => Err(failure),
    }
}

/// Somebody who is told of a stream (lifetime: one answer). It keeps its place among the requests.
struct Reader {
    executor: Arc<Executor>,
    run: WorkflowId,
    key: Key,
    next: Offset,
    /// What was read and not told yet.
    page: Option<StreamPage>,
    sent: bool,
    over: bool,
    _place: Place,
}

impl Reader {
    /// What is sent next. `None`: the answer ends, because the stream does, or the host stops.
    async fn chunk(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.sent) {
            failpoint::hit("stream.sent").await;
        }
        if self.over {
            return None;
        }
        let page = match self.page.take() {
            Some(first) => Some(first),
            None => tokio::select! {
                biased;
                () = self.executor.stopped() => return None,
                page = self.executor.stream_from(&self.run, &self.key, self.next) => page,
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b":\n\n")),
            },
        };
        // A run that was deleted meanwhile has no more either.
        let StreamPage { values, then } = page.unwrap_or(StreamPage { values: Vec::new(), then: Then::End });
        let mut text = String::new();
        for value in values {
            write_event(&mut text, &self.next.to_string(), told(value));
            self.next = self.next.plus(1);
        }
        if then == Then::End {
            self.over = true;
            write_end(&mut text, self.next);
        }
        if text.is_empty() {
            // Nothing is there yet. A comment lets the head of the answer out, so that the client knows that it is heard.
            text.push_str(":\n\n");
        } else {
            self.sent = true;
        }
        Some(text.into())
    }
}

fn write_event(text: &mut String, id: &str, value: Result<String, Failure>) {
    // Writing to a text cannot fail.
    let _ = match value {
        // A line ends an event's field. In JSON it can only stand between two tokens.
        Ok(json) => write!(text, "id: {id}\ndata: {}\n\n", json.replace(['\n', '\r'], " ")),
        Err(failure) => {
            let data = json!({ "code": "unreadable_record", "message": failure.message });
            write!(text, "event: unreadable\nid: {id}\ndata: {data}\n\n")
        }
    };
}

fn write_end(text: &mut String, next: Offset) {
    // Without data it would be no event for a browser.
    let _ = write!(text, "event: closed\nid: {END}{next}\ndata: null\n\n");
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(target: &str, headers: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_client_says_where_it_begins() {
        let from = |target, seen: Option<&str>| {
            let headers: Vec<_> = seen.into_iter().map(|seen| ("last-event-id", seen)).collect();
            let from = From::of(&parts(target, &headers)).ok()?;
            Some((from.offset.get(), from.knows_the_end))
        };
        assert_eq!(from("/s", None), Some((0, false)));
        assert_eq!(from("/s?a=b&offset=7", None), Some((7, false)));
        assert_eq!(from("/s?offset=7", Some("")), Some((7, false)));
        assert_eq!(from("/s?offset=7", Some("9")), Some((10, false)));
        assert_eq!(from("/s", Some("end-9")), Some((9, true)));
        for (target, seen) in
            [("/s?offset=", None), ("/s?offset=-1", None), ("/s", Some("x")), ("/s", Some("end-")), ("/s", Some("-1"))]
        {
            assert_eq!(from(target, seen), None, "{target} {seen:?}");
        }
    }

    #[test]
    fn events_are_for_whoever_does_not_ask_for_json() {
        let json = |accept: &[&str]| {
            let headers: Vec<_> = accept.iter().map(|accept| ("accept", *accept)).collect();
            wants_json(&parts("/s", &headers))
        };
        assert!(!json(&[]) && !json(&["*/*"]) && !json(&["text/event-stream"]));
        assert!(json(&["application/json"]) && json(&["text/plain", "application/json;q=0.5"]));
        assert!(!json(&["application/json, text/event-stream"]));
    }

    #[test]
    fn an_event_is_one_whatever_its_value_is() {
        let mut text = String::new();
        write_event(&mut text, "4", Ok("{\r\n \"a\": \"\\n\"\n}".into()));
        write_event(&mut text, "5", Err(Failure::new("Error", Code("unreadable_record"), "a\nb")));
        write_end(&mut text, Offset::FIRST.plus(6));
        let expected = "id: 4\ndata: {   \"a\": \"\\n\" }\n\n\
                        event: unreadable\nid: 5\ndata: {\"code\":\"unreadable_record\",\"message\":\"a\\nb\"}\n\n\
                        event: closed\nid: end-6\ndata: null\n\n";
        assert_eq!(text, expected);
    }
}

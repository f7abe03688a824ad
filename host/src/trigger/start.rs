//! `POST /workflows/{name}`: starting a workflow.

use std::sync::Arc;

use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::limits::RETRY_AFTER;
use super::problem::Problem;
use super::server::Shared;
use super::{body, prefer, result};
use crate::calls::StartRequest;
use crate::executor::{App, Difference, Executor, StartError};
use crate::failpoint;
use crate::workflow::{
    Arguments, ArgumentsError, Code, JsonError, RESERVED, Terms, Timeout, TraceContext, Unfit, WorkflowId, check_json,
    excerpt,
};

/// The request header that names a call, so that sending it twice starts one run.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The request header that says how long the run may last. It is no part of what the key names: a client that sends a start
/// again may want to wait less.
const WORKFLOW_TIMEOUT: &str = "workflow-timeout";

/// The request header that says which trace a request belongs to.
const TRACEPARENT: &str = "traceparent";

/// Starts a workflow and waits for its result as long as the client wants.
pub(super) async fn answer(
    shared: &Shared,
    name: &str,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Response, Problem> {
    refuse_pages_of_others(&parts.headers)?;
    let executor = &shared.executor;
    let app = find_app(executor, name)?;
    let wait = prefer::wait(parts)?;
    let id = idempotency_key(&parts.headers)?.map(|key| WorkflowId::chosen(&key)).transpose();
    let id = id.map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, Code("invalid_id"), format!("`Idempotency-Key`: {error}"))
    })?;
    let terms = Terms { timeout: timeout(&parts.headers)?, attributes: None };
    let body = body::read(shared, incoming).await?;
    let arguments = arguments(&parts.headers, &body.bytes)?;
    drop(body);
    let is_awaited = !wait.is_zero();
    let request = StartRequest { id, name: name.into(), arguments, trace: trace(&parts.headers), terms, is_awaited };
    let started = executor.start_workflow(&app, request).await.map_err(not_started)?;
    failpoint::hit("trigger.before_acknowledgement").await;
    let at = result::at(&started.id);
    if wait.is_zero() {
        return Ok(result::not_yet(&started.id, at));
    }
    let id = started.id.clone();
    result::wait(executor, &id, executor.outcome_of_started(started), wait, at).await
}

fn find_app(executor: &Executor, name: &str) -> Result<Arc<App>, Problem> {
    let app = executor.apps().find(|app| app.current().manifest().workflow(name).is_some());
    app.cloned().ok_or_else(|| {
        let known: Vec<String> = executor
            .apps()
            .flat_map(|app| app.current().manifest().workflows.iter().map(|w| w.name.clone()).collect::<Vec<_>>())
            .collect();
        let text = format!("there is no workflow `{}`", excerpt(name));
        Problem::new(StatusCode::NOT_FOUND, Code("unknown_workflow"), text).with("workflows", known)
    })
}

/// Refuses what a page on another site makes a browser send. A browser asks before it sends JSON to another site, and is
/// not answered; without that type it does not ask, and an empty body would start a workflow that has no parameters.
/// Browsers say where a request comes from; old ones only by `Origin`. Programs say neither.
pub(super) fn refuse_pages_of_others(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    // Whoever lets another site send JSON, by answering the browser's question in a proxy, has decided it.
    if text("content-type").as_deref().is_some_and(is_json) {
        return Ok(());
    }
    let is_of_another = match text("sec-fetch-site").as_deref() {
        Some(site) => matches!(site, "cross-site" | "same-site"),
        None => text("origin").is_some_and(|origin| {
            let host = origin.split_once("://").map(|(_, host)| host.to_ascii_lowercase());
            host.is_none() || host != text("host").map(|host| host.to_ascii_lowercase())
        }),
    };
    if is_of_another {
        let text = "the request comes from a page of another site, which can start workflows with the Content-Type \
                    `application/json` only, where a proxy allows it";
        return Err(Problem::new(StatusCode::FORBIDDEN, Code("forbidden_request"), text));
    }
    Ok(())
}

/// The arguments that a body has. What else than JSON comes is refused by its type: a page on another site can make a
/// browser send forms and plain text to this host, but not JSON.
fn arguments(headers: &HeaderMap, body: &[u8]) -> Result<Arguments, Problem> {
    // A workflow without parameters may be started without a body.
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Arguments::default());
    }
    Arguments::from_json(json_body(headers, body)?).map_err(|error| bad_arguments(&error))
}

/// The JSON that a body is. What says that it is something else is refused.
pub(super) fn json_body(headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if !content_type.as_deref().is_some_and(is_json) {
        let came = content_type.map_or("none".to_owned(), |text| format!("`{}`", excerpt(&text)));
        let text = format!("the Content-Type must be `application/json`, but {came} came");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code("unsupported_media_type"), text));
    }
    json_of(body)
}

fn json_of(body: &[u8]) -> Result<Value, Problem> {
    let malformed = |error: serde_json::Error| {
        Problem::new(StatusCode::BAD_REQUEST, Code("not_json"), format!("the body is not JSON: {error}"))
            .with("line", error.line())
            .with("column", error.column())
    };
    // What is no text has a place in it too, which the reader of bytes tells.
    let Ok(text) = std::str::from_utf8(body) else { return serde_json::from_slice(body).map_err(malformed) };
    check_json(text).map_err(|error| match error {
        JsonError::Malformed(error) => malformed(error),
        JsonError::TooLarge => {
            let text = format!("the body cannot be read: {error}");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code("payload_too_large"), text)
        }
    })?;
    serde_json::from_str(text).map_err(malformed)
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// The `Idempotency-Key` of a request. The standard's draft has it as a quoted string; many clients send it bare.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        let text = "`Idempotency-Key` has characters that are not visible ASCII";
        Problem::new(StatusCode::BAD_REQUEST, Code("invalid_id"), text)
    })?;
    let bare = text.trim();
    let unquoted = bare.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(bare);
    if unquoted.starts_with(RESERVED) {
        let text = format!("`Idempotency-Key` begins with `{RESERVED}`, as keys of the host do");
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code("invalid_id"), text));
    }
    Ok(Some(unquoted.to_owned()))
}

/// How long the run may last: a whole number of seconds.
fn timeout(headers: &HeaderMap) -> Result<Option<Timeout>, Problem> {
    let refused = |text: String| Problem::new(StatusCode::BAD_REQUEST, Code("bad_timeout"), text);
    let Some(value) = headers.get(WORKFLOW_TIMEOUT) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        let text = format!("`Workflow-Timeout` is `{}`: expected a whole number of seconds", excerpt(&text));
        return Err(refused(text));
    }
    let milliseconds = text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000);
    let timeout = Timeout::of_milliseconds(milliseconds);
    timeout.map(Some).map_err(|failure| refused(format!("`Workflow-Timeout`: {}", failure.message)))
}

/// The trace that a request belongs to. What is no trace, or two of them, is none.
pub(super) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() { None } else { TraceContext::parse(value.trim()) }
}

fn not_started(error: StartError) -> Problem {
    match &error {
        StartError::Unfit(error) => bad_arguments(error),
        StartError::Conflict { id, difference } => {
            let problem = Problem::new(StatusCode::CONFLICT, Code("id_conflict"), error.to_string());
            let problem = problem.with("id", id.as_str());
            match difference {
                Difference::Workflow { stored, sent } => {
                    problem.with("workflow", json!({ "stored": stored, "sent": excerpt(sent) }))
                }
                Difference::Arguments(arguments) => {
                    let told = arguments.iter().map(
                        |argument| json!({ "name": argument.name, "stored": argument.stored, "sent": argument.sent }),
                    );
                    problem.with("arguments", told.collect::<Vec<_>>())
                }
                Difference::Unreadable => problem,
            }
        }
        StartError::Refused(failure) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code("not_started"), failure.message.clone())
        }
        StartError::TooManyWaiting => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code("too_many_waiting"), error.to_string())
                .header(header::RETRY_AFTER, RETRY_AFTER)
        }
        StartError::ShuttingDown => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code("shutting_down"), error.to_string())
                .header(header::RETRY_AFTER, RETRY_AFTER)
        }
    }
}

/// Everything that is wrong with the arguments, each with its place as RFC 9457 shows it.
fn bad_arguments(error: &ArgumentsError) -> Problem {
    let problem = Problem::new(StatusCode::BAD_REQUEST, Code("bad_arguments"), error.to_string());
    let ArgumentsError::Unfit(unfit) = error else { return problem };
    let told = unfit.iter().map(|unfit| {
        let mut told = json!({
            "argument": unfit.name(), "pointer": format!("#{}", unfit.pointer()), "detail": unfit.to_string()
        });
        if let Unfit::Wrong { misfit, .. } = unfit {
            told["expected"] = misfit.expected.as_str().into();
            told["came"] = misfit.came.as_str().into();
        }
        told
    });
    problem.with("errors", told.collect::<Vec<Value>>())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        values.for_each(|(name, value)| _ = headers.append(name, value));
        headers
    }

    #[test]
    fn the_idempotency_key_may_be_quoted() {
        let key = |value| idempotency_key(&headers(IDEMPOTENCY_KEY, &[value])).expect("readable");
        assert_eq!(key("\"order-7\""), Some("order-7".into()));
        assert_eq!(key(" order-7 "), Some("order-7".into()));
        assert!(idempotency_key(&HeaderMap::new()).expect("readable").is_none());
    }

    #[test]
    fn a_timeout_is_a_whole_number_of_seconds() {
        let timeout = |value| timeout(&headers(WORKFLOW_TIMEOUT, &[value]));
        assert_eq!(timeout("30").expect("readable").map(Timeout::milliseconds), Some(30_000));
        for wrong in ["", "0", "-1", "1.5", "30s", "99999999999999999999999"] {
            assert!(timeout(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_is_known_by_its_type() {
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json"] {
            assert!(is_json(good), "{good}");
        }
        for bad in ["", "text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonp"] {
            assert!(!is_json(bad), "{bad}");
        }
    }

    #[test]
    fn pages_of_other_sites_start_nothing() {
        let refused = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
            refuse_pages_of_others(&pairs.collect()).is_err()
        };
        let (host, json) = (("host", "app.example:8000"), ("content-type", "application/json"));
        for other in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.example"),
            ("origin", "http://app.example"),
            ("origin", "null"),
        ] {
            assert!(refused(&[host, other]), "{other:?}");
            assert!(refused(&[host, other, ("content-type", "text/plain")]), "{other:?}");
            assert!(!refused(&[host, other, json]), "{other:?}");
        }
        for own in
            [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none"), ("origin", "http://APP.example:8000")]
        {
            assert!(!refused(&[host, own]), "{own:?}");
        }
        // What a proxy calls the host by its own name, the browser has judged by the other.
        assert!(!refused(&[host, ("sec-fetch-site", "same-origin"), ("origin", "https://public.example")]));
        assert!(!refused(&[host]));
    }

    #[test]
    fn a_trace_is_one_valid_header() {
        const ONE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace(&headers(TRACEPARENT, &[ONE])), TraceContext::parse(ONE));
        assert_eq!(trace(&headers(TRACEPARENT, &[ONE, ONE])), None);
        assert_eq!(trace(&headers(TRACEPARENT, &["none"])), None);
        assert_eq!(trace(&HeaderMap::new()), None);
    }
}

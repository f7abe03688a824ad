//! The trigger: `POST /workflows/{name}` and `GET /workflows/{id}`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::problem::Problem;
use crate::calls::StartRequest;
use crate::database::Outcome;
use crate::executor::{App, Executor, StartError};
use crate::failpoint;
use crate::workflow::{Arguments, Code, Failure, Status, WorkflowId};

/// The request header that names a call, so that sending it twice starts one run.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Starts a workflow and waits for its result, unless the client prefers not to.
pub(super) async fn start(executor: &Arc<Executor>, name: &str, headers: &HeaderMap, body: &Bytes) -> Response {
    match try_start(executor, name, headers, body).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn try_start(
    executor: &Arc<Executor>,
    name: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem> {
    let app = find_app(executor, name)?;
    let arguments = arguments(&app, name, body)?;
    let id = idempotency_key(headers)?.map(|key| WorkflowId::parse(&key)).transpose();
    let id = id.map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, Code("invalid_id"), format!("`Idempotency-Key`: {error}"))
    })?;
    let request = StartRequest { id, name: name.into(), arguments };
    let started = executor.start_workflow(&app, request).await.map_err(not_started)?;
    failpoint::hit("trigger.before_acknowledgement").await;
    let location = location(&started.id);
    if prefers_async(headers) {
        let body = json!({ "id": started.id.as_str() }).to_string();
        let mut response = (StatusCode::ACCEPTED, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(header::LOCATION, location);
        return Ok(response);
    }
    let outcome = tokio::select! {
        biased;
        outcome = executor.outcome_of(&started.id) => outcome,
        () = executor.stopped() => {
            let text = format!("the host is shutting down; the workflow `{}` goes on after it", started.id);
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code("shutting_down"), text).with("id", started.id.as_str());
            return Err(problem.header(header::RETRY_AFTER, HeaderValue::from_static("5")).header(header::LOCATION, location));
        }
    };
    let mut response = match outcome {
        Some(Outcome::Success(json)) => {
            let mut response = json.into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Some(Outcome::Failed(status, failure)) => failed(&started.id, status, &failure).into_response(),
        None => Problem::new(
            StatusCode::GONE,
            Code("workflow_deleted"),
            format!("the workflow `{}` was deleted", started.id),
        )
        .into_response(),
    };
    response.headers_mut().insert(header::CONTENT_LOCATION, location);
    Ok(response)
}

/// Tells about a run.
pub(super) async fn read(executor: &Arc<Executor>, id: &str) -> Response {
    let run = match WorkflowId::parse(id) {
        Ok(run) => run,
        Err(error) => {
            return Problem::new(StatusCode::BAD_REQUEST, Code("invalid_id"), error.to_string()).into_response();
        }
    };
    match executor.database().run(&run).await {
        Ok(Some(row)) => match serde_json::to_string(&row) {
            Ok(json) => {
                let mut response = json.into_response();
                let kind = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            Err(error) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("internal"), error.to_string()).into_response()
            }
        },
        Ok(None) => {
            Problem::new(StatusCode::NOT_FOUND, Code("no_such_workflow"), format!("there is no workflow `{id}`"))
                .into_response()
        }
        Err(error) => {
            tracing::warn!("cannot read the workflow `{id}`: {error}");
            let problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code("database_unavailable"),
                "the database does not answer; try again",
            );
            problem.header(header::RETRY_AFTER, HeaderValue::from_static("1")).into_response()
        }
    }
}

fn find_app(executor: &Executor, name: &str) -> Result<Arc<App>, Problem> {
    let app = executor.apps().find(|app| app.current().manifest().workflow(name).is_some());
    app.cloned().ok_or_else(|| {
        let known: Vec<String> = executor
            .apps()
            .flat_map(|app| app.current().manifest().workflows.iter().map(|w| w.name.clone()).collect::<Vec<_>>())
            .collect();
        Problem::new(StatusCode::NOT_FOUND, Code("unknown_workflow"), format!("there is no workflow `{name}`"))
            .with("workflows", known)
    })
}

fn arguments(app: &App, name: &str, body: &Bytes) -> Result<Arguments, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, Code("bad_arguments"), detail);
    // A workflow without parameters may be started without a body.
    let value = if body.iter().all(u8::is_ascii_whitespace) {
        json!({})
    } else {
        serde_json::from_slice(body).map_err(|error| bad(format!("the body is not JSON: {error}")))?
    };
    let arguments = Arguments::from_json(value).map_err(|error| bad(error.to_string()))?;
    let current = app.current();
    let parameters = current.manifest().workflow(name).map(|entry| entry.parameters.clone()).unwrap_or_default();
    arguments.check(&parameters).map_err(|error| bad(error.to_string()))?;
    Ok(arguments)
}

/// The `Idempotency-Key` of a request. The standard's draft has it as a quoted string; many clients send it bare.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            Code("invalid_id"),
            "`Idempotency-Key` has characters that are not visible ASCII",
        )
    })?;
    let bare = text.trim();
    let unquoted = bare.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(bare);
    Ok(Some(unquoted.to_owned()))
}

/// RFC 7240: `Prefer: respond-async`, among other preferences.
pub(super) fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    preferences
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

pub(super) fn location(id: &WorkflowId) -> HeaderValue {
    let encoded: String = id
        .as_str()
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    HeaderValue::from_str(&format!("/workflows/{encoded}")).expect("percent-encoded text is visible ASCII")
}

fn not_started(error: StartError) -> Problem {
    match error {
        StartError::Conflict { ref id, .. } => {
            let id = id.to_string();
            Problem::new(StatusCode::CONFLICT, Code("id_conflict"), error.to_string()).with("id", id)
        }
        StartError::Refused(failure) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code("not_started"), failure.message)
        }
        StartError::ShuttingDown => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code("shutting_down"), error.to_string())
                .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
        }
    }
}

fn failed(id: &WorkflowId, status: Status, failure: &Failure) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("workflow_failed"), failure.message.clone())
        .with("id", id.as_str())
        .with("workflowStatus", status.as_str())
        .with("error", serde_json::to_value(failure).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idempotency_key_may_be_quoted() {
        let key = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(value).expect("a value"));
            idempotency_key(&headers).expect("readable")
        };
        assert_eq!(key("\"order-7\""), Some("order-7".into()));
        assert_eq!(key(" order-7 "), Some("order-7".into()));
        assert!(idempotency_key(&HeaderMap::new()).expect("readable").is_none());
    }

    #[test]
    fn the_preference_stands_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert("prefer", HeaderValue::from_static("wait=10, Respond-Async"));
        assert!(prefers_async(&headers));
        assert!(!prefers_async(&HeaderMap::new()));
    }

    #[test]
    fn ids_are_encoded_in_locations() {
        let id = WorkflowId::parse("a/b ä").expect("an id");
        assert_eq!(location(&id), "/workflows/a%2Fb%20%C3%A4");
    }
}

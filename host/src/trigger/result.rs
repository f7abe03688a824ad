//! `GET /workflows/{id}` and `GET /workflows/{id}/result`: what became of a run.
//!
//! A client that waits holds a connection and one of the places for requests, and nothing else: it may go away at any
//! time, and the run goes on. It is never left without an answer for longer than it has asked for.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::problem::Problem;
use super::{path, prefer};
use crate::database::Outcome;
use crate::executor::Executor;
use crate::workflow::{Code, Failure, Status, WorkflowId, excerpt};

/// How long the database may take to tell about a run.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// When a client may ask again, in seconds.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");

/// The same when the host is being restarted.
const RETRY_AFTER_RESTART: HeaderValue = HeaderValue::from_static("5");

/// Tells about a run.
pub(super) async fn read(executor: &Executor, run: &WorkflowId) -> Result<Response, Problem> {
    let row = tokio::time::timeout(READ_TIMEOUT, executor.database().run(run)).await;
    let row = row.map_err(|error| unavailable(run, &error))?.map_err(|error| unavailable(run, &error))?;
    let mut row = row.ok_or_else(|| no_such_workflow(run))?;
    executor.tell_row(&mut row);
    row.error = row.error.map(for_clients);
    let text = serde_json::to_string(&row);
    let text =
        text.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("internal"), error.to_string()))?;
    Ok(json_answer(StatusCode::OK, text))
}

/// Waits for the end of a run. Everybody gets a first look, also those who do not want to wait.
pub(super) async fn answer(executor: &Arc<Executor>, run: &WorkflowId, parts: &Parts) -> Result<Response, Problem> {
    let time = prefer::wait(parts)?;
    let again = format!("{}/result", at(run));
    let seen = tokio::time::timeout(READ_TIMEOUT, executor.outcome_so_far(run)).await;
    match seen.map_err(|error| unavailable(run, &error))? {
        Some(None) if time.is_zero() => Ok(not_yet(run, again)),
        Some(None) => wait(executor, run, executor.outcome_of(run), time, again).await,
        seen => told(run, seen.flatten()),
    }
}

/// Waits for the end of a run for at most this time. `again` is where a client looks if that was too short.
pub(super) async fn wait(
    executor: &Executor,
    run: &WorkflowId,
    outcome: impl Future<Output = Option<Outcome>>,
    time: Duration,
    again: String,
) -> Result<Response, Problem> {
    tokio::select! {
        biased;
        outcome = tokio::time::timeout(time, outcome) => match outcome {
            Ok(outcome) => told(run, outcome),
            Err(_too_short) => Ok(not_yet(run, again)),
        },
        () = executor.stopped() => Err(shutting_down(run, &again)),
    }
}

/// The host stops while a client waits; `again` is where to look later.
pub(super) fn shutting_down(run: &WorkflowId, again: &str) -> Problem {
    let text = format!("the host is shutting down; the workflow `{run}` goes on after it");
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code("shutting_down"), text);
    let problem = problem.with("id", run.as_str()).header(header::RETRY_AFTER, RETRY_AFTER_RESTART);
    problem.header(header::LOCATION, value(again))
}

/// A run's end. `None`: there is no such run.
fn told(run: &WorkflowId, outcome: Option<Outcome>) -> Result<Response, Problem> {
    match outcome {
        Some(Outcome::Success(result)) => {
            let mut response = json_answer(StatusCode::OK, result);
            response.headers_mut().insert(header::CONTENT_LOCATION, value(&at(run)));
            Ok(response)
        }
        Some(Outcome::Failed(status, failure)) => Err(failed(run, status, &failure)),
        None => Err(no_such_workflow(run)),
    }
}

/// The run goes on; `again` is where to look later.
pub(super) fn not_yet(run: &WorkflowId, again: String) -> Response {
    let body = json!({ "id": run.as_str(), "result": format!("{}/result", at(run)) }).to_string();
    let mut response = json_answer(StatusCode::ACCEPTED, body);
    response.headers_mut().insert(header::LOCATION, value(&again));
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_SOON);
    response
}

fn value(location: &str) -> HeaderValue {
    HeaderValue::from_str(location).expect("percent-encoded text is visible ASCII")
}

pub(super) fn unavailable(run: &WorkflowId, error: &dyn Display) -> Problem {
    tracing::warn!("cannot read the workflow `{run}`: {error}");
    let text = "the database does not answer; try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code("database_unavailable"), text)
        .header(header::RETRY_AFTER, RETRY_SOON)
}

/// Where a run is told about.
pub(super) fn at(run: &WorkflowId) -> String {
    format!("/workflows/{}", path::encoded(run.as_str()))
}

pub(super) fn json_answer(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn no_such_workflow(run: &WorkflowId) -> Problem {
    let text = format!("there is no workflow `{}`", excerpt(run.as_str()));
    Problem::new(StatusCode::NOT_FOUND, Code("no_such_workflow"), text)
}

/// An error without the functions that it has ended: how the app works is for whoever runs it.
fn for_clients(mut error: Value) -> Value {
    if let Some(members) = error.as_object_mut() {
        members.remove("backtrace");
    }
    error
}

fn failed(run: &WorkflowId, status: Status, failure: &Failure) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("workflow_failed"), failure.message.clone())
        .with("id", run.as_str())
        .with("workflowStatus", status.as_str())
        .with("error", for_clients(serde_json::to_value(failure).unwrap_or_default()))
        .header(header::CONTENT_LOCATION, value(&at(run)))
}

//! `GET /workflows/{id}/events/{key}`: what a run shows, and waiting for it.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::problem::Problem;
use super::result::{READ_TIMEOUT, at, json_answer, no_such_workflow, shutting_down, unavailable};
use super::{path, prefer};
use crate::executor::Executor;
use crate::workflow::{Code, Key, RecordedResult, WorkflowId};

/// Waits for an event for as long as the client wants. Everybody gets a first look.
pub(super) async fn answer(
    executor: &Executor,
    run: &WorkflowId,
    key: &str,
    parts: &Parts,
) -> Result<Response, Problem> {
    let time = prefer::wait(parts)?;
    let key = Key::parse(key)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, Code("invalid_key"), error.to_string()))?;
    if let Some(value) = look(executor, run, &key).await? {
        return told(value);
    }
    let again = format!("{}/events/{}", at(run), path::encoded(key.as_str()));
    if time > Duration::ZERO {
        tokio::select! {
            biased;
            value = tokio::time::timeout(time, executor.event_of(run, &key)) => {
                if let Ok(value) = value {
                    return told(value);
                }
            }
            () = executor.stopped() => return Err(shutting_down(run, &again)),
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The event, if it is set; a problem if there is no such run.
async fn look(executor: &Executor, run: &WorkflowId, key: &Key) -> Result<Option<RecordedResult>, Problem> {
    let seen = async {
        let value = executor.event_so_far(run, key).await;
        let is_there = value.is_some() || executor.outcome_so_far(run).await.is_some();
        is_there.then_some(value)
    };
    let seen = tokio::time::timeout(READ_TIMEOUT, seen).await.map_err(|error| unavailable(run, &error))?;
    seen.ok_or_else(|| no_such_workflow(run))
}

fn told(value: RecordedResult) -> Result<Response, Problem> {
    match value {
        RecordedResult::Output(json) => Ok(json_answer(StatusCode::OK, json)),
        RecordedResult::Nothing => Ok(json_answer(StatusCode::OK, "null".into())),
        RecordedResult::Failed(failure) => {
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("unreadable_record"), failure.message))
        }
    }
}

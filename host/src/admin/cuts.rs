//! Workflows that are done again from one of their steps: forks under another id, rewinds under their own.
//!
//! The bodies are DBOS's, with one word more: a script that wants what has failed to be tried again seldom knows at which step
//! it did, so `start_step` may also be `"failed"`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::workflows::{Refused, answer, bad_request, chosen_id, parse_id, read_body};
use crate::database::{NewFork, Refusal, Version};
use crate::executor::{Executor, fresh_id};
use crate::trigger::Problem;
use crate::workflow::{ComponentDigest, Cut, StepNumber};

/// The body of a fork.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForkBody {
    start_step: Option<Value>,
    new_workflow_id: Option<String>,
    application_version: Option<String>,
}

/// The body of a rewind.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RewindBody {
    start_step: Option<Value>,
    application_version: Option<String>,
}

/// `POST /workflows/{id}/fork`; without a `start_step` from the beginning, as in DBOS. Answers with the id of the fork.
pub(super) async fn fork(State(executor): State<Arc<Executor>>, Path(id): Path<String>, body: Body) -> Response {
    let fork = async {
        let ForkBody { start_step, new_workflow_id, application_version } = parse(body).await?;
        let cut = start_step.map_or(Ok(Cut::Step(StepNumber::FIRST)), |step| cut(&step))?;
        make(&executor, &id, new_workflow_id.as_deref(), cut, version(application_version.as_deref())?).await
    };
    answer(fork.await)
}

/// `POST /workflows/{id}/restart`: a fork from the beginning.
pub(super) async fn restart(State(executor): State<Arc<Executor>>, Path(id): Path<String>) -> Response {
    answer(make(&executor, &id, None, Cut::Step(StepNumber::FIRST), Version::Same).await)
}

/// `POST /workflows/{id}/rewind`. What has been recorded is lost by it, so it must be told from which step on.
pub(super) async fn rewind(State(executor): State<Arc<Executor>>, Path(id): Path<String>, body: Body) -> Response {
    let rewind = async {
        let run = parse_id(&id)?;
        let RewindBody { start_step, application_version } = parse(body).await?;
        let cut = cut(&start_step.ok_or_else(|| bad_request("the body has no `start_step`".into()))?)?;
        let end = executor.rewind(&run, cut, &version(application_version.as_deref())?).await?;
        end.map(|_| StatusCode::NO_CONTENT.into_response()).map_err(refused)
    };
    answer(rewind.await)
}

async fn make(
    executor: &Executor,
    id: &str,
    fork: Option<&str>,
    cut: Cut,
    version: Version,
) -> Result<Response, Refused> {
    let run = parse_id(id)?;
    let fork = fork.map_or_else(|| Ok(fresh_id()), chosen_id)?;
    let new = NewFork { id: fork, cut, version };
    let step = executor.fork(&run, &new).await?.map_err(refused)?;
    Ok(Json(json!({ "workflow_id": new.id.as_str(), "start_step": step.get() })).into_response())
}

async fn parse<T: Default + for<'de> Deserialize<'de>>(body: Body) -> Result<T, Refused> {
    let body = read_body(body).await?;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(&body).map_err(|error| bad_request(format!("the body is not as expected: {error}")))
}

/// A number of a step, as a number or as text, or the word for the step that failed.
fn cut(step: &Value) -> Result<Cut, Refused> {
    let number = match step {
        Value::String(text) if text == "failed" => return Ok(Cut::Failure),
        Value::String(text) => text.parse().ok(),
        other => other.as_i64().and_then(|number| i32::try_from(number).ok()),
    };
    let number = number.map(StepNumber::stored).filter(|step| *step >= StepNumber::FIRST);
    number
        .map(Cut::Step)
        .ok_or_else(|| bad_request("`start_step` is to be the number of a step, from 1 on, or `\"failed\"`".into()))
}

fn version(text: Option<&str>) -> Result<Version, Refused> {
    match text {
        None => Ok(Version::Same),
        Some("current") => Ok(Version::Current),
        Some(text) => ComponentDigest::stored(text).map(Version::Given).ok_or_else(|| {
            bad_request("`application_version` is to be the digest of a component, or `current`".into())
        }),
    }
}

fn refused(refusal: Refusal) -> Refused {
    let status = match &refusal {
        Refusal::Unknown(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    };
    let (code, text) = (refusal.code(), refusal.to_string());
    let problem = Problem::new(status, code, text);
    match refusal {
        Refusal::NotEnded(_, status) | Refusal::NotFailed(_, status) => problem.with("workflowStatus", status.as_str()),
        _ => problem,
    }
    .into()
}

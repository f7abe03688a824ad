//! What can be asked about workflows, and done to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use super::guard::unavailable;
use super::{list, shape};
use crate::database::{Cancel, DatabaseError, HowToCancel, Resume, SHOWN};
use crate::executor::Executor;
use crate::recovery::{self, RecoverError};
use crate::trigger::Problem;
use crate::workflow::{Code, Status, WorkflowId};

/// The largest body of a request: a list of ten thousand ids has about half of it.
const MAX_BODY: usize = 1024 * 1024;

/// `POST /workflows`.
pub(super) async fn list(State(executor): State<Arc<Executor>>, body: Body) -> Response {
    answer(survey(&executor, body, false).await)
}

/// `POST /queues`.
pub(super) async fn list_queued(State(executor): State<Arc<Executor>>, body: Body) -> Response {
    answer(survey(&executor, body, true).await)
}

async fn survey(executor: &Executor, body: Body, queued: bool) -> Result<Response, Refused> {
    let asked = list::survey(&read_body(body).await?, queued).map_err(bad_request)?;
    let mut runs = executor.database().survey(&asked).await?;
    runs.iter_mut().for_each(|run| executor.tell_details(run));
    Ok(Json(runs.iter().map(shape::Workflow::of).collect::<Vec<_>>()).into_response())
}

/// `GET /workflows/{id}`.
pub(super) async fn read(State(executor): State<Arc<Executor>>, Path(id): Path<String>) -> Response {
    let read = async {
        let run = parse_id(&id)?;
        let mut details = executor.database().run_details(&run).await?.ok_or_else(|| unknown(&run))?;
        executor.tell_details(&mut details);
        Ok(Json(shape::Workflow::of(&details)).into_response())
    };
    answer(read.await)
}

/// `GET /workflows/{id}/steps`, with `limit` and `offset` in the query.
pub(super) async fn steps(
    State(executor): State<Arc<Executor>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let read = async {
        let run = parse_id(&id)?;
        let (limit, offset) = list::page(query.as_deref().unwrap_or_default()).map_err(bad_request)?;
        let steps = executor.database().step_details(&run, limit, offset).await?.ok_or_else(|| unknown(&run))?;
        Ok(Json(steps.iter().map(shape::Step::of).collect::<Vec<_>>()).into_response())
    };
    answer(read.await)
}

/// `GET /workflows/{id}/events`, with `limit` and `offset` in the query.
pub(super) async fn events(
    State(executor): State<Arc<Executor>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let read = async {
        let run = parse_id(&id)?;
        let page = list::page(query.as_deref().unwrap_or_default()).map_err(bad_request)?;
        let events = executor.database().events(&run, page, SHOWN).await?.ok_or_else(|| unknown(&run))?;
        Ok(Json(events.into_iter().collect::<BTreeMap<_, _>>()).into_response())
    };
    answer(read.await)
}

/// `POST /workflows/{id}/cancel`. The body may be left out, or say `{"cancel_children": true}` or
/// `{"without_undo": true}`.
pub(super) async fn cancel(State(executor): State<Arc<Executor>>, Path(id): Path<String>, body: Body) -> Response {
    let cancel = async {
        let run = parse_id(&id)?;
        let (with_children, without_undo) = list::how_to_cancel(&read_body(body).await?).map_err(bad_request)?;
        let ends = executor.cancel(&run, HowToCancel { of: None, without_undo }, with_children).await?;
        match ends.first().map(|(_, end)| *end) {
            Some(Cancel::Cancelled | Cancel::Already) => Ok(StatusCode::NO_CONTENT.into_response()),
            Some(Cancel::Ended(status)) => Err(ended(&run, status, "be cancelled")),
            Some(Cancel::Unknown) | None => Err(unknown(&run)),
        }
    };
    answer(cancel.await)
}

/// `POST /workflows/{id}/resume`.
pub(super) async fn resume(State(executor): State<Arc<Executor>>, Path(id): Path<String>) -> Response {
    let resume = async {
        let run = parse_id(&id)?;
        match executor.resume(&run, None).await? {
            Resume::Resumed => Ok(StatusCode::NO_CONTENT.into_response()),
            Resume::Ended(status) => Err(ended(&run, status, "be resumed")),
            Resume::Undone => {
                let text = format!("the workflow `{run}` is undone, or was, and cannot go on");
                Err(Problem::new(StatusCode::CONFLICT, Code("undone"), text).with("undo", format!("{run}-undo")).into())
            }
            Resume::Unknown => Err(unknown(&run)),
        }
    };
    answer(resume.await)
}

/// `POST /dbos-workflow-recovery` with a list of executors; answers with the ids of the runs that were taken over.
pub(super) async fn recover(State(executor): State<Arc<Executor>>, body: Body) -> Response {
    let recover = async {
        let executors: Vec<String> = serde_json::from_slice(&read_body(body).await?)
            .map_err(|_| bad_request("the body is to be a JSON list of executor ids, like `[\"host-1\"]`".into()))?;
        let problem = |status, code, error: &RecoverError| Problem::new(status, code, error.to_string());
        let taken = recovery::recover(&executor, executors).await.map_err(|error| match error {
            RecoverError::Own(_) | RecoverError::Alive { .. } => {
                problem(StatusCode::CONFLICT, Code("executor_alive"), &error).into()
            }
            RecoverError::ShuttingDown => {
                problem(StatusCode::SERVICE_UNAVAILABLE, Code("shutting_down"), &error).into()
            }
            RecoverError::Database(error) => Refused::from(error),
        })?;
        let ids: Vec<Value> = taken.iter().map(|run| run.as_str().into()).collect();
        Ok(Json(ids).into_response())
    };
    answer(recover.await)
}

/// Why a request has no answer of its own.
pub(super) enum Refused {
    Problem(Box<Problem>),
    Database(DatabaseError),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<DatabaseError> for Refused {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

pub(super) fn answer(result: Result<Response, Refused>) -> Response {
    let mut response = match result {
        Ok(response) => response,
        Err(Refused::Problem(problem)) => problem.into_response(),
        Err(Refused::Database(error)) => {
            tracing::warn!("cannot answer the admin server's client: {error}");
            unavailable()
        }
    };
    // What a run has stored is nothing that a proxy or a browser should keep.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) async fn read_body(body: Body) -> Result<Bytes, Refused> {
    axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| {
        let text = format!("the body is larger than the limit of {MAX_BODY} bytes, or was cut off");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code("body_too_large"), text).into()
    })
}

pub(super) fn parse_id(id: &str) -> Result<WorkflowId, Refused> {
    WorkflowId::parse(id).map_err(|error| invalid_id(&error.to_string()))
}

/// An id for a new run.
pub(super) fn chosen_id(id: &str) -> Result<WorkflowId, Refused> {
    WorkflowId::chosen(id).map_err(|error| invalid_id(&error.to_string()))
}

fn invalid_id(text: &str) -> Refused {
    Problem::new(StatusCode::BAD_REQUEST, Code("invalid_id"), text).into()
}

pub(super) fn bad_request(text: String) -> Refused {
    Problem::new(StatusCode::BAD_REQUEST, Code("bad_request"), text).into()
}

fn unknown(run: &WorkflowId) -> Refused {
    let text = format!("there is no workflow `{run}`");
    Problem::new(StatusCode::NOT_FOUND, Code("no_such_workflow"), text).into()
}

fn ended(run: &WorkflowId, status: Status, what: &str) -> Refused {
    let text = format!("the workflow `{run}` cannot {what}: it has ended with {status}");
    Problem::new(StatusCode::CONFLICT, Code("workflow_ended"), text).with("workflowStatus", status.as_str()).into()
}

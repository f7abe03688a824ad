//! `POST /workflows/{id}/messages`: sending a message to a run.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header;
use http::request::Parts;
use hyper::body::Incoming;

use super::limits::RETRY_AFTER;
use super::problem::Problem;
use super::server::Shared;
use super::start::{idempotency_key, json_body, refuse_pages_of_others};
use super::{body, path};
use crate::executor::SendError;
use crate::workflow::{Code, RESERVED, Topic, WorkflowId};

/// Sends what the body has. It is durable before the answer.
pub(super) async fn answer(
    shared: &Shared,
    run: &WorkflowId,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Response, Problem> {
    refuse_pages_of_others(&parts.headers)?;
    let topic = topic(parts)?;
    let key = idempotency_key(&parts.headers)?;
    // It becomes a part of the message's id.
    if let Some(Err(error)) = key.as_deref().map(WorkflowId::parse) {
        let text = format!("`Idempotency-Key`: {error}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code("invalid_id"), text));
    }
    let body = body::read(shared, incoming).await?;
    json_body(&parts.headers, &body.bytes)?;
    // As it came: numbers keep their digits. What is JSON is text.
    // Its room among all bodies is kept until it is written, however long the database takes.
    let (bytes, _room) = body.into_parts();
    let message = String::from_utf8(bytes).unwrap_or_default();
    shared.executor.send(run, &topic, (message, key.as_deref())).await.map_err(not_sent)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// What the message is about: `?topic=`.
fn topic(parts: &Parts) -> Result<Topic, Problem> {
    let given = parts.uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("topic=")));
    // In a query string, a plus is a space.
    let given = given.map(|text| path::decoded("topic", &text.replace('+', " "))).transpose()?;
    let invalid = |text| Problem::new(StatusCode::BAD_REQUEST, Code("invalid_topic"), text);
    if given.as_ref().is_some_and(|topic| topic.starts_with(RESERVED)) {
        return Err(invalid(format!(
            "the topic begins with `{RESERVED}`, as topics of the host do\n  hint: a promise is settled by its link"
        )));
    }
    Topic::parse(given.as_deref()).map_err(|error| invalid(error.to_string()))
}

pub(super) fn not_sent(error: SendError) -> Problem {
    let text = error.to_string();
    match error {
        SendError::TooLarge(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code("payload_too_large"), text),
        SendError::Otherwise => Problem::new(StatusCode::CONFLICT, Code("message_conflict"), text),
        SendError::Nobody(_) => Problem::new(StatusCode::NOT_FOUND, Code("no_such_workflow"), text),
        SendError::Refused(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code("not_sent"), text),
        SendError::ShuttingDown => Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code("shutting_down"), text)
            .header(header::RETRY_AFTER, RETRY_AFTER),
    }
}

//! `POST /workflows/{id}/promises/{name}`: settling a promise, by whoever has its link.
//!
//! A link goes to people and programs that have no other right here, so its signature is the permission, and there is no
//! other way in. Webhooks are sent again when their answer is lost: the second one hears what the first one would have.

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use super::body;
use super::messages::not_sent;
use super::problem::Problem;
use super::server::Shared;
use super::start::json_body;
use crate::executor::Settlement;
use crate::failpoint;
use crate::workflow::{Code, PromiseName, WorkflowId, rejection, resolution};

/// What a request wants of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Resolve,
    Reject,
}

/// Settles a promise.
pub(super) async fn answer(
    shared: &Shared,
    (run, name, wish): (&WorkflowId, &str, Wish),
    parts: &Parts,
    incoming: Incoming,
) -> Result<Response, Problem> {
    let query = parts.uri.query().unwrap_or_default();
    let signature = query.split('&').find_map(|pair| pair.strip_prefix("signature=")).unwrap_or_default();
    // A name that is none has no signature either.
    let name = PromiseName::parse(name).ok().filter(|name| shared.executor.is_signed(run, name, signature));
    let name = name.ok_or_else(|| {
        let text = "the request has no signature for this promise\n  hint: use the link as the workflow has made it";
        Problem::new(StatusCode::FORBIDDEN, Code("bad_signature"), text)
    })?;
    let body = body::read(shared, incoming).await?;
    let is_empty = body.bytes.iter().all(u8::is_ascii_whitespace);
    if !is_empty {
        json_body(&parts.headers, &body.bytes)?;
    }
    // What is JSON is text.
    let (bytes, _room) = body.into_parts();
    let text = String::from_utf8(bytes).unwrap_or_default();
    let message = match wish {
        Wish::Resolve => resolution(if is_empty { "null" } else { text.trim() }),
        Wish::Reject => rejection(if is_empty { "{}" } else { text.trim() }),
    };
    let message = message.map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, Code("not_a_settlement"), format!("the body settles nothing: {error}"))
    })?;
    let settlement = shared.executor.settle(run, &name, message).await.map_err(not_sent)?;
    failpoint::hit("promise.before_answer").await;
    match settlement {
        Settlement::Settled => {
            let mut response = Response::new(Body::from(json!({ "settled": name.as_str() }).to_string()));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            Ok(response)
        }
        Settlement::Otherwise => {
            let text = format!("the promise `{}` was settled otherwise before, and stays so", name.as_str());
            Err(Problem::new(StatusCode::CONFLICT, Code("promise_settled"), text))
        }
        Settlement::TooLate => {
            let text = format!("the workflow `{run}` has ended without the promise `{}`", name.as_str());
            Err(Problem::new(StatusCode::CONFLICT, Code("workflow_ended"), text))
        }
    }
}

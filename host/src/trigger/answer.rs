//! Answering one request: who does it, and what is the same for all.
//!
//! `/workflows` and what is below it is the host's; every other path is looked for among the routes of the apps.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;

use super::connection::Answers;
use super::limits::{Place, check_head};
use super::path;
use super::problem::Problem;
use super::promises::Wish;
use super::routes::Matched;
use super::server::Shared;
use super::{events, handler, messages, promises, result, start, streams};
use crate::workflow::{Code, WorkflowId};

/// A resource of the host's own.
enum Own<'a> {
    /// `/workflows/{name or id}`.
    Workflow(&'a str),
    /// `/workflows/{id}/result`.
    Result(&'a str),
    /// `/workflows/{id}/events/{key}`.
    Event(&'a str, &'a str),
    /// `/workflows/{id}/streams/{key}`.
    Stream(&'a str, &'a str),
    /// `/workflows/{id}/messages`.
    Messages(&'a str),
    /// `/workflows/{id}/promises/{name}`, or `…/reject`.
    Promise(&'a str, &'a str, Wish),
    /// Anything else below `/workflows`.
    Nothing,
}

impl Answers for Shared {
    async fn answer(self: Arc<Self>, request: http::Request<Incoming>) -> Response {
        let (parts, body) = request.into_parts();
        match self.try_answer(parts, body).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    }
}

impl Shared {
    async fn try_answer(self: Arc<Self>, parts: Parts, body: Incoming) -> Result<Response, Problem> {
        let place = self.places.request()?;
        check_head(&parts)?;
        match own(parts.uri.path()) {
            None => self.app(parts, body, place).await,
            Some(Own::Workflow(named)) => match parts.method.as_str() {
                "POST" => start::answer(&self, &path::decoded("name", named)?, &parts, body).await,
                "GET" | "HEAD" => result::read(&self.executor, &run(named)?).await,
                _ => not_that_method(&parts, &["GET", "POST"]),
            },
            Some(Own::Result(named)) => match parts.method.as_str() {
                "GET" | "HEAD" => result::answer(&self.executor, &run(named)?, &parts).await,
                _ => not_that_method(&parts, &["GET"]),
            },
            Some(Own::Event(named, key)) => match parts.method.as_str() {
                "GET" | "HEAD" => {
                    events::answer(&self.executor, &run(named)?, &path::decoded("key", key)?, &parts).await
                }
                _ => not_that_method(&parts, &["GET"]),
            },
            Some(Own::Stream(named, key)) => match parts.method.as_str() {
                "GET" | "HEAD" => {
                    let stream = (run(named)?, &*path::decoded("key", key)?);
                    streams::answer(Arc::clone(&self.executor), stream, &parts, place).await
                }
                _ => not_that_method(&parts, &["GET"]),
            },
            Some(Own::Messages(named)) => match parts.method.as_str() {
                "POST" => messages::answer(&self, &run(named)?, &parts, body).await,
                _ => not_that_method(&parts, &["POST"]),
            },
            Some(Own::Promise(named, name, wish)) => match parts.method.as_str() {
                "POST" => {
                    let promise = (&run(named)?, path::decoded("name", name)?);
                    promises::answer(&self, (promise.0, &promise.1, wish), &parts, body).await
                }
                _ => not_that_method(&parts, &["POST"]),
            },
            Some(Own::Nothing) => Err(unknown_route("the host", parts.uri.path(), None)),
        }
    }

    async fn app(self: Arc<Self>, parts: Parts, body: Incoming, place: Place) -> Result<Response, Problem> {
        let routes = self.routes();
        let at = parts.uri.path();
        match routes.find(&parts.method, at) {
            Matched::Handler(target, placeholders) => {
                handler::answer(self, target, placeholders, parts, body, place).await
            }
            Matched::OtherMethods(methods) => not_that_method(&parts, &methods),
            Matched::Nothing => {
                // A slash more or less is the mistake that nobody sees.
                let other = at.strip_suffix('/').map_or_else(|| format!("{at}/"), str::to_owned);
                let is_there = !matches!(routes.find(&parts.method, &other), Matched::Nothing);
                Err(unknown_route("an app", at, is_there.then_some(other)))
            }
        }
    }
}

fn own(path: &str) -> Option<Own<'_>> {
    let rest = path.strip_prefix("/workflows")?;
    let Some(rest) = rest.strip_prefix('/') else { return rest.is_empty().then_some(Own::Nothing) };
    Some(match rest.split_once('/') {
        _ if rest.is_empty() => Own::Nothing,
        None => Own::Workflow(rest),
        Some((id, "result")) if !id.is_empty() => Own::Result(id),
        Some((id, "messages")) if !id.is_empty() => Own::Messages(id),
        Some((id, of_run)) if !id.is_empty() => match of_run.split_once('/') {
            Some(("promises", name)) => match name.split_once('/') {
                None if !name.is_empty() => Own::Promise(id, name, Wish::Resolve),
                Some((name, "reject")) if !name.is_empty() => Own::Promise(id, name, Wish::Reject),
                _ => Own::Nothing,
            },
            Some(("events", key)) if !key.is_empty() && !key.contains('/') => Own::Event(id, key),
            Some(("streams", key)) if !key.is_empty() && !key.contains('/') => Own::Stream(id, key),
            _ => Own::Nothing,
        },
        Some(_) => Own::Nothing,
    })
}

fn run(named: &str) -> Result<WorkflowId, Problem> {
    let id = path::decoded("id", named)?;
    WorkflowId::parse(&id).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, Code("invalid_id"), error.to_string()))
}

/// The answer to a method that the path does not have; OPTIONS is how a client asks which there are.
fn not_that_method(parts: &Parts, methods: &[&str]) -> Result<Response, Problem> {
    let mut allowed = methods.to_vec();
    if let Some(get) = allowed.iter().position(|method| *method == "GET") {
        allowed.insert(get + 1, "HEAD");
    }
    allowed.push("OPTIONS");
    let allowed = allowed.join(", ");
    let allow = HeaderValue::from_str(&allowed).expect("names of methods are visible ASCII");
    if parts.method == Method::OPTIONS {
        let mut response = StatusCode::NO_CONTENT.into_response();
        response.headers_mut().insert(header::ALLOW, allow);
        return Ok(response);
    }
    let text = format!("`{}` is answered to {allowed}, not to {}", parts.uri.path(), parts.method);
    Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code("method_not_allowed"), text).header(header::ALLOW, allow))
}

fn unknown_route(who: &str, path: &str, other: Option<String>) -> Problem {
    let hint = other.map(|other| format!("\nhint: there is one for `{other}`")).unwrap_or_default();
    let text = format!("no route of {who} answers `{path}`{hint}");
    Problem::new(StatusCode::NOT_FOUND, Code("unknown_route"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_paths() {
        let told = |path| match own(path) {
            None => "app",
            Some(Own::Workflow(named)) => named,
            Some(Own::Result(_)) => "result",
            Some(Own::Event(_, key) | Own::Stream(_, key)) => key,
            Some(Own::Messages(_)) => "messages",
            Some(Own::Promise(_, name, Wish::Resolve)) => name,
            Some(Own::Promise(_, _, Wish::Reject)) => "reject",
            Some(Own::Nothing) => "nothing",
        };
        for (path, expected) in [
            ("/workflows/pay", "pay"),
            ("/workflows/a%2Fb", "a%2Fb"),
            ("/workflows/pay/result", "result"),
            ("/workflows/pay/events/a%2Fb", "a%2Fb"),
            ("/workflows/pay/streams/out", "out"),
            ("/workflows/pay/streams/", "nothing"),
            ("/workflows/pay/messages", "messages"),
            ("/workflows/pay/messages/", "nothing"),
            ("/workflows/pay/promises/yes", "yes"),
            ("/workflows/pay/promises/yes/reject", "reject"),
            ("/workflows/pay/promises/yes/", "nothing"),
            ("/workflows/pay/promises//reject", "nothing"),
            ("/workflows/pay/promises/", "nothing"),
            ("/workflows/pay/events/", "nothing"),
            ("/workflows/pay/events", "nothing"),
            ("/workflows/pay/events/a/b", "nothing"),
            ("/workflows//events/a", "nothing"),
            ("/workflows", "nothing"),
            ("/workflows/", "nothing"),
            ("/workflows//result", "nothing"),
            ("/workflows/pay/", "nothing"),
            ("/workflows/pay/result/", "nothing"),
            ("/workflowsx", "app"),
            ("/", "app"),
            ("", "app"),
        ] {
            assert_eq!(told(path), expected, "{path}");
        }
    }
}

//! The HTTP server.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::net::TcpListener;

use super::problem::Problem;
use super::routes::{Matched, Routes, Target};
use super::workflows;
use crate::calls::bindings::app;
use crate::executor::{Executor, HandlerError};
use crate::workflow::Code;

/// The largest body of a request, in bytes: what a step's arguments may have, and the guest holds it in memory twice.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// A server that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is in use.
    #[error("{0} is in use by another program\n  hint: stop it, or choose another port with `--listen`")]
    InUse(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Io(SocketAddr, std::io::Error),
}

/// The server (lifetime: the process).
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    executor: Arc<Executor>,
    routes: RwLock<Arc<Routes>>,
}

impl Server {
    /// Binds the address. Requests wait until [`Self::serve`].
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(address: SocketAddr, executor: Arc<Executor>, routes: Routes) -> Result<Self, ServeError> {
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => ServeError::InUse(address),
            _ => ServeError::Io(address, error),
        })?;
        let address = listener.local_addr().map_err(|error| ServeError::Io(address, error))?;
        let shared = Arc::new(Shared { executor, routes: RwLock::new(Arc::new(routes)) });
        Ok(Self { listener, address, shared })
    }

    /// The address, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle for replacing the routes when an app is deployed anew.
    pub fn replace_routes(&self) -> impl Fn(Routes) + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move |routes| *shared.routes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes)
    }

    /// Serves until `stop`, then finishes the requests that have begun.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        let router =
            Router::new().route("/workflows/{name}", post(start).get(read)).fallback(handle).with_state(self.shared);
        let listener = axum::serve::ListenerExt::tap_io(self.listener, |stream| {
            // Without this an answer may wait 40 ms for the client's acknowledgement.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!("cannot set TCP_NODELAY: {error}");
            }
        });
        axum::serve(listener, router).with_graceful_shutdown(stop).await
    }
}

async fn start(State(shared): State<Arc<Shared>>, Path(name): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    workflows::start(&shared.executor, &name, &parts.headers, &body).await
}

async fn read(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    workflows::read(&shared.executor, &id).await
}

/// A request for an app.
async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let routes = Arc::clone(&shared.routes.read().unwrap_or_else(PoisonError::into_inner));
    let (parts, body) = request.into_parts();
    let (target, placeholders) = match routes.find(&parts.method, parts.uri.path()) {
        Matched::Handler(target, placeholders) => (target, placeholders),
        Matched::OtherMethods(methods) => {
            let allow = methods.join(", ");
            let text = format!("`{}` is answered to {allow}, not to {}", parts.uri.path(), parts.method);
            let allow = HeaderValue::from_str(&allow).expect("names of methods are visible ASCII");
            return Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code("method_not_allowed"), text)
                .header(header::ALLOW, allow)
                .into_response();
        }
        Matched::Nothing => {
            let text = format!("no route of an app answers `{}`", parts.uri.path());
            return Problem::new(StatusCode::NOT_FOUND, Code("unknown_route"), text).into_response();
        }
    };
    let key = match workflows::idempotency_key(&parts.headers) {
        Ok(key) => key,
        Err(problem) => return problem.into_response(),
    };
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let request = app::Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        path_parameters: placeholders,
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers.iter().map(|(n, v)| (n.as_str().to_owned(), v.as_bytes().to_vec())).collect(),
        body: body.to_vec(),
    };
    // In a task of its own: a client that goes away must not stop a handler between two of the runs that it starts.
    let answer = tokio::spawn(async move { answer(&shared.executor, target, request, key).await });
    match answer.await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!("answering a request failed: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("internal"), "the host failed to answer")
                .into_response()
        }
    }
}

async fn answer(executor: &Arc<Executor>, target: Target, request: app::Request, key: Option<String>) -> Response {
    match executor.handle(&target.app, &target.route, request, key).await {
        Ok(response) => from_guest(response),
        Err(error) => {
            tracing::error!(app = %target.app.name(), "the handler `{}` gave no answer: {error}", target.route);
            let text = format!("the handler `{}` gave no answer: {error}", target.route);
            match error {
                HandlerError::Failed(_) => {
                    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("handler_failed"), text).into_response()
                }
                HandlerError::TimedOut(_) => {
                    Problem::new(StatusCode::GATEWAY_TIMEOUT, Code("handler_timeout"), text).into_response()
                }
            }
        }
    }
}

/// A guest's answer; what is not HTTP in it is the guest's mistake.
fn from_guest(answer: app::Response) -> Response {
    let wrong = |what: String| {
        let text = format!("the handler's answer is not valid: {what}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code("invalid_answer"), text).into_response()
    };
    let Some(status) = StatusCode::from_u16(answer.status).ok().filter(|status| !status.is_informational()) else {
        return wrong(format!("status {}", answer.status));
    };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = status;
    for (name, value) in answer.headers {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return wrong(format!("header name `{}`", name.escape_debug()));
        };
        // The server writes these itself, from the body that there is.
        if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].contains(&parsed) {
            continue;
        }
        let Ok(value) = HeaderValue::from_bytes(&value) else {
            return wrong(format!("value of the header `{parsed}`"));
        };
        response.headers_mut().append(parsed, value);
    }
    response
}

async fn read_body(body: Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| {
        let text = format!("the body is larger than the limit of {MAX_BODY} bytes, or was cut off");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code("body_too_large"), text)
    })
}

//! The admin server and its paths.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::{Method, StatusCode, Uri};
use tokio::net::TcpListener;

use super::{cuts, guard, health, workflows};
use crate::executor::Executor;
use crate::trigger::Problem;
use crate::workflow::Code;

/// The server cannot have its address.
#[derive(Debug, thiserror::Error)]
pub enum CannotListen {
    /// Another program has it.
    #[error(
        "{0} is in use by another program, perhaps another host\n  hint: choose another port with `admin.listen` or `--admin-listen`, or turn the admin server off with `off`"
    )]
    InUse(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}\n  hint: see `admin.listen`")]
    Io(SocketAddr, std::io::Error),
}

/// The server (lifetime: the process).
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    executor: Arc<Executor>,
}

impl AdminServer {
    /// Binds an address of this machine.
    ///
    /// # Errors
    /// When it cannot be had.
    ///
    /// # Panics
    /// If it is not a loopback address: the configuration takes no other.
    pub async fn bind(address: SocketAddr, executor: Arc<Executor>) -> Result<Self, CannotListen> {
        assert!(address.ip().is_loopback(), "the admin server is for this machine only");
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => CannotListen::InUse(address),
            _ => CannotListen::Io(address, error),
        })?;
        let address = listener.local_addr().map_err(|error| CannotListen::Io(address, error))?;
        Ok(Self { listener, address, executor })
    }

    /// The address, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for ever. Whoever ends the process drops it last, so that it can be asked how the shutdown goes.
    pub async fn serve(self) {
        if let Err(error) = axum::serve(self.listener, router(self.executor)).await {
            tracing::error!("the admin server ended: {error}");
        }
    }
}

fn router(executor: Arc<Executor>) -> Router {
    let router = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/dbos-healthz", get(health::healthy))
        .route("/dbos-workflow-recovery", post(workflows::recover))
        .route("/workflows", post(workflows::list))
        .route("/queues", post(workflows::list_queued))
        .route("/workflows/{id}", get(workflows::read))
        .route("/workflows/{id}/steps", get(workflows::steps))
        .route("/workflows/{id}/events", get(workflows::events))
        .route("/workflows/{id}/cancel", post(workflows::cancel))
        .route("/workflows/{id}/resume", post(workflows::resume))
        .route("/workflows/{id}/fork", post(cuts::fork))
        .route("/workflows/{id}/restart", post(cuts::restart))
        .route("/workflows/{id}/rewind", post(cuts::rewind));
    let router = NOT_BUILT.iter().fold(router, |router, (path, is_post, what)| {
        let answer = move || async move { not_built(what) };
        let methods: MethodRouter<Arc<Executor>> = if *is_post { post(answer) } else { get(answer) };
        router.route(path, methods)
    });
    router
        .fallback(unknown)
        .method_not_allowed_fallback(other_method)
        .with_state(executor)
        .layer(middleware::from_fn(guard::check))
}

/// Paths of DBOS's admin servers that this host does not have, with what takes their place.
const NOT_BUILT: &[(&str, bool, &str)] = &[
    ("/deactivate", false, "going on with old workflows without taking new ones; SIGTERM stops the host gracefully"),
    ("/dbos-workflow-queues-metadata", false, "queues with limits of their own"),
    ("/dbos-garbage-collect", true, "deleting old workflows; what is recorded stays until you delete it"),
    ("/dbos-global-timeout", true, "cancelling all workflows of a time; `POST /workflows` lists them by `end_time`"),
    ("/dbos-perf", false, "measuring the process"),
];

fn not_built(what: &str) -> Response {
    let text = format!("this host does not have it yet: {what}");
    Problem::new(StatusCode::NOT_IMPLEMENTED, Code("not_built"), text).into_response()
}

async fn unknown(uri: Uri) -> Response {
    let text = format!("the admin server has no path `{}`", uri.path());
    Problem::new(StatusCode::NOT_FOUND, Code("unknown_route"), text).into_response()
}

/// The router adds `Allow`.
async fn other_method(method: Method, uri: Uri) -> Response {
    let text = format!("`{}` is not answered to {method}; `Allow` has the methods that are", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code("method_not_allowed"), text).into_response()
}

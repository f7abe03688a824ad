//! Whether the process lives, and whether it can do its work: for supervisors and load balancers.
//!
//! The two are different questions. A host whose database is away lives: to restart it would help nobody. It is not ready:
//! what is sent to it has to wait.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::executor::Executor;

/// How long the database may take to answer. Whoever asks wants to know now; a second is long for `SELECT 1`.
const PATIENCE: Duration = Duration::from_secs(1);

/// The process lives: it has answered.
pub(super) async fn live() -> Response {
    Json(json!({ "status": "live" })).into_response()
}

/// As DBOS's own admin servers answer.
pub(super) async fn healthy() -> &'static str {
    "healthy"
}

/// Ready when everything that a workflow needs is there; otherwise 503, and the body says what is not.
pub(super) async fn ready(State(executor): State<Arc<Executor>>) -> Response {
    let database = match tokio::time::timeout(PATIENCE, executor.database().answers()).await {
        Ok(Ok(())) => "ok".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {PATIENCE:?}"),
    };
    let lease = if executor.holds_lease() { "ok" } else { "not held: others may take this host's workflows" };
    let shutdown = if executor.is_stopping() { "the host is shutting down" } else { "ok" };
    let apps: Vec<Value> = executor.apps().map(|app| app.name().as_str().into()).collect();
    let is_ready = database == "ok" && lease == "ok" && shutdown == "ok" && !apps.is_empty();
    let (status, word) =
        if is_ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let checks = json!({ "database": database, "lease": lease, "shutdown": shutdown });
    let body = json!({ "status": word, "executor": executor.identity().executor, "apps": apps, "checks": checks });
    (status, Json(body)).into_response()
}

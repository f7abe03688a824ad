//! Answering a request with a guest's handler.

use std::sync::Arc;
use std::time::Duration;

use tracing::Level;

use super::{App, Executor};
use crate::calls::bindings::app::{Request, Response};
use crate::calls::{Guest, GuestLog, HandlerCalls, Phase, Services};
use crate::sandbox::{GuestEnd, Instance, Panic};
use crate::workflow::TraceContext;

/// A handler that gave no answer. What it started goes on.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// It panicked, passed a limit, or could not be run.
    #[error("{0}")]
    Failed(String),
    /// It took too long.
    #[error(
        "it took longer than the limit of {0:?}\n  hint: start the workflow, and answer with its id; its result can be \
         asked for later"
    )]
    TimedOut(Duration),
}

impl Executor {
    /// Runs the handler of a route in an instance of its own.
    ///
    /// # Errors
    /// When the handler gave no answer.
    pub async fn handle(
        &self,
        app: &Arc<App>,
        route: &str,
        request: Request,
        (idempotency_key, trace): (Option<String>, Option<TraceContext>),
    ) -> Result<Response, HandlerError> {
        let component = app.current();
        let slot = self.slots.handler().await;
        let services: Arc<dyn Services> = self.this();
        let program = app.program(&component);
        let phase = Phase::Handler(HandlerCalls::new(services, program, (route, idempotency_key), trace));
        let log = GuestLog::new(app.log(), None).traced(trace);
        let said = log.clone();
        let guest = Guest::acting(phase, log, &app.settings().env, &app.settings().outbound);
        let limit = self.limits.handler;
        let answering = async { Instance::new(&component, guest, slot).handle(route.to_owned(), request).await };
        let Ok(end) = tokio::time::timeout(limit, answering).await else {
            return Err(HandlerError::TimedOut(limit));
        };
        match end {
            GuestEnd::Returned(response) => Ok(response),
            GuestEnd::Panicked(Panic { text, backtrace }) => {
                // Only for whoever runs the app: the client is not told how it works.
                if !backtrace.is_empty() {
                    said.line(Level::ERROR, format!("the handler panicked in {}", backtrace.join(" < ")));
                }
                Err(HandlerError::Failed(format!("the handler panicked: {text}")))
            }
            GuestEnd::Limit(limit) => Err(HandlerError::Failed(limit.to_string())),
            GuestEnd::Interrupted(interrupt) => Err(HandlerError::Failed(interrupt.to_string())),
            GuestEnd::Broken(text) => Err(HandlerError::Failed(text)),
        }
    }
}

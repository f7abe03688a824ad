//! Answering a request with a guest's handler.

use std::sync::Arc;

use super::{App, Executor};
use crate::calls::bindings::app::{Request, Response};
use crate::calls::{Guest, GuestLog, HandlerCalls, Phase, Services};
use crate::sandbox::{GuestEnd, Instance};

/// A handler that gave no answer. What it started goes on.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// It panicked, passed a limit, or could not be run.
    #[error("{0}")]
    Failed(String),
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
        idempotency_key: Option<String>,
    ) -> Result<Response, HandlerError> {
        let component = app.current();
        let _slot = self.slots.handler().await;
        let services: Arc<dyn Services> = self.this();
        let program = app.program(&component);
        let phase = Phase::Handler(HandlerCalls { services, program, idempotency_key, started: 0 });
        let log = GuestLog::new(app.name(), None);
        let guest = Guest::acting(phase, log, &app.settings().env, &app.settings().outbound);
        let mut instance = Instance::new(&component, guest).await;
        match instance.handle(&route.to_owned(), &request).await {
            GuestEnd::Returned(response) => Ok(response),
            GuestEnd::Panicked(text) => Err(HandlerError::Failed(format!("the handler panicked: {text}"))),
            GuestEnd::Limit(limit) => Err(HandlerError::Failed(limit.to_string())),
            GuestEnd::Interrupted(interrupt) => Err(HandlerError::Failed(interrupt.to_string())),
            GuestEnd::Broken(text) => Err(HandlerError::Failed(text)),
        }
    }
}

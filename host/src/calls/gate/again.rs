//! Continuing with other arguments and without what is recorded.
//!
//! The guest says so and returns; only then is anything done, because only then is it known that nothing else comes. Until it
//! is, a crash replays the old history, which comes to the same.

use super::{Gate, Streams};
use crate::calls::arguments::check_workflow;
use crate::database::Continuation;
use crate::workflow::{Arguments, Beginning, Code, Failure, Key};

/// What a gate knows of the workflow that it serves (lifetime: one instance).
#[derive(Debug, Default)]
pub(super) struct Again {
    /// Its name; none for a step that runs by itself.
    workflow: Option<String>,
    /// With what it is to continue.
    arguments: Option<Arguments>,
}

impl Gate {
    /// The gate of a run of this workflow, whose history begins here.
    #[must_use]
    pub fn of(mut self, workflow: &str, begins: &Beginning) -> Self {
        self.again.workflow = Some(workflow.into());
        self.streams = Streams::closed_before(begins.closed.iter().map(|key| Key::stored(key)));
        self.numbers_before = begins.numbers_before();
        self
    }

    /// When the guest returns, the run is to begin again with these arguments.
    ///
    /// # Errors
    /// When it is no workflow, or another one, or the arguments are not its own. Then nothing is different from before.
    pub fn continue_as_new(&mut self, workflow: &str, arguments: &str) -> Result<(), Failure> {
        let arguments = check_workflow(&self.program, workflow, arguments)?;
        if self.again.workflow.as_deref() != Some(workflow) {
            let text = format!("a workflow continues as itself, and not as `{workflow}`");
            return Err(Failure::new("Error", Code("not_itself"), text).not_retryable());
        }
        self.again.arguments = Some(arguments);
        Ok(())
    }

    /// How the run continues, if the guest wishes it. Asked when the guest has returned and everything is settled.
    #[must_use]
    pub fn continuation(&mut self) -> Option<Continuation> {
        let arguments = self.again.arguments.take()?;
        Some(Continuation {
            claim: self.claim.clone(),
            app: self.program.app.clone(),
            inputs: arguments.to_stored(),
            mark: self.history.next_step(),
            kept: Beginning::keeping(self.streams.closed()),
            at: self.services.clock().now().max(self.time.now()),
        })
    }

    /// True if the guest has said that it continues.
    #[must_use]
    pub fn continues(&self) -> bool {
        self.again.arguments.is_some()
    }
}

//! Who runs, and other runs.

use super::{from_failure, inside};
use crate::{Result, bindings::dbos::host::workflow};

pub(crate) fn workflow_id() -> Result<String> {
    inside("workflow.id")?;
    workflow::id().map_err(from_failure)
}

pub(crate) use workflow::StartOptions;

pub(crate) fn start_workflow(name: &str, arguments: &str, options: &StartOptions) -> Result<String> {
    inside("workflow.start")?;
    workflow::start(name, arguments, options).map_err(from_failure)
}

pub(crate) fn outcome(id: &str) -> Result<String> {
    inside("workflow.outcome")?;
    workflow::outcome(id).map_err(from_failure)
}

pub(crate) fn outcome_within(id: &str, milliseconds: u64) -> Result<Option<String>> {
    inside("workflow.outcome-within")?;
    workflow::outcome_within(id, milliseconds).map_err(from_failure)
}

pub(crate) fn status(id: &str) -> Result<Option<String>> {
    inside("workflow.status")?;
    workflow::status(id).map_err(from_failure)
}

pub(crate) fn cancel(id: &str, children: bool) -> Result<()> {
    inside("workflow.cancel")?;
    workflow::cancel(id, children).map_err(from_failure)
}

pub(crate) fn resume(id: &str) -> Result<()> {
    inside("workflow.resume")?;
    workflow::resume(id).map_err(from_failure)
}

pub(crate) fn continue_as_new(name: &str, arguments: &str) -> Result<()> {
    inside("workflow.continue-as-new")?;
    workflow::continue_as_new(name, arguments).map_err(from_failure)
}

pub(crate) fn patch(name: &str) -> Result<bool> {
    inside("workflow.patch")?;
    workflow::patch(name).map_err(from_failure)
}

pub(crate) fn deprecate_patch(name: &str) -> Result<()> {
    inside("workflow.deprecate-patch")?;
    workflow::deprecate_patch(name).map_err(from_failure)
}

pub(crate) fn idempotency_key() -> Result<String> {
    inside("workflow.idempotency-key")?;
    workflow::idempotency_key().map_err(from_failure)
}

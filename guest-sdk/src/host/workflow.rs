//! Who runs, and other runs.

use super::{from_failure, inside};
use crate::{Result, bindings::dbos::host::workflow};

pub(crate) fn workflow_id() -> Result<String> {
    inside("workflow.id")?;
    workflow::id().map_err(from_failure)
}

pub(crate) fn start_workflow(name: &str, arguments: &str, id: Option<String>, awaited: bool) -> Result<String> {
    inside("workflow.start")?;
    workflow::start(name, arguments, &workflow::StartOptions { id, awaited }).map_err(from_failure)
}

pub(crate) fn outcome(id: &str) -> Result<String> {
    inside("workflow.outcome")?;
    workflow::outcome(id).map_err(from_failure)
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

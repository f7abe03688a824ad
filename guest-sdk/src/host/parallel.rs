//! Steps that run side by side.

use super::{from_failure, inside};
use crate::{Result, bindings::dbos::host::parallel};

pub(crate) fn start_step(step: &str, arguments: &str, group: Option<(u32, u32)>) -> Result<u32> {
    inside("parallel.start")?;
    let group = group.map(|(number, at_once)| parallel::Group { number, at_once });
    parallel::start(step, arguments, group).map_err(from_failure)
}

pub(crate) fn join_step(handle: u32) -> Result<String> {
    inside("parallel.join")?;
    parallel::join(handle).map_err(from_failure)
}

pub(crate) fn join_step_within(handle: u32, milliseconds: u64) -> Result<String> {
    inside("parallel.join-within")?;
    parallel::join_within(handle, milliseconds).map_err(from_failure)
}

pub(crate) fn select_step(handles: &[u32], milliseconds: Option<u64>, cancel_others: bool) -> Result<Option<u32>> {
    inside("parallel.select")?;
    parallel::select(handles, milliseconds, cancel_others).map_err(from_failure)
}

pub(crate) fn cancel_step(handle: u32) -> Result<()> {
    inside("parallel.cancel")?;
    parallel::cancel(handle).map_err(from_failure)
}

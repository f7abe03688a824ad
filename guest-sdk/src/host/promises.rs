//! What a run waits for and somebody else settles.

use super::{from_failure, inside};
use crate::{Result, bindings::dbos::host::promises};

pub(crate) fn promise_link(name: &str) -> Result<String> {
    inside("promises.link")?;
    promises::link(name).map_err(from_failure)
}

pub(crate) fn promise_wait(name: &str, milliseconds: u64) -> Result<Option<String>> {
    inside("promises.wait")?;
    promises::wait(name, milliseconds).map_err(from_failure)
}

//! What runs show under names.

use super::{from_failure, inside};
use crate::{Result, bindings::dbos::host::events};

pub(crate) fn set_event(key: &str, value: &str) -> Result<()> {
    inside("events.set")?;
    events::set(key, value).map_err(from_failure)
}

pub(crate) fn get_event(id: &str, key: &str, milliseconds: u64) -> Result<Option<String>> {
    inside("events.get")?;
    events::get(id, key, milliseconds).map_err(from_failure)
}

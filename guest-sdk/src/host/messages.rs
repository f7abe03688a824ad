//! Messages between runs.

use super::{from_failure, inside};
use crate::{Result, bindings::dbos::host::messages};

pub(crate) fn send(to: &str, topic: Option<&str>, value: &str, key: Option<&str>) -> Result<()> {
    inside("messages.send")?;
    messages::send(to, topic, value, key).map_err(from_failure)
}

pub(crate) fn receive(topic: Option<&str>, milliseconds: u64) -> Result<Option<String>> {
    inside("messages.receive")?;
    messages::receive(topic, milliseconds).map_err(from_failure)
}

//! What runs show one behind the other.

use super::{from_failure, inside};
use crate::{Result, bindings::dbos::host::streams};

pub(crate) fn write_stream(key: &str, value: &str) -> Result<()> {
    inside("streams.write")?;
    streams::write(key, value).map_err(from_failure)
}

pub(crate) fn close_stream(key: &str) -> Result<()> {
    inside("streams.close")?;
    streams::close(key).map_err(from_failure)
}

pub(crate) fn read_stream(id: &str, key: &str, offset: u32) -> Result<Option<String>> {
    inside("streams.read")?;
    streams::read(id, key, offset).map_err(from_failure)
}

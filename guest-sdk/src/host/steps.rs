//! What a workflow calls to have something done: steps, and sleeps.

use super::{from_failure, inside};
use crate::{
    Result,
    bindings::dbos::host::{communicator, sleep, transaction},
};

pub(crate) fn call_transaction(step: &str, arguments: &str) -> Result<String> {
    inside("transaction.call")?;
    transaction::call(step, arguments).map_err(from_failure)
}

pub(crate) fn call_communicator(step: &str, arguments: &str) -> Result<String> {
    inside("communicator.call")?;
    communicator::call(step, arguments).map_err(from_failure)
}

pub(crate) fn sleep(milliseconds: u64) -> Result<()> {
    inside("sleep.sleep")?;
    sleep::sleep(milliseconds).map_err(from_failure)
}

pub(crate) fn sleep_until(epoch_milliseconds: u64) -> Result<()> {
    inside("sleep.sleep-until")?;
    sleep::sleep_until(epoch_milliseconds).map_err(from_failure)
}

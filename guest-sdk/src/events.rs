//! Events: what a run shows under names.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Result,
    arguments::{decode_result, encode_result},
    host,
    sleep::milliseconds,
};

/// How long [`get_event`] waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sets the event `key` of this run. Available in workflows.
///
/// Everybody may read it, while the run goes on and after: other workflows, handlers, HTTP clients, SDKs of DBOS. The last
/// value counts. When this returns, the event is on its way to the disk, in front of whatever the workflow does next; a crash
/// before loses it together with its record, and the replay sets it again.
///
/// # Errors
/// When the key is not valid, or the value cannot be written as JSON or is too large. Then there is no event.
pub fn set_event(key: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
    host::set_event(key, &encode_result(key, value)?)
}

/// The event `key` of the run with this id: at once if it is set, otherwise as soon as it is, within a minute. `None`: it
/// was not set in this time. See [`get_event_within`].
///
/// # Errors
/// When the id or the key is not valid, or the value is not a `T`.
pub fn get_event<T: DeserializeOwned>(id: &str, key: &str) -> Result<Option<T>> {
    get_event_within(id, key, PATIENCE)
}

/// As [`get_event`], within this time. Available in workflows and handlers.
///
/// In a workflow what it returned once, it returns in every replay, whatever the event is by then; that it was not set in
/// time is such an answer too. The end of the time is recorded before the wait begins, so a crash does not start it anew. A
/// run that is not there, or has ended without setting the event, is waited for as well: it may be started, or resumed.
///
/// # Errors
/// As for [`get_event`].
pub fn get_event_within<T: DeserializeOwned>(id: &str, key: &str, time: Duration) -> Result<Option<T>> {
    host::get_event(id, key, milliseconds(time))?.map(|json| decode_result(key, &json)).transpose()
}

//! Messages: what is sent to a run, and taken by it once.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Result,
    arguments::{decode_result, encode_result},
    host,
    sleep::milliseconds,
};

/// Sends a message to the run with the id `to`, under a topic, or `""` for none. Available in workflows and handlers.
///
/// When this returns, the message is durable, and the run gets it once, behind what was sent to it before under the same
/// topic. A workflow that is replayed does not send it again. A handler has no record: a request that is sent again sends the
/// message again, unless it has an `Idempotency-Key`. A run that has ended keeps what is sent to it, in case it is resumed.
///
/// # Errors
/// When there is no such run (`no_such_workflow`; a replay hears the same, whoever is there by then), or the topic or the value
/// is not valid.
pub fn send(to: &str, topic: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
    host::send(to, named(topic), &encode_result("send", value)?, None)
}

/// As [`send`]; but if a message with this key was sent to the run before, by whomever, nothing is sent.
///
/// # Errors
/// As for [`send`].
pub fn send_once(to: &str, topic: &str, value: &(impl Serialize + ?Sized), key: &str) -> Result<()> {
    host::send(to, named(topic), &encode_result("send_once", value)?, Some(key))
}

/// The next message to this run under a topic, or `""` for those without: at once if there is one, otherwise as soon as it
/// comes, within this time. Available in workflows.
///
/// What this returns is recorded, and the message is taken in the same commit: it is nobody else's, and every replay gets the
/// same. `None`: none had come when the time was over, which a replay hears too; a message that comes later waits for the next
/// call. The end of the time is recorded before the wait begins, so a crash does not start it anew. A workflow that waits long
/// costs no memory.
///
/// # Errors
/// When the topic is not valid, or the message is not a `T`. Then it is taken all the same.
pub fn recv<T: DeserializeOwned>(topic: &str, time: Duration) -> Result<Option<T>> {
    let message = host::receive(named(topic), milliseconds(time))?;
    message.map(|json| decode_result("recv", &json)).transpose()
}

fn named(topic: &str) -> Option<&str> {
    Some(topic).filter(|topic| !topic.is_empty())
}

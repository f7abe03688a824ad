//! Promises: what a run waits for and somebody else settles, once.
//!
//! A promise needs no table of its own. It is a message with a topic and a key that are the host's: the topic keeps it apart
//! from letters, the key makes the first settlement the only one, and a settlement that comes early waits in the mailbox. So
//! programs of DBOS can settle it as well. This module must not know how messages are sent.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::code::Code;
use super::failure::Failure;
use super::id::{InvalidName, check_name};
use super::signal::Topic;

/// What topics and keys begin with that are the host's. Whoever sends letters over HTTP may use neither.
pub const RESERVED: &str = "dbos-host.";

/// What those of promises begin with.
pub const PROMISE: &str = "dbos-host.promise:";

/// The longest name, in bytes: with what stands before it, it is a topic.
const MAX_NAME: usize = 200;

/// The name of a promise, unique in its run: as the names of steps are, of 200 bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PromiseName(String);

impl PromiseName {
    /// Checks a text from outside.
    ///
    /// # Errors
    /// Says which of the rules for names it breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        check_name("name of a promise", text)?;
        if text.len() > MAX_NAME {
            return Err(InvalidName::of("name of a promise", text, "it is longer than 200 bytes"));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Under which its settlement is sent.
    #[must_use]
    pub fn topic(&self) -> Topic {
        Topic::stored(&self.key())
    }

    /// The name of the promise whose settlements have this topic, if they do.
    #[must_use]
    pub fn of_topic(topic: &Topic) -> Option<Self> {
        topic.as_str().strip_prefix(PROMISE).map(|name| Self(name.into()))
    }

    /// The key of its settlement: there is one for each run.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{PROMISE}{}", self.0)
    }
}

/// How a promise was settled.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Resolved(Box<RawValue>),
    Rejected(Rejection),
}

#[derive(Debug, Serialize, Deserialize)]
struct Rejection {
    #[serde(default = "rejected")]
    name: String,
    #[serde(default = "was_rejected")]
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<serde_json::Value>,
}

fn rejected() -> String {
    "Rejected".into()
}

fn was_rejected() -> String {
    "the promise was rejected".into()
}

/// The message that resolves a promise with this JSON text.
///
/// # Errors
/// When it is no JSON.
pub fn resolution(json: &str) -> Result<String, serde_json::Error> {
    let value = RawValue::from_string(json.to_owned())?;
    serde_json::to_string(&Stored::Resolved(value))
}

/// The message that rejects a promise, for the reason that an object tells: `name`, `message`, `code`, `data`, each if it is
/// there.
///
/// # Errors
/// When it is no such object.
pub fn rejection(json: &str) -> Result<String, serde_json::Error> {
    let reason: Rejection = serde_json::from_str(json)?;
    serde_json::to_string(&Stored::Rejected(reason))
}

/// What a settlement tells whoever waits: the JSON text, or the failure.
///
/// # Errors
/// The reason of a rejection; or that the message is no settlement, as another program may have sent it.
pub fn settled(message: &str) -> Result<String, Failure> {
    match serde_json::from_str(message) {
        Ok(Stored::Resolved(value)) => Ok(value.get().to_owned()),
        Ok(Stored::Rejected(Rejection { name, message, code, data })) => {
            Err(Failure { name: name.into(), message, code, data, retryable: true, origin: None })
        }
        Err(error) => {
            let text = format!("what was sent for the promise does not settle it: {error}");
            Err(Failure::new("Error", Code("not_a_settlement"), text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_settles_a_promise_comes_out_as_it_went_in() {
        for value in ["null", "1.50", "{\"b\":1,\"a\":[123456789012345678901234567890]}", "\"x\""] {
            assert_eq!(settled(&resolution(value).unwrap()).as_deref(), Ok(value));
        }
        assert!(resolution("1,").is_err() && rejection("1").is_err());
        let failure = settled(&rejection(r#"{"message":"no","code":"E1","data":[1],"more":2}"#).unwrap()).unwrap_err();
        assert_eq!((&*failure.name, failure.message.as_str()), ("Rejected", "no"));
        assert_eq!((failure.code, failure.data), (Some("E1".into()), Some(serde_json::json!([1]))));
        assert_eq!(settled(&rejection("{}").unwrap()).unwrap_err().message, "the promise was rejected");
    }

    #[test]
    fn what_another_program_sent_is_told_if_it_settles_nothing() {
        for message in ["1", "{}", r#"{"resolved":1,"rejected":{}}"#, r#"{"done":1}"#] {
            assert_eq!(settled(message).unwrap_err().code, Some("not_a_settlement".into()), "{message}");
        }
    }

    #[test]
    fn names_are_those_of_steps() {
        assert!(PromiseName::parse("approval").is_ok() && PromiseName::parse(&"x".repeat(200)).is_ok());
        for wrong in ["", "a:b", "a/b", &"x".repeat(201)] {
            assert!(PromiseName::parse(wrong).is_err(), "{wrong}");
        }
    }
}

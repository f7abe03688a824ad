//! Why a run goes on waiting: what people are told when they ask what it does.
//!
//! A reason is for reading and nothing else: nobody decides anything by it, so it may be a second old. Hosts tell it each
//! other as JSON through the database, and one that a newer host has written differently is not told.

use serde::{Deserialize, Serialize};

use super::id::StepNumber;
use super::promise::PromiseName;
use super::signal::Signal;
use super::time::EpochMs;

/// What a run waits for. Texts are as people know them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Reason {
    /// A time.
    Sleep {
        /// Which.
        until: EpochMs,
    },
    /// A message.
    Message {
        /// Under this topic, or under none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        /// At most until then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<EpochMs>,
    },
    /// A promise of its own that somebody is to settle.
    Promise {
        /// Its name.
        name: String,
        /// At most until then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<EpochMs>,
    },
    /// An event of a run.
    Event {
        /// The run.
        id: String,
        /// The name of the event.
        key: String,
        /// At most until then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<EpochMs>,
    },
    /// A value of a stream of a run.
    Stream {
        /// The run.
        id: String,
        /// The name of the stream.
        key: String,
        /// The place of the value.
        offset: i32,
    },
    /// The end of another run.
    Workflow {
        /// That run.
        id: String,
    },
    /// The ends of steps of its own that run.
    Steps {
        /// Their numbers, or the first of them.
        steps: Vec<i32>,
    },
    /// A step failed, and is tried again.
    Retry {
        /// The step.
        step: i32,
        /// When.
        until: EpochMs,
    },
    /// Its turn: others have the slots of its host.
    Slot,
    /// Its attempts have come to nothing, and the next one begins later.
    Attempt {
        /// When.
        until: EpochMs,
        /// How many there were.
        attempts: u32,
    },
    /// The database: its row is locked, or a commit is under way.
    Database,
    /// Its turn in a queue.
    Queue,
}

/// Numbers of steps that are told; a fan-out may wait for thousands.
const MOST_STEPS: usize = 10;

/// What a run waits for, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// What.
    #[serde(flatten)]
    pub reason: Reason,
    /// Since when.
    pub since: EpochMs,
}

impl Reason {
    /// The reason of a wait for whichever comes first of a time and these signals, of which the first says what it is about.
    #[must_use]
    pub fn of(until: Option<EpochMs>, signals: &[Signal]) -> Option<Self> {
        Some(match signals.first() {
            None => Self::Sleep { until: until? },
            Some(Signal::Message(_, topic)) => match PromiseName::of_topic(topic) {
                Some(name) => Self::Promise { name: name.as_str().into(), until },
                None => Self::Message { topic: topic.name().map(str::to_owned), until },
            },
            Some(Signal::Event(run, key)) => Self::Event { id: run.as_str().into(), key: key.as_str().into(), until },
            Some(Signal::Stream(run, key, offset)) => {
                Self::Stream { id: run.as_str().into(), key: key.as_str().into(), offset: offset.get() }
            }
            Some(Signal::Ended(run)) => Self::Workflow { id: run.as_str().into() },
            // Nobody waits for that alone.
            Some(Signal::Appended(..)) => return None,
        })
    }

    /// The reason of a wait for steps.
    #[must_use]
    pub fn steps(numbers: impl IntoIterator<Item = StepNumber>) -> Self {
        Self::Steps { steps: numbers.into_iter().take(MOST_STEPS).map(StepNumber::get).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::{Key, Offset, Topic, WorkflowId};

    #[test]
    fn a_reason_is_what_the_wait_is_about() {
        let (run, key) = (WorkflowId::stored("r"), Key::stored("k"));
        let until = Some(EpochMs(7));
        let told = |until, signals: &[Signal]| serde_json::to_string(&Reason::of(until, signals)).expect("JSON");
        assert_eq!(told(until, &[]), r#"{"for":"sleep","until":7}"#);
        assert_eq!(told(None, &[]), "null");
        let message = |topic| [Signal::Message(run.clone(), topic)];
        assert_eq!(told(until, &message(Topic::stored("go"))), r#"{"for":"message","topic":"go","until":7}"#);
        assert_eq!(told(None, &message(Topic::parse(None).expect("no topic"))), r#"{"for":"message"}"#);
        let promise = PromiseName::parse("paid").expect("a name").topic();
        assert_eq!(told(until, &message(promise)), r#"{"for":"promise","name":"paid","until":7}"#);
        let event = [Signal::Event(run.clone(), key.clone())];
        assert_eq!(told(until, &event), r#"{"for":"event","id":"r","key":"k","until":7}"#);
        let stream = Signal::of_stream(&run, &key, Offset::FIRST);
        assert_eq!(told(None, &stream), r#"{"for":"stream","id":"r","key":"k","offset":0}"#);
        assert_eq!(told(None, &[Signal::Ended(run)]), r#"{"for":"workflow","id":"r"}"#);
    }

    #[test]
    fn what_a_newer_host_has_written_is_not_read() {
        let read = |text: &str| serde_json::from_str::<Reason>(text).ok();
        assert_eq!(read(r#"{"for":"slot"}"#), Some(Reason::Slot));
        assert_eq!(read(r#"{"for":"the moon"}"#), None);
        let many = Reason::steps((1..=100).map(StepNumber::stored));
        assert_eq!(read(&serde_json::to_string(&many).expect("JSON")), Some(many.clone()));
        assert_eq!(many, Reason::Steps { steps: (1..=10).collect() });
    }
}

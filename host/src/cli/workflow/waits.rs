//! What a workflow waits for, in words.

use crate::cli::table::local_time;
use crate::workflow::{EpochMs, Reason};

/// Behind "waits for".
pub(super) fn in_words(reason: &Reason) -> String {
    let time = |at: &EpochMs| local_time(at.0);
    let at_most = |until: &Option<EpochMs>| until.as_ref().map(|at| format!(" until {}", time(at))).unwrap_or_default();
    match reason {
        Reason::Sleep { until } => time(until),
        Reason::Message { topic: Some(topic), until } => format!("a message under `{topic}`{}", at_most(until)),
        Reason::Message { topic: None, until } => format!("a message{}", at_most(until)),
        Reason::Promise { name, until } => format!("the promise `{name}`{}", at_most(until)),
        Reason::Event { id, key, until } => format!("the event `{key}` of `{id}`{}", at_most(until)),
        Reason::Stream { id, key, offset } => format!("value {offset} of the stream `{key}` of `{id}`"),
        Reason::Workflow { id } => format!("the end of `{id}`"),
        Reason::Steps { steps } => match &steps[..] {
            [one] => format!("step {one}"),
            several => {
                let numbers: Vec<String> = several.iter().map(ToString::to_string).collect();
                format!("steps {}", numbers.join(", "))
            }
        },
        Reason::Retry { step, until } => format!("another attempt of step {step} at {}", time(until)),
        Reason::Slot => "a free slot of its host".into(),
        Reason::Attempt { until, attempts } => format!("its next attempt at {}, after {attempts}", time(until)),
        Reason::Database => "the database".into(),
        Reason::Queue => "its turn in a queue".into(),
    }
}

/// In a cell of a table.
pub(super) fn in_short(reason: &Reason) -> String {
    match reason {
        Reason::Sleep { .. } => "a time".into(),
        Reason::Message { topic, .. } => topic.as_ref().map_or("message".into(), |topic| format!("message {topic}")),
        Reason::Promise { name, .. } => format!("promise {name}"),
        Reason::Event { key, .. } => format!("event {key}"),
        Reason::Stream { key, .. } => format!("stream {key}"),
        Reason::Workflow { id } => format!("workflow {id}"),
        Reason::Steps { steps } => steps.first().map_or("steps".into(), |first| format!("step {first}")),
        Reason::Retry { step, .. } => format!("retry of {step}"),
        Reason::Slot => "slot".into(),
        Reason::Attempt { .. } => "attempt".into(),
        Reason::Database => "database".into(),
        Reason::Queue => "queue".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_what_a_workflow_waits_for() {
        let told = |text: &str| {
            let reason: Reason = serde_json::from_str(text).expect("a reason");
            (in_words(&reason), in_short(&reason))
        };
        let both = |words: &str, short: &str| (words.to_owned(), short.to_owned());
        let topic = r#"{"for":"message","topic":"go"}"#;
        assert_eq!(told(topic), both("a message under `go`", "message go"));
        assert_eq!(told(r#"{"for":"message"}"#), both("a message", "message"));
        assert_eq!(told(r#"{"for":"steps","steps":[3]}"#), both("step 3", "step 3"));
        assert_eq!(told(r#"{"for":"steps","steps":[3,5]}"#), both("steps 3, 5", "step 3"));
        assert_eq!(told(r#"{"for":"workflow","id":"a"}"#), both("the end of `a`", "workflow a"));
        assert!(told(r#"{"for":"promise","name":"p","until":0}"#).0.starts_with("the promise `p` until 19"));
    }
}

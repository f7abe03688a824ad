//! What is different between a start and the run that has its id.
//!
//! A client that sends an id twice with different calls has a mistake to find, so it is told both: the workflow, or each
//! argument as it is stored and as it was sent.

use std::fmt;

use crate::database::Existing;
use crate::workflow::{Arguments, excerpt};

/// How many arguments are told.
const MAX_TOLD: usize = 20;

/// How a start differs from the run that has its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The run is one of another workflow.
    Workflow {
        /// The run's.
        stored: String,
        /// The one that was asked for.
        sent: String,
    },
    /// The workflow is the same, these arguments are not.
    Arguments(Vec<ArgumentDifference>),
    /// The run's arguments are stored in a way that this host cannot read.
    Unreadable,
}

/// An argument that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentDifference {
    /// Its name.
    pub name: String,
    /// The beginning of its stored value, as JSON; `None`: it is not there.
    pub stored: Option<String>,
    /// The same of the value that was sent.
    pub sent: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workflow { stored, sent } => write!(f, "the workflow `{stored}`, not `{sent}`"),
            Self::Arguments(arguments) => {
                let names: Vec<String> = arguments.iter().map(|argument| format!("`{}`", argument.name)).collect();
                write!(f, "the same workflow with other arguments: {} differ", names.join(", "))
            }
            Self::Unreadable => f.write_str("the same workflow with arguments that this host cannot compare"),
        }
    }
}

/// What is different in the run that exists; `None` when it is the same call. What a run was started with that has continued
/// with other arguments, nobody knows any more.
pub(super) fn difference(existing: &Existing, name: &str, arguments: &Arguments) -> Option<Difference> {
    if existing.name != name {
        return Some(Difference::Workflow { stored: existing.name.clone(), sent: name.into() });
    }
    if existing.has_continued {
        return None;
    }
    let stored = Arguments::from_stored(existing.inputs.as_deref(), existing.serialization.as_deref(), &[]);
    let Ok(Arguments(stored)) = stored else { return Some(Difference::Unreadable) };
    let sent = &arguments.0;
    if stored == *sent {
        return None;
    }
    let names = stored.keys().chain(sent.keys().filter(|name| !stored.contains_key(*name)));
    let different = names.filter(|name| stored.get(*name) != sent.get(*name)).take(MAX_TOLD);
    let shown = |value: Option<&serde_json::Value>| value.map(|value| excerpt(&value.to_string()));
    Some(Difference::Arguments(
        different
            .map(|name| ArgumentDifference {
                name: excerpt(name),
                stored: shown(stored.get(name)),
                sent: shown(sent.get(name)),
            })
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn existing(name: &str, arguments: serde_json::Value) -> Existing {
        let inputs = Arguments::from_json(arguments).expect("an object").to_stored();
        Existing {
            name: name.into(),
            inputs: Some(inputs),
            serialization: Some("portable_json".into()),
            is_this_start: false,
            has_continued: false,
        }
    }

    #[test]
    fn the_difference_between_two_starts_is_told() {
        let arguments = Arguments::from_json(json!({"a": 1, "b": 2})).expect("an object");
        assert_eq!(difference(&existing("pay", json!({"b": 2, "a": 1})), "pay", &arguments), None);
        let other = difference(&existing("pay", json!({"a": "x", "c": 3})), "pay", &arguments).expect("different");
        assert_eq!(other.to_string(), "the same workflow with other arguments: `a`, `c`, `b` differ");
        let Difference::Arguments(told) = other else { panic!("it is the same workflow") };
        let told: Vec<_> = told.iter().map(|a| (a.stored.as_deref(), a.sent.as_deref())).collect();
        assert_eq!(told, [(Some("\"x\""), Some("1")), (Some("3"), None), (None, Some("2"))]);
        let name = difference(&existing("refund", json!({})), "pay", &arguments).expect("different");
        assert_eq!(name.to_string(), "the workflow `refund`, not `pay`");
    }
}

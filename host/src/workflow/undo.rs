//! What is undone of a run, and in which order.
//!
//! Undone is what may have happened: a step with a result, and a communicator without one. That its last attempt has failed does
//! not say what an earlier one has done, nor what the other side did before the answer was lost. A transaction without a result
//! was rolled back. What happened last is undone first; a request that may be on its way still comes last of all, when it has
//! most likely arrived.
//!
//! It is decided from records that do not change any more, so it is the same in every replay.

use super::manifest::{Manifest, StepEntry};
use super::{EpochMs, StepNumber};

/// How the names of runs begin that undo others.
pub const UNDO: &str = "undo:";

/// The parameter by which an undo gets the result of the step that it undoes.
const RESULT: &str = "result";

/// What a step has registered before it began.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// Its number.
    pub number: StepNumber,
    /// Its name.
    pub step: String,
    /// The step that undoes it.
    pub undo: String,
    /// How it has ended, if that is recorded.
    pub ended: Option<StepEnded>,
}

/// How a step has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StepEnded {
    /// Without a result.
    pub has_failed: bool,
    /// When.
    pub at: EpochMs,
}

/// A step to be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoCall {
    /// Its number.
    pub number: StepNumber,
    /// The step that undoes it.
    pub undo: String,
}

/// What is undone of a run, in the order in which that is done.
#[must_use]
pub fn plan(registered: Vec<Registered>, is_transaction: impl Fn(&str) -> bool) -> Vec<UndoCall> {
    let mut undone: Vec<Registered> = registered
        .into_iter()
        .filter(|step| match &step.ended {
            Some(StepEnded { has_failed: false, .. }) => true,
            Some(StepEnded { has_failed: true, .. }) | None => !is_transaction(&step.step),
        })
        .collect();
    undone.sort_by_key(|step| {
        let ended = step.ended.as_ref().map_or(EpochMs(i64::MIN), |ended| ended.at);
        std::cmp::Reverse((ended, step.number))
    });
    undone.into_iter().map(|step| UndoCall { number: step.number, undo: step.undo }).collect()
}

/// What is wrong with the undo that a manifest gives to a step.
pub(super) fn contradiction(manifest: &Manifest, step: &StepEntry) -> Option<String> {
    let (name, undo) = (&step.name, step.undo.as_ref()?);
    let Some(entry) = manifest.step(undo) else {
        return Some(format!("the undo of `{name}` is `{undo}`, and there is no such step"));
    };
    if entry.undo.is_some() {
        return Some(format!("the undo of `{name}` is `{undo}`, which has an undo itself"));
    }
    let names = |step: &StepEntry| step.parameters.iter().map(|parameter| parameter.name.clone()).collect::<Vec<_>>();
    let (mut expected, mut found) = (names(step), names(entry));
    expected.push(RESULT.into());
    let shown = expected.join("`, `");
    expected.sort_unstable();
    found.sort_unstable();
    (expected != found).then(|| format!("the undo `{undo}` of `{name}` must have the parameters `{shown}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong_with(undo: &str) -> String {
        let step = |name: &str, parameters: &[&str], undo: &str| {
            let parameters: Vec<_> =
                parameters.iter().map(|name| serde_json::json!({ "name": name, "schema": {} })).collect();
            let mut step =
                serde_json::json!({ "name": name, "kind": "communicator", "parameters": parameters, "result": {} });
            if !undo.is_empty() {
                step["undo"] = undo.into();
            }
            step
        };
        let steps = [
            step("charge", &["order", "amount"], undo),
            step("refund", &["result", "order", "amount"], ""),
            step("forget", &["order", "result"], ""),
            step("again", &["order", "amount", "result"], "refund"),
        ];
        let manifest = Manifest::parse(&serde_json::json!({ "steps": steps }).to_string());
        manifest.map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn an_undo_must_fit_its_step() {
        let of_again = "the undo `refund` of `again` must have the parameters `order`, `amount`, `result`, `result`";
        assert!(!wrong_with("refund").contains("of `charge`"), "{}", wrong_with("refund"));
        assert!(wrong_with("refund").contains(of_again));
        assert!(wrong_with("nobody").contains("the undo of `charge` is `nobody`, and there is no such step"));
        assert!(wrong_with("again").contains("the undo of `charge` is `again`, which has an undo itself"));
        let forgets = "the undo `forget` of `charge` must have the parameters `order`, `amount`, `result`";
        assert!(wrong_with("forget").contains(forgets));
    }

    fn step(number: i32, name: &str, ended: Option<(i64, bool)>) -> Registered {
        let ended = ended.map(|(at, has_failed)| StepEnded { has_failed, at: EpochMs(at) });
        Registered { number: StepNumber::stored(number), step: name.into(), undo: format!("undo {name}"), ended }
    }

    fn numbers(registered: Vec<Registered>) -> Vec<i32> {
        plan(registered, |name| name.starts_with("tx")).iter().map(|call| call.number.get()).collect()
    }

    #[test]
    fn what_happened_last_is_undone_first() {
        let ended = |number, name, at| step(number, name, Some((at, false)));
        assert_eq!(numbers(vec![ended(1, "a", 30), ended(2, "tx", 10), ended(3, "a", 20)]), [1, 3, 2]);
        assert_eq!(numbers(vec![ended(1, "a", 10), ended(2, "a", 10)]), [2, 1]);
        assert_eq!(plan(vec![ended(7, "a", 1)], |_| false)[0].undo, "undo a");
    }

    #[test]
    fn what_may_be_on_its_way_comes_last() {
        let all = vec![step(1, "a", None), step(2, "a", Some((50, false))), step(3, "a", None)];
        assert_eq!(numbers(all), [2, 3, 1]);
    }

    #[test]
    fn a_failed_communicator_may_have_done_something_and_a_failed_transaction_has_not() {
        let failed = vec![step(1, "a", Some((1, true))), step(2, "tx", Some((2, true))), step(3, "tx", None)];
        assert_eq!(numbers(failed), [1]);
    }
}

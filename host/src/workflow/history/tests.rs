//! What a replay is answered with, and what it is not allowed to do.

use serde_json::{Value, json};

use super::*;
use crate::workflow::digest::OperationDigest;
use crate::workflow::id::StepNumber;
use crate::workflow::time::EpochMs;

fn call(name: &str, arguments: Value) -> Operation {
    Operation { kind: OperationKind::Transaction, name: name.into(), arguments }
}

fn record(step: i32, operation: &Operation) -> Record {
    Record {
        step: StepNumber::stored(step),
        name: operation.name.clone(),
        digest: Some(OperationDigest::of(operation)),
        result: RecordedResult::Output("1".into()),
        child: None,
        started_at: EpochMs(0),
        completed_at: EpochMs(1),
    }
}

#[test]
fn calls_are_numbered_in_order_and_answered_from_the_records() {
    let first = call("a", json!({}));
    let mut history = History::new([record(1, &first)]);
    assert!(history.is_replaying());
    let (step, found) = history.take(&first).unwrap();
    assert_eq!((step.get(), found.is_some()), (1, true));
    assert!(!history.is_replaying());
    let (step, found) = history.take(&call("b", json!({}))).unwrap();
    assert_eq!((step.get(), found.is_none()), (2, true));
    assert_eq!(history.finish(), Ok(()));
}

#[test]
fn another_name_or_other_arguments_are_a_divergence() {
    let recorded = call("pay", json!({"amount": 1}));
    let mut history = History::new([record(1, &recorded)]);
    let name = history.take(&call("refund", json!({"amount": 1}))).unwrap_err().to_string();
    assert_eq!(
        name,
        "the replay diverged at step 1: recorded is `pay`, but the workflow calls transaction `refund` with \
         {\"amount\":1}"
    );
    let arguments = history.take(&call("pay", json!({"amount": 2}))).unwrap_err().to_string();
    assert!(arguments.contains("with other arguments"), "{arguments}");
    assert!(history.take(&recorded).unwrap().1.is_some(), "a refused call takes no number");
}

#[test]
fn a_step_is_recalled_by_the_very_text_of_its_arguments_and_nothing_else() {
    let recorded = call("pay", json!({"amount": 1, "to": "Mike"}));
    let text = r#"{"amount":1,"to":"Mike"}"#;
    let mut history = History::new([record(1, &recorded), record(2, &recorded)]);
    let transaction = OperationKind::Transaction;
    for (kind, name, arguments) in [
        (OperationKind::Communicator, "pay", text),
        (transaction, "refund", text),
        (transaction, "pay", r#"{"to":"Mike","amount":1}"#),
    ] {
        assert_eq!(history.recall(kind, name, arguments), None, "{name} {arguments}");
    }
    assert_eq!(history.recall(transaction, "pay", text).map(|record| record.step.get()), Some(1));
    assert_eq!(history.take(&recorded).unwrap().0.get(), 2, "what is not recalled took no number");
    assert_eq!(history.recall(transaction, "pay", text), None, "nothing is left");
    let mut gap = History::new([record(2, &recorded)]);
    assert_eq!(gap.recall(transaction, "pay", text), None);
    let mut foreign = record(1, &recorded);
    foreign.digest = None;
    assert_eq!(History::new([foreign]).recall(transaction, "pay", text), None);
}

#[test]
fn without_a_digest_only_the_name_is_compared() {
    let mut foreign = record(1, &call("pay", json!({"amount": 1})));
    foreign.digest = None;
    let mut history = History::new([foreign]);
    assert!(history.take(&call("pay", json!({"amount": 2}))).unwrap().1.is_some());
}

#[test]
fn a_gap_and_a_record_that_nobody_asked_for_are_divergences() {
    let operation = call("a", json!({}));
    let mut history = History::new([record(2, &operation)]);
    assert!(history.take(&operation).unwrap_err().to_string().contains("nothing here and `a` at step 2"));
    let left = History::new([record(1, &operation)]);
    assert!(left.finish().unwrap_err().to_string().contains("has returned already"));
}

#[test]
fn a_look_at_the_next_place_takes_nothing() {
    let step = call("charge", json!({}));
    let mut history = History::new([record(1, &step), record(3, &step)]);
    assert_eq!((history.peek(), history.next_step().get()), (Next::Recorded("charge"), 1));
    history.take(&step).unwrap();
    assert_eq!((history.peek(), history.next_step().get()), (Next::Gap, 2));
    history.take_started(&step).unwrap();
    assert_eq!(history.peek(), Next::Recorded("charge"));
    history.take(&step).unwrap();
    assert_eq!((history.peek(), history.next_step().get()), (Next::Nothing, 4));
}

/// A wait with a deadline.
fn receive() -> Operation {
    Operation { kind: OperationKind::Outcome, name: "DBOS.recv".into(), arguments: json!({ "topic": "go" }) }
}

/// What stands behind a wait: until 900 s, written long before.
fn deadline(step: i32) -> Record {
    let sleep = Operation { kind: OperationKind::Sleep, name: SLEEP.into(), arguments: json!({}) };
    Record { digest: None, result: RecordedResult::Output("900.0".into()), ..record(step, &sleep) }
}

fn refused<T: std::fmt::Debug>(taken: Result<T, Divergence>, why: &str) {
    let text = taken.unwrap_err().to_string();
    assert!(text.contains(why), "{text}");
}

#[test]
fn a_crash_in_a_fan_out_leaves_gaps_that_the_replay_steps_over() {
    let (step, other) = (call("charge", json!({})), call("note", json!({})));
    let mut history = History::new([record(1, &step), record(3, &step), record(4, &other)]);
    assert_eq!(history.take_started(&step), Ok((StepNumber::stored(1), Started::Recorded(record(1, &step)))));
    assert_eq!(history.take_started(&step), Ok((StepNumber::stored(2), Started::Held)));
    assert_eq!(history.take_started(&step), Ok((StepNumber::stored(3), Started::Recorded(record(3, &step)))));
    refused(history.leave(), "recorded is `note`, but the workflow waits for what is not recorded");
    assert_eq!(history.take(&other), Ok((StepNumber::stored(4), Some(record(4, &other)))));
    assert_eq!(history.leave(), Ok(()));
    assert_eq!(history.take_started(&step), Ok((StepNumber::stored(5), Started::New)), "nothing more is recorded");
    assert_eq!(history.finish(), Ok(()));
}

#[test]
fn nothing_but_a_started_step_steps_over_a_gap() {
    let (step, other) = (call("charge", json!({})), call("note", json!({})));
    let mut history = History::new([record(1, &step), record(3, &step), record(4, &other)]);
    history.take_started(&step).unwrap();
    refused(history.take(&other), "at step 2: recorded is nothing here and `charge` at step 3");
    refused(history.take_pair(&receive()), "at step 2: recorded is nothing here and `charge` at step 3");
    assert_eq!(history.take_started(&step).unwrap().1, Started::Held);
    refused(history.take_started(&other), "at step 3: recorded is `charge`");
    refused(history.take_started(&call("charge", json!({"other": 1}))), "with other arguments");
    assert_eq!(history.next_step().get(), 3, "what is refused takes no number");
}

#[test]
fn a_wait_takes_two_numbers_and_its_deadline_stands() {
    let step = call("charge", json!({}));
    let new = History::new([]).take_pair(&receive());
    assert_eq!(new, Ok((StepNumber::stored(1), Pair::New)));
    let mut waiting = History::new([record(1, &step), deadline(3)]);
    waiting.take(&step).unwrap();
    let until = Pair::Waiting { deadline: EpochMs(900_000) };
    assert_eq!(waiting.take_pair(&receive()), Ok((StepNumber::stored(2), until)));
    assert_eq!((waiting.leave(), waiting.next_step().get()), (Ok(()), 4));
    let answer = record(1, &receive());
    let mut answered = History::new([answer.clone(), deadline(2), record(3, &step)]);
    assert_eq!(answered.take_pair(&receive()), Ok((StepNumber::stored(1), Pair::Answered(answer.clone()))));
    assert_eq!(answered.take(&step).unwrap().0.get(), 3);
    let mut cut = History::new([answer.clone()]);
    assert_eq!(cut.take_pair(&receive()), Ok((StepNumber::stored(1), Pair::Answered(answer))));
    assert_eq!((cut.leave(), cut.next_step().get()), (Ok(()), 3));
    // What was recorded after the cut is behind a deadline that is missing for good.
    let mut cut = History::new([record(1, &receive()), record(3, &step)]);
    assert!(matches!(cut.take_pair(&receive()), Ok((_, Pair::Answered(_)))));
    assert_eq!((cut.take(&step).unwrap().0.get(), cut.leave()), (3, Ok(())));
}

#[test]
fn a_step_that_was_started_before_a_wait_is_held_until_the_wait_is_reached() {
    let step = call("charge", json!({}));
    let mut history = History::new([deadline(3)]);
    assert_eq!(history.take_started(&step).unwrap().1, Started::Held);
    assert!(matches!(history.take_pair(&receive()), Ok((_, Pair::Waiting { .. }))));
    assert_eq!(history.leave(), Ok(()));
}

#[test]
fn what_is_recorded_of_other_code_is_no_wait() {
    let step = call("charge", json!({}));
    let pair = |records: Vec<Record>| History::new(records).take_pair(&receive());
    refused(pair(vec![record(1, &step)]), "recorded is `charge`");
    refused(pair(vec![record(2, &step)]), "nothing here and `charge` at step 2");
    refused(pair(vec![deadline(3)]), "nothing here and `DBOS.sleep` at step 3");
    let slept = Operation { kind: OperationKind::Sleep, name: SLEEP.into(), arguments: json!({ "milliseconds": 1 }) };
    refused(pair(vec![record(2, &slept)]), "nothing here and `DBOS.sleep` at step 2");
    refused(pair(vec![deadline(2), record(3, &step)]), "nothing here and `charge` at step 3");
    let answer = record(1, &receive());
    refused(pair(vec![answer.clone(), record(2, &slept)]), "an answer without a deadline, and `DBOS.sleep` at step 2");
    let mut topic = receive();
    topic.arguments = json!({ "topic": "stop" });
    refused(History::new([answer, deadline(2)]).take_pair(&topic), "with other arguments");
}

#[test]
fn whoever_asks_for_a_number_too_many_is_told() {
    let mut history = History::new([]);
    history.next = StepNumber::stored(i32::MAX - 1);
    refused(history.take_pair(&receive()), "the last possible step");
    assert_eq!(history.take(&receive()).unwrap().0.get(), i32::MAX - 1);
    refused(history.take_started(&receive()), "the last possible step");
}

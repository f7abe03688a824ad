//! Messages: sending them to runs, and taking those that were sent to this one.
//!
//! Both have an answer that only the database knows: whether somebody is there, and what has come. So the guest waits for the
//! commit, which is the one of the record too; nothing else can come between what happened and what is recorded of it.

use serde_json::json;

use super::children::run_of;
use super::pair::{Begun, check_wait, optional};
use super::{Answer, Gate, answer};
use crate::calls::arguments::{invalid, parse_value};
use crate::calls::interrupt::Interrupt;
use crate::database::{Entry, Landed, NewReceive, NewSend, Received, nobody};
use crate::failpoint;
use crate::workflow::{
    Code, Failure, Operation, OperationDigest, OperationKind, RecordedResult, Signal, Topic, WorkflowId,
};

impl Gate {
    /// Sends a message to a run. When it returns, the message and its record are durable.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn send(&mut self, to: &str, topic: Option<&str>, (value, key): (String, Option<&str>)) -> Answer<()> {
        let checked = message_to(to, topic, key).and_then(|(to, about)| Ok((to, about, parse_value(&value)?)));
        let (receiver, about, contents) = match checked {
            Ok(checked) => checked,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "to": to, "topic": topic, "value": contents, "key": key });
        let operation = Operation { kind: OperationKind::Send, name: "DBOS.send".into(), arguments };
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(answer(record.result).map(drop));
        }
        self.before_step().await?;
        let record = self.record_of(number, &operation, RecordedResult::Nothing);
        let completed_at = record.completed_at;
        let nobody = nobody(&receiver);
        let message = NewSend::new(Some(record), receiver, about, value, key);
        let sent = match self.exchange(Entry::Send(Box::new(message))).await? {
            // The record says so: a replay hears the same, whoever is there by then.
            Landed::Nobody => Err(nobody),
            _ => Ok(()),
        };
        self.time.deliver(completed_at);
        failpoint::hit("gate.before_answer").await;
        Ok(sent)
    }

    /// Waits for a message to this run. It is taken in one write with the record that has it; that none came is recorded too.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long wait.
    pub async fn receive(&mut self, topic: Option<&str>, milliseconds: u64) -> Answer<Option<String>> {
        let about = match check_wait(milliseconds).and_then(|()| topic_of(topic)) {
            Ok(about) => about,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "topic": topic, "milliseconds": milliseconds });
        let operation = Operation { kind: OperationKind::Receive, name: "DBOS.recv".into(), arguments };
        Ok(optional(self.take_message(&operation, &about, milliseconds).await?))
    }

    /// Waits for a message under a topic, as this operation.
    pub(super) async fn take_message(
        &mut self,
        operation: &Operation,
        about: &Topic,
        milliseconds: u64,
    ) -> Result<RecordedResult, Interrupt> {
        let started_at = self.services.clock().now();
        let mut waiting = match self.begin_wait(operation, milliseconds).await? {
            Begun::Answered(result) => return Ok(result),
            Begun::Waiting(waiting) => waiting,
        };
        let named = (operation.name.as_str(), OperationDigest::of(operation));
        let signal = Signal::Message(self.run().clone(), about.clone());
        let (result, completed_at) = loop {
            // Before the look: what comes behind it is heard.
            let listening = self.services.listen(std::slice::from_ref(&signal));
            let mut record = self.new_record(waiting.number, named, RecordedResult::Nothing);
            record.started_at = started_at;
            let now = record.completed_at;
            let (deadline, is_first) = (waiting.deadline, !waiting.is_recorded);
            let look = NewReceive { record, topic: about.clone(), deadline, is_first };
            match self.exchange(Entry::Receive(Box::new(look))).await? {
                Landed::Received(Received::Message(result)) => break (result, now),
                Landed::Received(Received::Nothing) => break (RecordedResult::Nothing, deadline),
                Landed::Received(Received::LookAgain) => waiting.is_recorded = true,
                Landed::Received(Received::NotYet) => {
                    waiting.is_recorded = true;
                    self.wait_for(&mut waiting, &signal, &listening).await?;
                }
                other => unreachable!("a look into a mailbox has come to {other:?}"),
            }
        };
        self.budget.recorded(&result);
        self.time.deliver(completed_at);
        failpoint::hit("gate.before_answer").await;
        Ok(result)
    }

    /// Hands in an entry, behind what it was made from, and waits until it is durable. So is everything before it then, and
    /// what was said is printed.
    async fn exchange(&mut self, entry: Entry) -> Result<Landed, Interrupt> {
        self.chain.not_full().await?;
        let (ticket, _) = self.chain.append_entry(self.services.journal(), entry).await?;
        self.settle_beside().await?;
        ticket.durable().await.map_err(|_closed| Interrupt::ShuttingDown)
    }
}

/// What a message is addressed to, if it may be sent.
pub(in crate::calls) fn message_to(
    to: &str,
    topic: Option<&str>,
    key: Option<&str>,
) -> Result<(WorkflowId, Topic), Failure> {
    let to = run_of(to)?;
    // It becomes a part of the message's id.
    key.map(run_of).transpose()?;
    Ok((to, topic_of(topic)?))
}

fn topic_of(topic: Option<&str>) -> Result<Topic, Failure> {
    Topic::parse(topic).map_err(|error| invalid(Code("invalid_topic"), &error))
}

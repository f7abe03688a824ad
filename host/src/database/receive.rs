//! Taking a message out of a run's mailbox.
//!
//! A message is taken by the record that has it, in one write, so it is nobody else's, and the same in every replay. Whether
//! there is one is decided under the lock of the run's row, by the statement that takes it. If there is none, the wait goes
//! on until its deadline, and only then is that recorded.
//!
//! A statement that has waited for the lock still sees messages as they were before. What it has missed, somebody raises a
//! signal for. And if the one that it has waited for was this very look, whose answer was lost, it does not see that record
//! either, and finds another message or one after a timeout. So the record is written first, which its key prevents, and a
//! message is taken only by a record that has it.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::history::result;
use super::journal::Landed;
use super::ordinality::place;
use super::progress::column;
use super::record::NewRecord;
use crate::workflow::{EpochMs, RecordedResult, SLEEP, Topic};

/// A look into a mailbox.
#[derive(Debug)]
pub struct NewReceive {
    /// The record of what is taken; its result is what comes of this. It ends now, or at the deadline.
    pub record: NewRecord,
    /// Which messages are looked for.
    pub topic: Topic,
    /// Until when the wait goes on.
    pub deadline: EpochMs,
    /// The deadline is not recorded yet.
    pub is_first: bool,
}

/// What a look into a mailbox has come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// A message, or that this host cannot read it. It is recorded.
    Message(RecordedResult),
    /// None until the deadline. That is recorded.
    Nothing,
    /// None so far. The deadline is recorded.
    NotYet,
    /// There is one, which was too much for the commit. The deadline is recorded.
    LookAgain,
}

/// Bytes of messages in one commit: a thousand runs may have slept until the same second, each with 16 MiB in its mailbox, and
/// the server needs most of a second for each of these. One message may have more. What is left is looked for again.
const MOST_BYTES: i64 = 4 * 1024 * 1024;

// `octet_length` is known without reading the text. The message is locked so that what the record gets is what is taken.
const RECEIVE: &str = "
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::int4[], $4::text[], $5::bytea[], $6::text[], $7::int8[], $8::int8[],
                         $9::text[], $10::int8[], $11::text[], $12::bool[]) WITH ORDINALITY
      AS n (run, token, step, name, digest, app, started_at, now, topic, deadline, wake, is_first, at)
), locked AS (
    SELECT s.workflow_uuid, s.owner_xid, s.status FROM dbos.workflow_status s
      WHERE s.workflow_uuid = ANY ($1)
      ORDER BY s.workflow_uuid
      FOR NO KEY UPDATE
), fence AS (
    SELECT workflow_uuid, owner_xid FROM locked WHERE status = 'PENDING'
), unanswered AS MATERIALIZED (
    SELECT n.* FROM new n JOIN fence f ON f.workflow_uuid = n.run AND f.owner_xid = n.token
     WHERE NOT EXISTS (SELECT FROM dbos.operation_outputs o WHERE o.workflow_uuid = n.run AND o.function_id = n.step OFFSET 0)
), oldest AS MATERIALIZED (
    SELECT u.at, u.run, u.step, m.*, sum(octet_length(m.message)) OVER (ORDER BY u.at) AS bytes
      FROM unanswered u CROSS JOIN LATERAL (
        SELECT n.message_uuid, n.message, n.serialization FROM dbos.notifications n
         WHERE n.destination_uuid = u.run AND n.topic = u.topic AND NOT n.consumed
         ORDER BY n.created_at_epoch_ms, n.message_uuid LIMIT 1 FOR NO KEY UPDATE) m
), found AS MATERIALIZED (
    SELECT * FROM oldest o WHERE o.bytes <= $14 OR o.bytes = octet_length(o.message)
), answer AS (
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, output, serialization, started_at_epoch_ms, completed_at_epoch_ms,
         application_name)
      SELECT u.run, u.step, u.name, f.message, f.serialization, u.started_at, u.now, u.app
        FROM unanswered u JOIN found f ON f.at = u.at
      UNION ALL
      SELECT u.run, u.step, u.name, NULL, NULL, u.started_at, u.deadline, u.app
        FROM unanswered u WHERE u.deadline <= u.now AND u.at NOT IN (SELECT at FROM oldest)
      ON CONFLICT DO NOTHING
      RETURNING workflow_uuid
), taken AS (
    UPDATE dbos.notifications n SET consumed = true, consumed_by_function_id = f.step
      FROM found f JOIN answer a ON a.workflow_uuid = f.run WHERE n.message_uuid = f.message_uuid
      RETURNING f.at, f.message, f.serialization
), digest AS (
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
      SELECT u.run, u.step, u.digest FROM unanswered u JOIN answer a ON a.workflow_uuid = u.run
      ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest
), deadline AS (
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, output, serialization, started_at_epoch_ms, completed_at_epoch_ms,
         application_name)
      SELECT u.run, u.step + 1, $13::text, u.wake, 'portable_json', u.now, u.now, u.app FROM unanswered u WHERE u.is_first
      ON CONFLICT DO NOTHING
)
SELECT n.at, EXISTS (SELECT FROM fence f WHERE f.workflow_uuid = n.run AND f.owner_xid = n.token),
       EXISTS (SELECT FROM answer a WHERE a.workflow_uuid = n.run),
       EXISTS (SELECT FROM unanswered u WHERE u.at = n.at AND u.deadline > u.now)
           AND NOT EXISTS (SELECT FROM oldest o WHERE o.at = n.at),
       EXISTS (SELECT FROM oldest o WHERE o.at = n.at) AND NOT EXISTS (SELECT FROM found f WHERE f.at = n.at),
       t.message, t.serialization
  FROM new n LEFT JOIN taken t ON t.at = n.at";

/// Prepares the statement for a connection.
pub(super) async fn prepare(client: &Client) -> Result<Statement, Error> {
    client.prepare(RECEIVE).await
}

/// Looks into mailboxes, no two of one run, and says what became of each. [`Landed::Exists`]: the answer was recorded before.
pub(super) async fn write(
    client: &Client,
    statement: Option<&Statement>,
    new: &[&NewReceive],
) -> Result<Vec<Landed>, Error> {
    let mut landed = vec![Landed::Exists; new.len()];
    let Some(statement) = statement.filter(|_| !new.is_empty()) else { return Ok(landed) };
    let parameters: [&(dyn ToSql + Sync); 14] = [
        &column(new, |new| new.record.claim.run().as_str()),
        &column(new, |new| new.record.claim.token()),
        &column(new, |new| new.record.step.get()),
        &column(new, |new| new.record.name.as_str()),
        &column(new, |new| new.record.digest.as_ref().map(|digest| digest.0.as_slice())),
        &column(new, |new| new.record.app.as_str()),
        &column(new, |new| new.record.started_at.0),
        &column(new, |new| new.record.completed_at.0),
        &column(new, |new| new.topic.as_str()),
        &column(new, |new| new.deadline.0),
        &column(new, |new| new.deadline.to_seconds_json()),
        &column(new, |new| new.is_first),
        &SLEEP,
        &MOST_BYTES,
    ];
    for row in client.query(statement, &parameters).await? {
        let (is_owner, is_answered, is_early, is_left): (bool, bool, bool, bool) =
            (row.get(1), row.get(2), row.get(3), row.get(4));
        let message: Option<String> = row.get(5);
        landed[place(&row, 0)] = match (is_owner, is_answered, message) {
            (false, ..) => Landed::NotOwner,
            (true, true, Some(message)) => Landed::Received(Received::Message(result(Some(message), None, row.get(6)))),
            (true, true, None) => Landed::Received(Received::Nothing),
            (true, false, _) if is_early => Landed::Received(Received::NotYet),
            (true, false, _) if is_left => Landed::Received(Received::LookAgain),
            // It was answered before, and the answer to that commit was lost.
            (true, false, _) => Landed::Exists,
        };
    }
    Ok(landed)
}

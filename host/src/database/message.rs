//! Sending a message to a run.
//!
//! A message that a run sends and its record of it are one write: one without the other would be sent twice, or never, after
//! a crash. Whether there is somebody to send it to is a condition of the statement and never an error of it, so that a
//! guest's mistake costs nobody else their commit.
//!
//! Each message to a mailbox gets a millisecond of its own ([`Order`]).

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::journal::Landed;
use super::order::Order;
use super::ordinality::place;
use super::progress::column;
use super::record::NewRecord;
use crate::workflow::{Code, Failure, Topic, WorkflowId};

/// A message to be sent.
#[derive(Debug)]
pub struct NewSend {
    /// The record of the sending. None: whoever sends it is no run.
    pub record: Option<NewRecord>,
    /// By which a message that is there already is known.
    id: String,
    /// Whom it is for.
    pub to: WorkflowId,
    /// What it is about.
    pub topic: Topic,
    /// JSON text.
    pub message: String,
}

impl NewSend {
    /// A message. One that was sent to the same run with the same key is the same one, whoever sent it; SDKs of DBOS make
    /// the same of the key.
    #[must_use]
    pub fn new(record: Option<NewRecord>, to: WorkflowId, topic: Topic, message: String, key: Option<&str>) -> Self {
        let id = key.map_or_else(|| uuid::Uuid::now_v7().to_string(), |key| message_id(key, &to));
        Self { record, id, to, topic, message }
    }
}

// Locked and compared as in every write for a run. A sender that is no run has neither claim nor record. The receiver's row
// is kept from being deleted, which is all that this lock is in the way of.
const SEND: &str = "
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::int4[], $4::text[], $5::bytea[], $6::text[], $7::int8[], $8::int8[],
                         $9::text[], $10::text[], $11::text[], $12::text[], $13::int8[], $14::text[]) WITH ORDINALITY
      AS n (run, token, step, name, digest, app, started_at, completed_at, id, receiver, topic, message, earliest, refusal, at)
), locked AS (
    SELECT s.workflow_uuid, s.owner_xid, s.status FROM dbos.workflow_status s
      WHERE s.workflow_uuid = ANY ($1)
      ORDER BY s.workflow_uuid
      FOR NO KEY UPDATE
), fence AS (
    SELECT workflow_uuid, owner_xid FROM locked WHERE status = 'PENDING'
), receiver AS (
    SELECT s.workflow_uuid FROM dbos.workflow_status s
      WHERE s.workflow_uuid = ANY ($10)
      ORDER BY s.workflow_uuid
      FOR KEY SHARE
), record AS (
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, error, serialization, started_at_epoch_ms, completed_at_epoch_ms,
         application_name)
      SELECT n.run, n.step, n.name, CASE WHEN r.workflow_uuid IS NULL THEN n.refusal END,
             CASE WHEN r.workflow_uuid IS NULL THEN 'portable_json' END, n.started_at, n.completed_at, n.app
        FROM new n JOIN fence f ON f.workflow_uuid = n.run AND f.owner_xid = n.token
        LEFT JOIN receiver r ON r.workflow_uuid = n.receiver
      ON CONFLICT DO NOTHING
      RETURNING workflow_uuid, function_id
), digest AS (
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
      SELECT n.run, n.step, n.digest FROM new n JOIN record r ON r.workflow_uuid = n.run AND r.function_id = n.step
      ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest
), clock AS (
    SELECT (extract(epoch FROM now()) * 1000)::bigint AS now
), sent AS (
    INSERT INTO dbos.notifications
        (message_uuid, destination_uuid, topic, message, created_at_epoch_ms, serialization)
      SELECT n.id, n.receiver, n.topic, n.message,
             greatest(c.now, n.earliest) + row_number() OVER (PARTITION BY n.receiver, n.topic ORDER BY n.at) - 1,
             'portable_json'
        FROM new n JOIN receiver r ON r.workflow_uuid = n.receiver CROSS JOIN clock c
       WHERE n.run IS NULL OR EXISTS (SELECT FROM record r WHERE r.workflow_uuid = n.run AND r.function_id = n.step)
       ORDER BY n.at
      ON CONFLICT (message_uuid) DO NOTHING
      RETURNING message_uuid, created_at_epoch_ms
)
SELECT n.at, EXISTS (SELECT FROM receiver r WHERE r.workflow_uuid = n.receiver),
       n.run IS NULL OR EXISTS (SELECT FROM fence f WHERE f.workflow_uuid = n.run AND f.owner_xid = n.token),
       n.run IS NULL OR EXISTS (SELECT FROM record r WHERE r.workflow_uuid = n.run AND r.function_id = n.step),
       s.created_at_epoch_ms, c.now
  FROM new n CROSS JOIN clock c LEFT JOIN sent s ON s.message_uuid = n.id";

/// Prepares the statement for a connection.
pub(super) async fn prepare(client: &Client) -> Result<Statement, Error> {
    client.prepare(SEND).await
}

/// Sends messages, no two of one sender, and says what became of each. [`Landed::Written`]: it is durable, with its record,
/// or was before under its key. [`Landed::Exists`]: the record was there. [`Landed::Nobody`]: nobody is there, and the record
/// says so.
pub(super) async fn write(
    client: &Client,
    statement: Option<&Statement>,
    (new, order): (&[&NewSend], &Order),
) -> Result<Vec<Landed>, Error> {
    let mut landed = vec![Landed::Written; new.len()];
    let Some(statement) = statement.filter(|_| !new.is_empty()) else { return Ok(landed) };
    let records = column(new, |new| new.record.as_ref());
    let of_records: [&(dyn ToSql + Sync); 8] = [
        &records.iter().map(|record| Some(record.as_ref()?.claim.run().as_str())).collect::<Vec<_>>(),
        &records.iter().map(|record| Some(record.as_ref()?.claim.token())).collect::<Vec<_>>(),
        &records.iter().map(|record| Some(record.as_ref()?.step.get())).collect::<Vec<_>>(),
        &records.iter().map(|record| Some(record.as_ref()?.name.as_str())).collect::<Vec<_>>(),
        &records.iter().map(|record| Some(record.as_ref()?.digest.as_ref()?.0.as_slice())).collect::<Vec<_>>(),
        &records.iter().map(|record| Some(record.as_ref()?.app.as_str())).collect::<Vec<_>>(),
        &records.iter().map(|record| Some(record.as_ref()?.started_at.0)).collect::<Vec<_>>(),
        &records.iter().map(|record| Some(record.as_ref()?.completed_at.0)).collect::<Vec<_>>(),
    ];
    let of_messages: [&(dyn ToSql + Sync); 6] = [
        &column(new, |new| new.id.as_str()),
        &column(new, |new| new.to.as_str()),
        &column(new, |new| new.topic.as_str()),
        &column(new, |new| new.message.as_str()),
        &column(new, |new| order.earliest(new)),
        &column(new, |new| nobody(&new.to).to_stored()),
    ];
    let (mut sent, mut now) = (Vec::new(), 0);
    for row in client.query(statement, &[&of_records[..], &of_messages].concat()).await? {
        let at = place(&row, 0);
        landed[at] = match (row.get(2), row.get(1), row.get(3)) {
            (false, _, _) => Landed::NotOwner,
            (true, _, false) => Landed::Exists,
            (true, false, true) => Landed::Nobody,
            (true, true, true) => Landed::Written,
        };
        now = row.get(5);
        sent.extend(row.get::<_, Option<i64>>(4).map(|created_at| (new[at], created_at)));
    }
    // Before anybody is told: whoever sends the next message has heard of this one.
    order.note(&sent, now);
    Ok(landed)
}

/// The id of a message with a key, as SDKs of DBOS make it.
pub(super) fn message_id(key: &str, to: &WorkflowId) -> String {
    format!("{key}::{to}")
}

/// What a sender hears when there is no such run.
#[must_use]
pub fn nobody(to: &WorkflowId) -> Failure {
    Failure::new(
        "NonExistentWorkflow",
        Code("no_such_workflow"),
        format!("there is no workflow with the id `{to}` to send to"),
    )
}

//! Starting a run: its row and its input, and with a child the parent's record of it.

use std::sync::Arc;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::claim::{Claim, Incarnation};
use super::error::DatabaseError;
use super::journal::Landed;
use super::ordinality::place;
use super::progress::column;
use super::record::NewRecord;
use crate::workflow::{
    AppName, Arguments, Attributes, CONTINUED, Code, ComponentDigest, EpochMs, Failure, Terms, Timeout, TraceContext,
    WorkflowId,
};

/// A run to be started by this host at once.
#[derive(Debug, Clone)]
pub struct NewRun {
    claim: Claim,
    incarnation: Incarnation,
    /// The workflow's name, or `temp:<step>`.
    pub name: String,
    /// Whose it is.
    pub app: AppName,
    /// The component that will run it, now and in every replay.
    pub version: ComponentDigest,
    /// The executor that starts it.
    pub executor: String,
    /// Its arguments.
    pub arguments: Arguments,
    /// The same as they are stored.
    inputs: Arc<str>,
    /// When it is created: where its workflow time starts, now and in every replay.
    pub created_at: EpochMs,
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
    /// On what terms.
    terms: Terms,
    /// When it is cancelled if it has not ended.
    deadline: Option<EpochMs>,
    /// The run that started it, with the parent's record of the start: both are one write.
    pub parent: Option<NewRecord>,
}

impl NewRun {
    /// A run with a claim of its own, which holds once the start has landed.
    #[must_use]
    pub fn new(
        id: WorkflowId,
        incarnation: &Incarnation,
        executor: &str,
        (app, version): (&AppName, &ComponentDigest),
        (name, arguments, created_at): (&str, Arguments, EpochMs),
    ) -> Self {
        let claim = Claim::new(id, &incarnation.token());
        let (app, version) = (app.clone(), version.clone());
        let incarnation = incarnation.clone();
        let inputs = arguments.to_stored().into();
        Self {
            claim,
            incarnation,
            name: name.into(),
            app,
            version,
            executor: executor.into(),
            arguments,
            inputs,
            created_at,
            trace: None,
            terms: Terms::default(),
            deadline: None,
            parent: None,
        }
    }

    /// The same on these terms. `inherited` is the deadline of whoever starts it, if it is to have that.
    #[must_use]
    pub fn on(mut self, terms: Terms, inherited: Option<EpochMs>) -> Self {
        self.deadline = terms.deadline(self.created_at, inherited);
        self.terms = terms;
        self
    }

    /// When it is cancelled if it has not ended.
    #[must_use]
    pub fn deadline(&self) -> Option<EpochMs> {
        self.deadline
    }

    /// True if the transaction that carries the start can write all of it. It knows of no terms: few runs have any, and each
    /// such commit would pay for them.
    #[must_use]
    pub fn may_be_carried(&self) -> bool {
        self.deadline.is_none() && self.terms == Terms::default()
    }

    /// The claim. It is proof only after the start was written.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The life of the executor that starts it.
    pub(super) fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    /// The arguments as they are stored.
    pub(super) fn inputs(&self) -> &str {
        &self.inputs
    }

    /// The size of the stored arguments, in bytes.
    #[must_use]
    pub fn input_bytes(&self) -> usize {
        self.inputs.len()
    }
}

/// Why a child is not started under an id that exists already.
pub const WORKFLOW_EXISTS: Code = Code("workflow_exists");

/// The row that was there already.
#[derive(Debug, Clone)]
pub struct Existing {
    /// The name of its workflow.
    pub name: String,
    /// Its stored input.
    pub inputs: Option<String>,
    /// The serialization of the input.
    pub serialization: Option<String>,
    /// True when this very start wrote it: the answer to its commit had been lost.
    pub is_this_start: bool,
    /// Its arguments are not those that it was started with: it has continued with others.
    pub has_continued: bool,
}

// What a deleted run of the same id has left behind is replaced: other clients delete without knowing every table, and while
// this host writes a record. A run that found records or digests of an earlier one would take them for its own.
// A row that exists is left as it is: the first start wins, whoever sent it. `creator_xid` tells a start whose answer
// was lost that the row is its own.
//
// A trace is kept among the attributes, as DBOS's SDKs keep it, so that a run continues the same one whoever takes it over.
// Where there is nothing to keep they stay NULL: an index has every row with attributes.
//
// A host whose lease lapsed is another incarnation since; a start that it prepared before would be a run that nobody
// looks for. So the executor must still be this incarnation, and its row is locked: who becomes it next waits for the
// start, and finds the run at its first look.
const START: &str = "
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int8[],
                         $9::text[], $10::int8[], $11::int8[], $12::text[]) WITH ORDINALITY
      AS n (id, name, executor, version, token, app, inputs, created_at, attributes, timeout, deadline, incarnation, at)
), self AS (
    SELECT executor_id, incarnation FROM dbos_host.executor
      WHERE (executor_id, incarnation) IN (SELECT executor, incarnation FROM new)
      ORDER BY executor_id
      FOR SHARE
), created AS (
    INSERT INTO dbos.workflow_status
        (workflow_uuid, status, name, executor_id, application_version, application_id, recovery_attempts, priority,
         owner_xid, creator_xid, serialization, application_name, created_at, attributes, workflow_timeout_ms,
         workflow_deadline_epoch_ms)
      SELECT n.id, 'PENDING', n.name, n.executor, n.version, '', 1, 0, n.token, n.token, 'portable_json', n.app,
             n.created_at, n.attributes::jsonb, n.timeout, n.deadline
        FROM new n JOIN self ON self.executor_id = n.executor AND self.incarnation = n.incarnation
       ORDER BY n.id
      ON CONFLICT (workflow_uuid) DO NOTHING
      RETURNING workflow_uuid
), input AS (
    INSERT INTO dbos.workflow_input (workflow_uuid, inputs)
      SELECT n.id, n.inputs FROM new n JOIN created ON created.workflow_uuid = n.id
      ON CONFLICT (workflow_uuid) DO UPDATE SET inputs = EXCLUDED.inputs
), left_attempts AS (
    DELETE FROM dbos_host.attempt a USING created WHERE a.workflow_uuid = created.workflow_uuid
), left_records AS (
    DELETE FROM dbos.operation_outputs o USING created WHERE o.workflow_uuid = created.workflow_uuid
), left_digests AS (
    DELETE FROM dbos_host.operation_digest d USING created WHERE d.workflow_uuid = created.workflow_uuid
)
SELECT n.at, EXISTS (SELECT FROM self WHERE self.executor_id = n.executor AND self.incarnation = n.incarnation)
  FROM new n WHERE NOT EXISTS (SELECT FROM created WHERE created.workflow_uuid = n.id)";

// The parents' rows are locked and their owners compared first; without that nothing is written. A child's row and its
// parent's record are one statement, so neither can be without the other. A child under an id that exists already (the
// caller chose it) is not started again, but the record is written: the parent got the handle of the first run.
const START_CHILDREN: &str = "
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int8[],
                         $9::text[], $10::int8[], $11::int8[], $12::text[], $13::text[], $14::int4[], $15::int8[],
                         $16::int8[], $17::bytea[]) WITH ORDINALITY
      AS n (id, name, executor, version, token, app, inputs, created_at, attributes, timeout, deadline, parent,
            parent_token, step, started_at, completed_at, digest, at)
), locked AS (
    SELECT s.workflow_uuid, s.owner_xid, s.status FROM dbos.workflow_status s
      WHERE s.workflow_uuid = ANY ($12)
      ORDER BY s.workflow_uuid
      FOR NO KEY UPDATE
), fence AS (
    SELECT l.workflow_uuid FROM locked l JOIN new n ON n.parent = l.workflow_uuid AND n.parent_token = l.owner_xid
      WHERE l.status = 'PENDING'
), record AS (
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, child_workflow_id, started_at_epoch_ms, completed_at_epoch_ms,
         application_name)
      SELECT n.parent, n.step, n.name, n.id, n.started_at, n.completed_at, n.app
        FROM new n JOIN fence ON fence.workflow_uuid = n.parent
      ON CONFLICT DO NOTHING
      RETURNING workflow_uuid
), digest AS (
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
      SELECT n.parent, n.step, n.digest FROM new n JOIN record ON record.workflow_uuid = n.parent
       WHERE n.digest IS NOT NULL
      ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest
), created AS (
    INSERT INTO dbos.workflow_status
        (workflow_uuid, status, name, executor_id, application_version, application_id, recovery_attempts, priority,
         owner_xid, creator_xid, serialization, parent_workflow_id, application_name, created_at, attributes,
         workflow_timeout_ms, workflow_deadline_epoch_ms)
      SELECT n.id, 'PENDING', n.name, n.executor, n.version, '', 1, 0, n.token, n.token, 'portable_json', n.parent, n.app,
             n.created_at, n.attributes::jsonb, n.timeout, n.deadline
        FROM new n JOIN record ON record.workflow_uuid = n.parent
       ORDER BY n.id
      ON CONFLICT (workflow_uuid) DO NOTHING
      RETURNING workflow_uuid
), input AS (
    INSERT INTO dbos.workflow_input (workflow_uuid, inputs)
      SELECT n.id, n.inputs FROM new n JOIN created ON created.workflow_uuid = n.id
      ON CONFLICT (workflow_uuid) DO UPDATE SET inputs = EXCLUDED.inputs
), left_attempts AS (
    DELETE FROM dbos_host.attempt a USING created WHERE a.workflow_uuid = created.workflow_uuid
), left_records AS (
    DELETE FROM dbos.operation_outputs o USING created WHERE o.workflow_uuid = created.workflow_uuid
), left_digests AS (
    DELETE FROM dbos_host.operation_digest d USING created WHERE d.workflow_uuid = created.workflow_uuid
)
SELECT n.at, EXISTS (SELECT FROM fence WHERE fence.workflow_uuid = n.parent),
       EXISTS (SELECT FROM record WHERE record.workflow_uuid = n.parent)
  FROM new n WHERE NOT EXISTS (SELECT FROM created WHERE created.workflow_uuid = n.id)";

/// The two statements, prepared for a connection.
#[derive(Debug)]
pub(super) struct Statements {
    start: Statement,
    children: Statement,
}

/// Prepares the statements for a connection.
pub(super) async fn prepare(client: &Client) -> Result<Statements, tokio_postgres::Error> {
    Ok(Statements { start: client.prepare(START).await?, children: client.prepare(START_CHILDREN).await? })
}

/// The columns that both statements begin with: what a run is, whoever starts it.
struct Columns<'a> {
    texts: [Vec<&'a str>; 7],
    created_at: Vec<i64>,
    attributes: Vec<Option<String>>,
    timeouts: Vec<Option<i64>>,
    deadlines: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn of(new: &[&'a NewRun]) -> Self {
        Self {
            texts: [
                column(new, |new| new.claim.run().as_str()),
                column(new, |new| new.name.as_str()),
                column(new, |new| new.executor.as_str()),
                column(new, |new| new.version.as_str()),
                column(new, |new| new.claim.token()),
                column(new, |new| new.app.as_str()),
                column(new, |new| &*new.inputs),
            ],
            created_at: column(new, |new| new.created_at.0),
            attributes: column(new, |new| Attributes::stored(new.terms.attributes.as_ref(), new.trace)),
            timeouts: column(new, |new| new.terms.timeout.map(Timeout::milliseconds)),
            deadlines: column(new, |new| new.deadline.map(|deadline| deadline.0)),
        }
    }

    /// The parameters, with the statement's own behind them.
    fn with<'p>(&'p self, own: &[&'p (dyn ToSql + Sync)]) -> Vec<&'p (dyn ToSql + Sync)> {
        let texts = self.texts.iter().map(|texts| texts as &(dyn ToSql + Sync));
        let common = [&self.created_at as _, &self.attributes as _, &self.timeouts as _, &self.deadlines as _];
        texts.chain(common).chain(own.iter().copied()).collect()
    }
}

/// Writes starts without a parent, no two of one id, and says what became of each. [`Landed::Written`]: the run exists
/// durably, owned by this host, with its input. [`Landed::Exists`]: a row with this id was there. [`Landed::NotOwner`]:
/// this process is another incarnation by now.
pub(super) async fn write(
    client: &Client,
    statements: &Statements,
    new: &[&NewRun],
) -> Result<Vec<Landed>, tokio_postgres::Error> {
    let mut landed = vec![Landed::Written; new.len()];
    if new.is_empty() {
        return Ok(landed);
    }
    let columns = Columns::of(new);
    let incarnations = column(new, |new| new.incarnation.as_str());
    for row in client.query(&statements.start, &columns.with(&[&incarnations])).await? {
        landed[place(&row, 0)] = if row.get(1) { Landed::Exists } else { Landed::NotOwner };
    }
    Ok(landed)
}

/// Writes starts of children, each with its parent's record, no two of one id or one parent. As [`write`]; where a row
/// with the child's id was there, the parent's record of it is written nevertheless ([`Landed::Refused`]), unless it
/// existed too.
pub(super) async fn write_children(
    client: &Client,
    statements: &Statements,
    (new, parents): (&[&NewRun], &[&NewRecord]),
) -> Result<Vec<Landed>, tokio_postgres::Error> {
    let mut landed = vec![Landed::Written; new.len()];
    if new.is_empty() {
        return Ok(landed);
    }
    let columns = Columns::of(new);
    let records = [
        &column(parents, |parent| parent.claim.run().as_str()) as &(dyn ToSql + Sync),
        &column(parents, |parent| parent.claim.token()),
        &column(parents, |parent| parent.step.get()),
        &column(parents, |parent| parent.started_at.0),
        &column(parents, |parent| parent.completed_at.0),
        &column(parents, |parent| parent.digest.as_ref().map(|digest| digest.0.as_slice())),
    ];
    for row in client.query(&statements.children, &columns.with(&records)).await? {
        let place = place(&row, 0);
        landed[place] = match (row.get(1), row.get(2)) {
            (false, _) => Landed::NotOwner,
            (true, false) => Landed::Exists,
            (true, true) => {
                let text = format!("the workflow `{}` exists already", new[place].claim.run());
                Landed::Refused(Failure::new("Error", WORKFLOW_EXISTS, text))
            }
        };
    }
    Ok(landed)
}

/// Reads the row that a start met. `None` when it is gone again (deleted by an operator).
pub(super) async fn existing(client: &Client, new: &NewRun) -> Result<Option<Existing>, DatabaseError> {
    let row = client
        .query_opt(
            "SELECT s.name, coalesce(i.inputs, s.inputs), s.serialization, s.creator_xid IS NOT DISTINCT FROM $2,
                    (SELECT o.function_name = $3 FROM dbos.operation_outputs o
                      WHERE o.workflow_uuid = $1 ORDER BY o.function_id LIMIT 1)
               FROM dbos.workflow_status s LEFT JOIN dbos.workflow_input i USING (workflow_uuid)
              WHERE s.workflow_uuid = $1",
            &[&new.claim.run().as_str(), &new.claim.token(), &CONTINUED],
        )
        .await?;
    Ok(row.map(|row| Existing {
        name: row.get::<_, Option<String>>(0).unwrap_or_default(),
        inputs: row.get(1),
        serialization: row.get(2),
        is_this_start: row.get(3),
        has_continued: row.get::<_, Option<bool>>(4).unwrap_or(false),
    }))
}

impl super::Database {
    /// Reads the row that a start met.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn existing_run(&self, new: &NewRun) -> Result<Option<Existing>, DatabaseError> {
        existing(&*self.client().await?, new).await
    }
}

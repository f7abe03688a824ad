//! Starting a run: its row and its input, and with a child the parent's record of it.

use tokio_postgres::Client;

use super::claim::{Claim, Incarnation};
use super::error::DatabaseError;
use super::journal::Landed;
use super::record::NewRecord;
use crate::workflow::{AppName, Arguments, Code, ComponentDigest, EpochMs, Failure, WorkflowId};

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
    /// When it is created: where its workflow time starts, now and in every replay.
    pub created_at: EpochMs,
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
        Self {
            claim,
            incarnation,
            name: name.into(),
            app,
            version,
            executor: executor.into(),
            arguments,
            created_at,
            parent: None,
        }
    }

    /// The claim. It is proof only after the start was written.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

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
}

// What a deleted run of the same id has left behind is replaced: other clients delete without knowing every table.
// A row that exists is left as it is: the first start wins, whoever sent it. `creator_xid` tells a start whose answer
// was lost that the row is its own.
//
// A host whose lease lapsed is another incarnation since; a start that it prepared before would be a run that nobody
// looks for. So the executor must still be this incarnation, and its row is locked: who becomes it next waits for the
// start, and finds the run at its first look.
const START: &str = "
WITH self AS (
    SELECT 1 FROM dbos_host.executor WHERE executor_id = $3 AND incarnation = $9 FOR SHARE
), created AS (
    INSERT INTO dbos.workflow_status
        (workflow_uuid, status, name, executor_id, application_version, application_id, recovery_attempts, priority,
         owner_xid, creator_xid, serialization, application_name, created_at)
      SELECT $1, 'PENDING', $2, $3, $4, '', 1, 0, $5, $5, 'portable_json', $6, $8 FROM self
      ON CONFLICT (workflow_uuid) DO NOTHING
      RETURNING workflow_uuid
), input AS (
    INSERT INTO dbos.workflow_input (workflow_uuid, inputs) SELECT workflow_uuid, $7 FROM created
      ON CONFLICT (workflow_uuid) DO UPDATE SET inputs = EXCLUDED.inputs
), leftover AS (
    DELETE FROM dbos_host.attempt a USING created WHERE a.workflow_uuid = created.workflow_uuid
)
SELECT (SELECT count(*) FROM self) > 0, (SELECT count(*) FROM created) > 0";

// The parent's row is locked and its owner compared first; without it nothing is written. The child's row and the
// parent's record are one statement, so neither can be without the other. A child under an id that exists already (the
// caller chose it) is not started again, but the record is written: the parent got the handle of the first run.
const START_CHILD: &str = "
WITH fence AS (
    SELECT workflow_uuid FROM dbos.workflow_status
      WHERE workflow_uuid = $8 AND owner_xid = $9 AND status = 'PENDING'
      FOR NO KEY UPDATE
), record AS (
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, child_workflow_id, started_at_epoch_ms, completed_at_epoch_ms,
         application_name)
      SELECT workflow_uuid, $10, $2, $1, $11, $12, $6 FROM fence
      ON CONFLICT DO NOTHING
      RETURNING workflow_uuid
), digest AS (
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
      SELECT workflow_uuid, $10, $13 FROM record
      ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest
), created AS (
    INSERT INTO dbos.workflow_status
        (workflow_uuid, status, name, executor_id, application_version, application_id, recovery_attempts, priority,
         owner_xid, creator_xid, serialization, parent_workflow_id, application_name, created_at)
      SELECT $1, 'PENDING', $2, $3, $4, '', 1, 0, $5, $5, 'portable_json', $8, $6, $12 FROM record
      ON CONFLICT (workflow_uuid) DO NOTHING
      RETURNING workflow_uuid
), input AS (
    INSERT INTO dbos.workflow_input (workflow_uuid, inputs) SELECT workflow_uuid, $7 FROM created
      ON CONFLICT (workflow_uuid) DO UPDATE SET inputs = EXCLUDED.inputs
), leftover AS (
    DELETE FROM dbos_host.attempt a USING created WHERE a.workflow_uuid = created.workflow_uuid
)
SELECT (SELECT count(*) FROM fence) > 0, (SELECT count(*) FROM record) > 0, (SELECT count(*) FROM created) > 0";

/// Writes a start. When it returns [`Landed::Written`], the run exists durably, owned by this host, with its input.
/// [`Landed::Exists`]: a row with this id was there; for a child, the parent's record of it is written nevertheless
/// unless it existed too.
pub(super) async fn write(client: &Client, new: &NewRun) -> Result<Landed, tokio_postgres::Error> {
    let (id, token) = (new.claim.run().as_str(), new.claim.token());
    let inputs = new.arguments.to_stored();
    let Some(parent) = &new.parent else {
        let row = client
            .query_one(
                START,
                &[
                    &id,
                    &new.name,
                    &new.executor,
                    &new.version.as_str(),
                    &token,
                    &new.app.as_str(),
                    &inputs,
                    &new.created_at.0,
                    &new.incarnation.as_str(),
                ],
            )
            .await?;
        return Ok(match (row.get(0), row.get(1)) {
            (false, _) => Landed::NotOwner,
            (true, true) => Landed::Written,
            (true, false) => Landed::Exists,
        });
    };
    let row = client
        .query_one(
            START_CHILD,
            &[
                &id,
                &new.name,
                &new.executor,
                &new.version.as_str(),
                &token,
                &new.app.as_str(),
                &inputs,
                &parent.claim.run().as_str(),
                &parent.claim.token(),
                &parent.step.get(),
                &parent.started_at.0,
                &parent.completed_at.0,
                &parent.digest.0.as_slice(),
            ],
        )
        .await?;
    Ok(match (row.get(0), row.get(1), row.get(2)) {
        (false, _, _) => Landed::NotOwner,
        (true, true, true) => Landed::Written,
        (true, true, false) => Landed::Refused(Failure::new(
            "Error",
            Code("workflow_exists"),
            format!("the workflow `{id}` exists already"),
        )),
        (true, false, _) => Landed::Exists,
    })
}

/// Reads the row that a start met. `None` when it is gone again (deleted by an operator).
pub(super) async fn existing(client: &Client, new: &NewRun) -> Result<Option<Existing>, DatabaseError> {
    let row = client
        .query_opt(
            "SELECT s.name, coalesce(i.inputs, s.inputs), s.serialization, s.creator_xid IS NOT DISTINCT FROM $2
               FROM dbos.workflow_status s LEFT JOIN dbos.workflow_input i USING (workflow_uuid)
              WHERE s.workflow_uuid = $1",
            &[&new.claim.run().as_str(), &new.claim.token()],
        )
        .await?;
    Ok(row.map(|row| Existing {
        name: row.get::<_, Option<String>>(0).unwrap_or_default(),
        inputs: row.get(1),
        serialization: row.get(2),
        is_this_start: row.get(3),
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

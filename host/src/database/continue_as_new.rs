//! Continuing a run with other arguments and without its history.
//!
//! Problem: a run that goes on for years must not have a history of years. It keeps its id, so whoever waits for it, sends to
//! it, cancels it or has started it need not know; what it has recorded goes, and a mark takes its place. One statement
//! does it behind the run's row: a crash leaves the old history or the new beginning.
//!
//! What a later step could still need is kept: the last value of each event, for forks; messages that nobody has taken; and
//! those that were sent with a key, or a second one with the same key would be another message. A promise that was settled
//! stays settled: its settlement can be taken again. What else was taken is gone, so that a mailbox does not grow for ever; and
//! so is what the steps were to be undone by, whose results are not known any more: a round that continues has gone well.

use super::claim::Claim;
use super::error::DatabaseError;
use crate::workflow::{AppName, CONTINUED, EpochMs, StepNumber};

/// How a run continues.
#[derive(Debug, Clone)]
pub struct Continuation {
    /// Proof that this host owns the run.
    pub claim: Claim,
    /// Its app.
    pub app: AppName,
    /// Its arguments from now on, as they are stored.
    pub inputs: String,
    /// The number of the mark: the first one that the run has not used.
    pub mark: StepNumber,
    /// What the mark keeps.
    pub kept: String,
    /// When.
    pub at: EpochMs,
}

// Written a second time, when the answer to the first was lost, it finds nothing more to do.
const CONTINUE: &str = "
WITH locked AS (
    SELECT workflow_uuid, owner_xid, status FROM dbos.workflow_status WHERE workflow_uuid = $1 FOR NO KEY UPDATE
), fence AS (
    SELECT workflow_uuid AS run FROM locked WHERE owner_xid = $2 AND status = 'PENDING'
), mark AS (
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, output, serialization, started_at_epoch_ms, completed_at_epoch_ms,
         application_name)
      SELECT run, $3, $4, $5, 'portable_json', $6, $6, $7 FROM fence
      ON CONFLICT DO NOTHING
), records AS (
    DELETE FROM dbos.operation_outputs o USING fence WHERE o.workflow_uuid = fence.run AND o.function_id < $3
), digests AS (
    DELETE FROM dbos_host.operation_digest d USING fence WHERE d.workflow_uuid = fence.run AND d.function_id < $3
), input AS (
    INSERT INTO dbos.workflow_input (workflow_uuid, inputs) SELECT run, $8 FROM fence
      ON CONFLICT (workflow_uuid) DO UPDATE SET inputs = EXCLUDED.inputs
), status AS (
    UPDATE dbos.workflow_status s
       SET serialization = 'portable_json', updated_at = (extract(epoch FROM now()) * 1000)::bigint
      FROM fence WHERE s.workflow_uuid = fence.run
), attempts AS (
    DELETE FROM dbos_host.attempt a USING fence WHERE a.workflow_uuid = fence.run
), undo AS (
    DELETE FROM dbos_host.undo u USING fence WHERE u.workflow_uuid = fence.run
), saga AS (
    DELETE FROM dbos_host.saga g USING fence WHERE g.workflow_uuid = fence.run
), events AS (
    DELETE FROM dbos.workflow_events_history h USING fence
     WHERE h.workflow_uuid = fence.run AND EXISTS (
         SELECT FROM dbos.workflow_events_history later
          WHERE later.workflow_uuid = h.workflow_uuid AND later.key = h.key AND later.function_id > h.function_id)
), taken AS (
    DELETE FROM dbos.notifications n USING fence
     WHERE n.destination_uuid = fence.run AND n.consumed AND n.consumed_by_function_id < $3
       AND position('::' IN n.message_uuid) = 0 AND NOT starts_with(n.topic, $9)
), promises AS (
    UPDATE dbos.notifications n SET consumed = false, consumed_by_function_id = NULL
      FROM fence WHERE n.destination_uuid = fence.run AND n.consumed AND starts_with(n.topic, $9)
)
SELECT EXISTS (SELECT FROM fence)";

impl super::Database {
    /// Continues a run. True: from here on it has these arguments, and none of its records. False: this host does not own it
    /// any more, and nothing was changed.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn continue_as_new(&self, new: &Continuation, promises: &str) -> Result<bool, DatabaseError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(CONTINUE).await?;
        let row = client
            .query_one(
                &statement,
                &[
                    &new.claim.run().as_str(),
                    &new.claim.token(),
                    &new.mark.get(),
                    &CONTINUED,
                    &new.kept,
                    &new.at.0,
                    &new.app.as_str(),
                    &new.inputs,
                    &promises,
                ],
            )
            .await?;
        Ok(row.get(0))
    }
}

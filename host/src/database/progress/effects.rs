//! What a record changes in the system database beside itself.
//!
//! An event, or a value of a stream, must be there if and only if its record is: one without the other would be set twice, or
//! never, after a crash. So both are one statement, and what is written here is joined with what the record's part of it has
//! written. A record that is refused, or that was there already, has no effect.

use tokio_postgres::types::ToSql;

use crate::database::record::{Effect, NewRecord};
use crate::workflow::WorkflowId;

// Two values of one event may come in one commit: the later step's is the one that stays, and a row can be written only
// once by a statement. Every value is kept for forks. A row of the history that is there already is left by a run that was
// cut back, or deleted, without it.
//
// A stream goes on behind its last value, in the order of the steps. Only the run's owner gets here, behind the lock of its
// row, and a run's entries come one after the other, so no other workflow can have taken the offset. A step of another SDK
// can, since it asks nobody: the key refuses the second one, nothing of the commit is written, and the journal sends it again.
// To step over what is there would lose the value.
pub(super) const EFFECTS: &str = ", effect AS (
    SELECT e.* FROM unnest(<1>::text[], <2>::int4[], <3>::text[], <4>::text[], <5>::bool[])
      AS e (run, step, key, value, is_stream)
      JOIN record r ON r.workflow_uuid = e.run AND r.function_id = e.step
), event AS (
    INSERT INTO dbos.workflow_events (workflow_uuid, key, value, serialization)
      SELECT DISTINCT ON (run, key) run, key, value, 'portable_json' FROM effect
       WHERE NOT is_stream ORDER BY run, key, step DESC
      ON CONFLICT (workflow_uuid, key) DO UPDATE SET value = EXCLUDED.value, serialization = EXCLUDED.serialization
), event_history AS (
    INSERT INTO dbos.workflow_events_history (workflow_uuid, function_id, key, value, serialization)
      SELECT run, step, key, value, 'portable_json' FROM effect WHERE NOT is_stream
      ON CONFLICT (workflow_uuid, function_id, key)
        DO UPDATE SET value = EXCLUDED.value, serialization = EXCLUDED.serialization
), stream AS (
    INSERT INTO dbos.streams (workflow_uuid, key, \"offset\", function_id, value, serialization)
      SELECT run, key,
             coalesce((SELECT max(s.\"offset\") FROM dbos.streams s WHERE s.workflow_uuid = e.run AND s.key = e.key), -1)
               + row_number() OVER (PARTITION BY run, key ORDER BY step),
             step, value, 'portable_json'
        FROM effect e WHERE is_stream
)";

/// How many parameters [`EFFECTS`] has.
pub(super) const PARAMETERS: usize = 5;

/// The effects of some records, as columns.
#[derive(Debug, Default)]
pub(super) struct Effects<'a> {
    runs: Vec<&'a str>,
    steps: Vec<i32>,
    keys: Vec<&'a str>,
    values: Vec<&'a str>,
    are_streams: Vec<bool>,
}

impl<'a> Effects<'a> {
    pub(super) fn of(records: &[&'a NewRecord]) -> Self {
        let mut effects = Self::default();
        for new in records {
            let Some(effect) = &new.effect else { continue };
            let (Effect::Event { key, value } | Effect::Stream { key, value }) = effect;
            effects.runs.push(WorkflowId::as_str(new.claim.run()));
            effects.steps.push(new.step.get());
            effects.keys.push(key);
            effects.values.push(value);
            effects.are_streams.push(matches!(effect, Effect::Stream { .. }));
        }
        effects
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The parameters of [`EFFECTS`]; none where there are no effects.
    pub(super) fn columns(&self) -> Vec<&(dyn ToSql + Sync)> {
        if self.is_empty() {
            return Vec::new();
        }
        vec![&self.runs, &self.steps, &self.keys, &self.values, &self.are_streams]
    }
}

//! What a record changes in the system database beside itself.
//!
//! An event must be there if and only if its record is: one without the other would be set twice, or never, after a crash.
//! So both are one statement, and what is written here is joined with what the record's part of it has written. A record
//! that is refused, or that was there already, has no effect.

use tokio_postgres::types::ToSql;

use crate::database::record::{Effect, NewRecord};
use crate::workflow::WorkflowId;

// Two values of one event may come in one commit: the later step's is the one that stays, and a row can be written only
// once by a statement. Every value is kept for forks. A row of the history that is there already is left by a run that was
// cut back, or deleted, without it.
pub(super) const EFFECTS: &str = ", effect AS (
    SELECT e.* FROM unnest(<1>::text[], <2>::int4[], <3>::text[], <4>::text[]) AS e (run, step, key, value)
      JOIN record r ON r.workflow_uuid = e.run AND r.function_id = e.step
), event AS (
    INSERT INTO dbos.workflow_events (workflow_uuid, key, value, serialization)
      SELECT DISTINCT ON (run, key) run, key, value, 'portable_json' FROM effect ORDER BY run, key, step DESC
      ON CONFLICT (workflow_uuid, key) DO UPDATE SET value = EXCLUDED.value, serialization = EXCLUDED.serialization
), event_history AS (
    INSERT INTO dbos.workflow_events_history (workflow_uuid, function_id, key, value, serialization)
      SELECT run, step, key, value, 'portable_json' FROM effect
      ON CONFLICT (workflow_uuid, function_id, key)
        DO UPDATE SET value = EXCLUDED.value, serialization = EXCLUDED.serialization
)";

/// The effects of some records, as columns.
#[derive(Debug, Default)]
pub(super) struct Effects<'a> {
    runs: Vec<&'a str>,
    steps: Vec<i32>,
    keys: Vec<&'a str>,
    values: Vec<&'a str>,
}

impl<'a> Effects<'a> {
    pub(super) fn of(records: &[&'a NewRecord]) -> Self {
        let mut effects = Self::default();
        for new in records {
            if let Some(Effect::Event { key, value }) = &new.effect {
                effects.runs.push(WorkflowId::as_str(new.claim.run()));
                effects.steps.push(new.step.get());
                effects.keys.push(key);
                effects.values.push(value);
            }
        }
        effects
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The parameters of [`EFFECTS`]; none where there are no effects.
    pub(super) fn columns(&self) -> Vec<&(dyn ToSql + Sync)> {
        if self.is_empty() { Vec::new() } else { vec![&self.runs, &self.steps, &self.keys, &self.values] }
    }
}

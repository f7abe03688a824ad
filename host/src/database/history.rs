//! Reading what runs were started with and what they have recorded, of many at once.

use futures_util::future::try_join3;
use tokio_postgres::{Client, Error, Row, Statement};

use super::claim::Claim;
use super::error::DatabaseError;
use super::ordinality::place;
use crate::workflow::{
    Code, EpochMs, Failure, OperationDigest, Record, RecordedResult, StepNumber, WorkflowId, check_json,
};

// Whatever the server believes about the tables, it looks the rows up by the runs' keys.
const HISTORIES: &str = "
SELECT w.nr, h.* FROM unnest($1::text[]) WITH ORDINALITY AS w (run, nr)
  CROSS JOIN LATERAL (
      SELECT function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms, completed_at_epoch_ms,
             serialization
        FROM dbos.operation_outputs WHERE workflow_uuid = w.run ORDER BY function_id OFFSET 0) h";

// The digests of a run as one value, eight bytes for each. Not joined with the records: such a join, planned for the four
// that most runs have, compared each of ten thousand records with each digest of its run, for half a minute.
const DIGESTS: &str = "
SELECT w.nr, d.* FROM unnest($1::text[]) WITH ORDINALITY AS w (run, nr)
  CROSS JOIN LATERAL (
      SELECT array_agg(function_id), string_agg(digest, ''::bytea)
        FROM (SELECT function_id, digest FROM dbos_host.operation_digest
               WHERE workflow_uuid = w.run ORDER BY function_id) o) d (steps, digests)
  WHERE d.steps IS NOT NULL";

const INPUTS: &str = "
SELECT w.nr, coalesce(i.inputs, s.inputs) FROM unnest($1::text[]) WITH ORDINALITY AS w (run, nr)
  LEFT JOIN dbos.workflow_status s ON s.workflow_uuid = w.run
  LEFT JOIN dbos.workflow_input i ON i.workflow_uuid = w.run";

/// The statements, prepared for a connection.
#[derive(Debug)]
pub(super) struct Statements {
    histories: Statement,
    digests: Statement,
    inputs: Statement,
}

/// What was read of a run, as it came: whoever needs it makes values of it.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) inputs: Option<String>,
    records: Vec<Row>,
    digests: Option<Row>,
}

impl Stored {
    /// The records, in the order of the steps.
    pub(super) fn records(&self) -> Vec<Record> {
        let (steps, digests): (Vec<i32>, &[u8]) =
            self.digests.as_ref().map(|row| (row.get(1), row.get(2))).unwrap_or_default();
        // Both are in the order of the steps; a record without a digest is another program's.
        let mut digests = steps.into_iter().zip(digests.chunks_exact(8)).peekable();
        let record = |row: &Row| {
            let mut record = record(row);
            while digests.next_if(|(step, _)| *step < record.step.get()).is_some() {}
            let digest = digests.next_if(|(step, _)| *step == record.step.get());
            record.digest = digest.and_then(|(_, bytes)| bytes.try_into().ok()).map(OperationDigest);
            record
        };
        self.records.iter().map(record).collect()
    }
}

/// Prepares the statements.
pub(super) async fn prepare(client: &Client) -> Result<Statements, Error> {
    let (histories, digests, inputs) =
        try_join3(client.prepare(HISTORIES), client.prepare(DIGESTS), client.prepare(INPUTS)).await?;
    Ok(Statements { histories, digests, inputs })
}

/// Reads input and records of each run. Whoever counted the attempts before this sees everything that was recorded under
/// earlier claims: from the count on, they record nothing more.
pub(super) async fn read(client: &Client, statements: &Statements, claims: &[&Claim]) -> Result<Vec<Stored>, Error> {
    let runs: Vec<&str> = claims.iter().map(|claim| claim.run().as_str()).collect();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&runs];
    let (inputs, histories, digests) = try_join3(
        client.query(&statements.inputs, &parameters),
        client.query(&statements.histories, &parameters),
        client.query(&statements.digests, &parameters),
    )
    .await?;
    let mut stored: Vec<Stored> = claims.iter().map(|_| Stored::default()).collect();
    for row in inputs {
        stored[place(&row, 0)].inputs = row.try_get(1)?;
    }
    for row in digests {
        let at = place(&row, 0);
        stored[at].digests = Some(row);
    }
    for row in histories {
        let at = place(&row, 0);
        stored[at].records.push(row);
    }
    Ok(stored)
}

impl super::Database {
    /// As [`read`], of one run over a connection of the pool.
    pub(super) async fn read_history(&self, claim: &Claim) -> Result<Stored, DatabaseError> {
        let client = self.client().await?;
        let (histories, digests, inputs) =
            try_join3(client.prepare_cached(HISTORIES), client.prepare_cached(DIGESTS), client.prepare_cached(INPUTS))
                .await?;
        let mut stored = read(&client, &Statements { histories, digests, inputs }, &[claim]).await?;
        Ok(stored.pop().unwrap_or_default())
    }
}

fn record(row: &Row) -> Record {
    let output: Option<String> = row.get(3);
    let error: Option<String> = row.get(4);
    let serialization: Option<String> = row.get(8);
    let started_at = EpochMs(row.get::<_, Option<i64>>(6).unwrap_or(0));
    Record {
        step: StepNumber::stored(row.get(1)),
        name: row.get(2),
        digest: None,
        result: result(output, error, serialization.as_deref()),
        child: row.get::<_, Option<&str>>(5).map(WorkflowId::stored),
        started_at,
        completed_at: EpochMs(row.get::<_, Option<i64>>(7).unwrap_or(started_at.0)),
    }
}

/// A record in a serialization that only another SDK reads becomes an error that says so, at the call that gets it.
pub(super) fn result(output: Option<String>, error: Option<String>, serialization: Option<&str>) -> RecordedResult {
    // Older SDKs do not say what they write, and most of them pickle.
    let readable = match serialization {
        Some(serialization) => serialization == "portable_json",
        None => output.as_deref().is_none_or(|output| check_json(output).is_ok()),
    };
    match (output, error) {
        (_, Some(error)) => RecordedResult::Failed(Failure::from_stored(&error)),
        (Some(_), None) if !readable => RecordedResult::Failed(Failure::new(
            "Error",
            Code("unreadable_record"),
            match serialization {
                Some(serialization) => {
                    format!("the record is stored as `{serialization}`, which this host cannot read")
                }
                None => "the record is stored in a form that this host does not know".to_owned(),
            },
        )),
        (Some(output), None) => RecordedResult::Output(output),
        (None, None) => RecordedResult::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_not_taken_for_it() {
        let is_read = |output: &str, serialization| match result(Some(output.into()), None, serialization) {
            RecordedResult::Output(read) => read == output,
            RecordedResult::Failed(_) | RecordedResult::Nothing => false,
        };
        assert!(is_read("{\"a\":1}", Some("portable_json")) && is_read("{\"a\":1}", None));
        assert!(!is_read("gASVBQAAAAAAAACMAXiULg==", None), "a pickle of an SDK that does not say so");
        assert!(!is_read("1", Some("py_pickle")));
    }
}

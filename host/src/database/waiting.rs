//! What runs wait for, as their hosts tell it, and as their rows say it.
//!
//! Rows of `dbos_host.waiting` are written by whoever has the run, apart from everything that the run records, and may be a
//! second old. So a reader believes one only if the run is not finished and has the owner that the row names.

use tokio_postgres::Row;

use super::claim::{Claim, Incarnation};
use super::error::DatabaseError;
use crate::workflow::{EpochMs, Reason, Status, Waiting};

/// Rows that are removed by one statement when a host finds that what it has told is gone.
const PAGE: i64 = 5000;

/// What a reader of runs selects, with [`JOINS`]. A sleep is told by its record; a deadline that stands beside a wait has
/// ended when it was written, and is none.
pub(super) const COLUMNS: &str = "w.reason, w.since, last.output, last.started_at_epoch_ms";

/// `s` is the run's row.
pub(super) const JOINS: &str = "
  LEFT JOIN dbos_host.waiting w ON s.status = 'PENDING' AND w.workflow_uuid = s.workflow_uuid AND w.owner = s.owner_xid
  LEFT JOIN LATERAL (
      SELECT o.function_name, o.output, o.started_at_epoch_ms, o.completed_at_epoch_ms FROM dbos.operation_outputs o
       WHERE o.workflow_uuid = s.workflow_uuid ORDER BY o.function_id DESC LIMIT 1
  ) last ON s.status = 'PENDING' AND w.reason IS NULL AND last.function_name = 'DBOS.sleep'
        AND last.completed_at_epoch_ms > (extract(epoch FROM now()) * 1000)::bigint";

/// What a run waits for, by [`COLUMNS`] from this one on.
pub(super) fn waiting(row: &Row, at: usize, (status, updated_at): (Option<Status>, EpochMs)) -> Option<Waiting> {
    let told: Option<&str> = row.get(at);
    let slept: Option<&str> = row.get(at + 2);
    match (told, slept, status?) {
        (_, _, Status::Enqueued | Status::Delayed) => Some(Waiting { reason: Reason::Queue, since: updated_at }),
        (Some(reason), _, _) => {
            Some(Waiting { reason: serde_json::from_str(reason).ok()?, since: EpochMs(row.get(at + 1)) })
        }
        (None, Some(wake), _) => {
            let reason = Reason::Sleep { until: EpochMs::from_seconds_json(wake)? };
            Some(Waiting { reason, since: row.get::<_, Option<i64>>(at + 3).map_or(updated_at, EpochMs) })
        }
        (None, None, _) => None,
    }
}

impl super::Database {
    /// Tells why runs wait, and which of those that were told do not wait any more.
    ///
    /// # Errors
    /// When the database does not answer. Some of it may be told then.
    pub async fn tell_reasons(&self, waiting: &[(Claim, Waiting)], over: &[Claim]) -> Result<(), DatabaseError> {
        let client = self.client().await?;
        if !over.is_empty() {
            let (runs, owners) = columns(over.iter());
            let statement = "DELETE FROM dbos_host.waiting w USING unnest($1::text[], $2::text[]) AS o (run, owner)
                              WHERE w.workflow_uuid = o.run AND w.owner = o.owner";
            client.execute(statement, &[&runs, &owners]).await?;
        }
        if !waiting.is_empty() {
            let (runs, owners) = columns(waiting.iter().map(|(claim, _)| claim));
            let reasons: Vec<String> =
                waiting.iter().map(|(_, why)| serde_json::to_string(&why.reason).unwrap_or_default()).collect();
            let since: Vec<i64> = waiting.iter().map(|(_, why)| why.since.0).collect();
            let statement = "INSERT INTO dbos_host.waiting (workflow_uuid, owner, reason, since)
                             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[])
                             ON CONFLICT (workflow_uuid, owner)
                               DO UPDATE SET reason = EXCLUDED.reason, since = EXCLUDED.since";
            client.execute(statement, &[&runs, &owners, &reasons, &since]).await?;
        }
        Ok(())
    }

    /// Whether what this incarnation has told is still there. If not, it is as if nothing had been told; what hosts that are
    /// gone have left is removed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keeps_reasons(&self, incarnation: &Incarnation) -> Result<bool, DatabaseError> {
        let client = self.client().await?;
        let mark = "INSERT INTO dbos_host.waiting (workflow_uuid, owner, reason, since) VALUES ('', $1, '', 0)
                    ON CONFLICT DO NOTHING";
        let is_there = "SELECT 1 FROM dbos_host.waiting WHERE workflow_uuid = '' AND owner = $1";
        if client.query_opt(is_there, &[&incarnation.as_str()]).await?.is_some() {
            return Ok(true);
        }
        let left = "DELETE FROM dbos_host.waiting w USING (
                        SELECT l.workflow_uuid, l.owner FROM dbos_host.waiting l
                         WHERE NOT EXISTS (SELECT FROM dbos.workflow_status s
                                            WHERE s.workflow_uuid = l.workflow_uuid AND s.owner_xid = l.owner)
                           AND NOT EXISTS (SELECT FROM dbos_host.executor e WHERE e.incarnation = l.owner)
                         LIMIT $1) l
                     WHERE w.workflow_uuid = l.workflow_uuid AND w.owner = l.owner";
        while client.execute(left, &[&PAGE]).await? == u64::try_from(PAGE).unwrap_or(u64::MAX) {}
        client.execute(mark, &[&incarnation.as_str()]).await?;
        Ok(false)
    }
}

fn columns<'a>(claims: impl Iterator<Item = &'a Claim>) -> (Vec<&'a str>, Vec<&'a str>) {
    claims.map(|claim| (claim.run().as_str(), claim.token())).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::test_server::TestServer;
    use crate::workflow::WorkflowId;

    const THERE: &str = r#"
        INSERT INTO dbos.workflow_status (workflow_uuid, status, owner_xid, updated_at) VALUES
            ('waits', 'PENDING', 'o', 1), ('other', 'PENDING', 'heir', 1), ('done', 'SUCCESS', NULL, 1), ('runs', 'PENDING', 'o', 1),
            ('sleeps', 'PENDING', 'o', 1), ('slept', 'PENDING', 'o', 1), ('receives', 'PENDING', 'o', 1), ('queued', 'ENQUEUED', NULL, 9);
        INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output, started_at_epoch_ms,
                                            completed_at_epoch_ms) VALUES
            ('waits', 1, 'DBOS.sleep', '99999999999.000', 3, 99999999999000),
            ('sleeps', 1, 'DBOS.sleep', '99999999999.000', 3, 99999999999000),
            ('slept', 1, 'DBOS.sleep', '1.000', 3, 1000),
            ('receives', 2, 'DBOS.sleep', '99999999999.000', 3, 3)"#;

    fn told(run: &str) -> (Claim, Waiting) {
        (Claim::new(WorkflowId::stored(run), "o"), Waiting { reason: Reason::Slot, since: EpochMs(7) })
    }

    #[tokio::test]
    async fn a_reason_counts_for_its_owner_and_while_the_run_goes_on() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        database.client().await.unwrap().batch_execute(THERE).await.unwrap();
        database.tell_reasons(&["waits", "other", "done", "queued"].map(told), &[]).await.unwrap();
        let sleep = Reason::Sleep { until: EpochMs(99_999_999_999_000) };
        for (run, expected) in [
            ("waits", Some((Reason::Slot, 7))),
            ("other", None),
            ("done", None),
            ("runs", None),
            ("sleeps", Some((sleep, 3))),
            ("slept", None),
            ("receives", None),
            ("queued", Some((Reason::Queue, 9))),
        ] {
            let expected = expected.map(|(reason, since)| Waiting { reason, since: EpochMs(since) });
            let row = database.run(&WorkflowId::stored(run)).await.unwrap().expect("it is there");
            assert_eq!(row.waiting, expected, "{run}");
            let details = database.run_details(&WorkflowId::stored(run)).await.unwrap().expect("it is there");
            assert_eq!(details.waiting, expected, "{run}");
        }
        let (claim, _) = told("waits");
        let again = Waiting { reason: Reason::Database, since: EpochMs(8) };
        database.tell_reasons(&[(claim.clone(), again.clone())], &[]).await.unwrap();
        assert_eq!(database.run(claim.run()).await.unwrap().unwrap().waiting, Some(again));
        database.tell_reasons(&[], std::slice::from_ref(&claim)).await.unwrap();
        let waiting = database.run(claim.run()).await.unwrap().unwrap().waiting;
        assert!(matches!(waiting, Some(Waiting { reason: Reason::Sleep { .. }, .. })), "its record speaks again");
    }

    #[tokio::test]
    async fn a_host_finds_out_that_the_table_has_forgotten() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        database.client().await.unwrap().batch_execute(THERE).await.unwrap();
        let incarnation = Incarnation::fresh();
        database.tell_reasons(&["waits", "other"].map(told), &[]).await.unwrap();
        assert!(!database.keeps_reasons(&incarnation).await.unwrap());
        let left = "SELECT string_agg(workflow_uuid, ' ' ORDER BY workflow_uuid) FROM dbos_host.waiting";
        let left: String = database.client().await.unwrap().query_one(left, &[]).await.unwrap().get(0);
        assert_eq!(left, " waits", "the mark, and what counts");
        assert!(database.keeps_reasons(&incarnation).await.unwrap());
        database.client().await.unwrap().batch_execute("TRUNCATE dbos_host.waiting").await.unwrap();
        assert!(!database.keeps_reasons(&incarnation).await.unwrap());
    }
}

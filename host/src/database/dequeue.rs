//! Taking runs out of the internal queue: those that somebody resumed, and those that a DBOS client started there.
//!
//! Problem: several hosts look at the queue at once, beside programs of other SDKs that use the same one. Each row must get
//! exactly one owner, and only one that can run it. So a page is one compare-and-set ENQUEUED → PENDING over rows that
//! nobody else has locked, and only rows are looked at whose app and workflow this host serves, or whose component it
//! can load.

use super::claim::Incarnation;
use super::error::DatabaseError;
use super::resume::INTERNAL_QUEUE;
use super::take_over::{TakenRun, taken, with_last_record};
use crate::failpoint;
use crate::workflow::{AppName, ComponentDigest};

/// Rows in one page. Each becomes a task that waits for a slot, so a host takes a little at a time and leaves the rest to
/// others; a hundred for each look are far more than come by resumes.
const PAGE: i64 = 100;

/// A workflow that this host serves.
#[derive(Debug, Clone)]
pub struct Served {
    /// Its app.
    pub app: AppName,
    /// Its name.
    pub workflow: String,
    /// The component that new runs take.
    pub version: ComponentDigest,
}

// A look that takes no lock. It is asked all the time, so it sends the names of apps only and asks for nothing that is not
// in the index of the queues.
const IS_THERE: &str = "
SELECT EXISTS (
    SELECT 1 FROM dbos.workflow_status
     WHERE queue_name = $2 AND status = 'ENQUEUED' AND (application_name = ANY ($1) OR application_name IS NULL))";

// What says whose a run is may be missing, since other programs write the row: without an app it belongs to the one that
// has a workflow of this name, without a version it gets the component that new runs take; a fork gets the one of the run
// that it was copied from. A version that is there must be one whose bytes are here; other SDKs' versions never are.
//
// A fork that somebody else has made lacks what only this host knows of forks (`dbos_host.origin`). It is written when the
// fork is taken for the first time: from then on, not every record that it has is a copy.
//
// `recovery_attempts` is not touched: an attempt is counted when an instance is made. It was set back by whoever left the
// run here, and how many records there were at the last attempt does not count any more: a client may have rewound it. A
// deadline begins here, as in DBOS. What an earlier end of the run left as its error goes.
//
// The executor's row is looked at and locked as in a take-over: a host whose lease is over, or that is another incarnation
// by now, takes nothing.
const DEQUEUE: &str = "
WITH self AS (
    SELECT 1 FROM dbos_host.executor
      WHERE executor_id = $1 AND incarnation = $2 AND lease_expires_at >= clock_timestamp() FOR SHARE
), served AS (
    SELECT * FROM unnest($3::text[], $4::text[], $5::text[]) AS served(app, name, version)
), page AS (
    SELECT s.workflow_uuid, coalesce(s.application_name, own.app) AS app,
           coalesce(s.application_version, origin.application_version, own.version) AS version,
           s.forked_from, s.created_at
      FROM dbos.workflow_status s
      LEFT JOIN dbos.workflow_status origin ON origin.workflow_uuid = s.forked_from
      LEFT JOIN LATERAL (
          SELECT app, version FROM served
           WHERE served.name = s.name AND (s.application_name IS NULL OR s.application_name = served.app)
           LIMIT 1) own ON true
     WHERE s.queue_name = $6 AND s.status = 'ENQUEUED'
       AND (own.app IS NOT NULL
            OR (s.application_name = ANY ($8) AND coalesce(s.application_version, origin.application_version) IS NOT NULL))
       AND (coalesce(s.application_version, origin.application_version) IS NULL
            OR coalesce(s.application_version, origin.application_version) IN (SELECT digest FROM dbos_host.component))
       AND EXISTS (SELECT 1 FROM self)
     ORDER BY s.priority, s.created_at, s.workflow_uuid
     LIMIT $7
     FOR NO KEY UPDATE OF s SKIP LOCKED
), t AS (
    UPDATE dbos.workflow_status s
       SET status = 'PENDING', executor_id = $1,
           owner_xid = $2 || ':' || replace(gen_random_uuid()::text, '-', ''),
           application_name = page.app, application_version = page.version,
           started_at_epoch_ms = (extract(epoch FROM now()) * 1000)::bigint,
           updated_at = (extract(epoch FROM now()) * 1000)::bigint,
           workflow_deadline_epoch_ms =
               CASE WHEN s.workflow_deadline_epoch_ms IS NULL AND s.workflow_timeout_ms IS NOT NULL
                    THEN least((extract(epoch FROM now()) * 1000)::bigint + s.workflow_timeout_ms::numeric,
                               9223372036854775807)::bigint
                    ELSE s.workflow_deadline_epoch_ms END
      FROM page WHERE s.workflow_uuid = page.workflow_uuid
      RETURNING s.workflow_uuid, s.owner_xid, s.recovery_attempts, s.created_at
), cleared AS (
    DELETE FROM dbos.workflow_output o USING t WHERE o.workflow_uuid = t.workflow_uuid
), saga AS (
    INSERT INTO dbos_host.saga (workflow_uuid, run_created_at)
      SELECT DISTINCT t.workflow_uuid, t.created_at
        FROM t JOIN dbos_host.undo u ON u.workflow_uuid = t.workflow_uuid AND u.run_created_at = t.created_at
      ON CONFLICT (workflow_uuid) DO UPDATE SET run_created_at = EXCLUDED.run_created_at
), counted AS (
    DELETE FROM dbos_host.attempt a USING t WHERE a.workflow_uuid = t.workflow_uuid
), digests AS (
    DELETE FROM dbos_host.operation_digest d USING t
     WHERE d.workflow_uuid = t.workflow_uuid AND NOT EXISTS (
         SELECT FROM dbos.operation_outputs o
          WHERE o.workflow_uuid = d.workflow_uuid AND o.function_id = d.function_id)
), drawn AS (
    INSERT INTO dbos_host.origin
    SELECT o.* FROM page, LATERAL dbos_host.origin_of(page.workflow_uuid, page.forked_from, page.created_at, (
        SELECT coalesce(max(function_id), 0) FROM dbos.operation_outputs r WHERE r.workflow_uuid = page.workflow_uuid)) o
     WHERE page.forked_from IS NOT NULL
    ON CONFLICT (workflow_uuid) DO UPDATE
       SET forked_from = EXCLUDED.forked_from, created_at = EXCLUDED.created_at, started_at = EXCLUDED.started_at,
           last_steps = EXCLUDED.last_steps, seeds_of = EXCLUDED.seeds_of
     WHERE (origin.forked_from, origin.created_at) <> (EXCLUDED.forked_from, EXCLUDED.created_at)
)";

impl super::Database {
    /// Takes a page of what waits in the internal queue for these apps and their workflows. When it returns, the runs are this
    /// host's. An empty page: nothing is left that others have not locked.
    ///
    /// # Errors
    /// When the database does not answer. Some runs may have been taken; they are found again as this incarnation's own
    /// by [`Self::own_runs`].
    pub async fn dequeue(
        &self,
        apps: &[AppName],
        served: &[Served],
        (executor, incarnation): (&str, &Incarnation),
    ) -> Result<Vec<TakenRun>, DatabaseError> {
        let apps: Vec<&str> = apps.iter().map(AppName::as_str).collect();
        let client = self.client().await?;
        let is_there = client.prepare_cached(IS_THERE).await?;
        if !client.query_one(&is_there, &[&apps, &INTERNAL_QUEUE]).await?.get::<_, bool>(0) {
            return Ok(Vec::new());
        }
        let owners: Vec<&str> = served.iter().map(|served| served.app.as_str()).collect();
        let names: Vec<&str> = served.iter().map(|served| served.workflow.as_str()).collect();
        let versions: Vec<&str> = served.iter().map(|served| served.version.as_str()).collect();
        failpoint::hit("dequeue.before_page").await;
        let rows = client
            .query(
                &format!("{DEQUEUE}{}", with_last_record()),
                &[&executor, &incarnation.as_str(), &owners, &names, &versions, &INTERNAL_QUEUE, &PAGE, &apps],
            )
            .await?;
        failpoint::hit("dequeue.after_page").await;
        Ok(rows.iter().map(taken).collect())
    }
}

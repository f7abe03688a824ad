//! Taking over the runs of a dead host.
//!
//! One compare-and-set for each page: PENDING with an old owner becomes PENDING with a new one. Whatever the old owner
//! still sends is refused by the fence from then on, so it does not matter whether it is really dead.
//!
//! Most of what a host leaves sleeps. So each page says until when its runs do, and nobody has to ask for each of them.

use super::attempt::MEASURED_RECORDS;
use super::claim::{Claim, Incarnation};
use super::error::DatabaseError;
use crate::workflow::{AppName, EpochMs, WorkflowId};

/// Rows in one page: short enough a transaction not to hold anybody up, long enough that 100,000 rows take a second.
const PAGE: i64 = 1000;

/// A run that this host owns now.
#[derive(Debug, Clone)]
pub struct TakenRun {
    /// Proof of it.
    pub claim: Claim,
    /// Attempts in a row without a new record that were counted before.
    pub attempts: u32,
    /// When it wakes up, if it sleeps: until then there is nothing to do for it.
    pub sleeps_until: Option<EpochMs>,
}

// Whose runs may be taken: whoever takes ($5, as $3) must still be who it thinks it is, or the runs would get an owner that
// is over. The lease of the dead ($1) is looked at again for each page, and its row is locked: a host that wakes up and
// begins a new incarnation waits for the page, and what it starts then is not taken from it. An executor's own old runs
// need no lapse.
const DEAD: &str = "
WITH self AS (
    SELECT 1 FROM dbos_host.executor WHERE executor_id = $5 AND incarnation = $3 FOR SHARE
), dead AS (
    SELECT executor_id FROM dbos_host.executor
      WHERE executor_id = $1 AND ($1 = $5 OR lease_expires_at < clock_timestamp()) AND EXISTS (SELECT 1 FROM self)
      FOR SHARE
)";

// Only the apps that this host serves, only components whose bytes are here: another SDK's rows, and those of an app that is
// configured elsewhere, are left alone. Each page begins behind the last one ($6): from the first key on, it would have to
// pass everything that was taken before it.
const LEFT_BEHIND: &str = "
    SELECT workflow_uuid FROM dbos.workflow_status
      WHERE status = 'PENDING' AND executor_id = (SELECT executor_id FROM dead) AND application_name = ANY ($2)
        AND application_version IN (SELECT digest FROM dbos_host.component)
        AND (owner_xid IS NULL OR NOT starts_with(owner_xid, $3)) AND workflow_uuid > $6
      ORDER BY workflow_uuid
      LIMIT $4";

// A row that somebody else has locked is skipped, and found again by the next look: it must not hold up a thousand others.
// Nobody waits for anybody, so two hosts that take over at once cannot deadlock. `started_at_epoch_ms` is not touched.
//
// The last records are seen as they were when the statement began. A record that the old owner wrote since makes its run
// one that is taken up too early, which costs a replay, or one that sleeps until a time that is over.
const TAKE: &str = "
UPDATE dbos.workflow_status s
   SET executor_id = $5, owner_xid = $3 || ':' || replace(gen_random_uuid()::text, '-', ''),
       updated_at = (extract(epoch FROM now()) * 1000)::bigint
  FROM page WHERE s.workflow_uuid = page.workflow_uuid
  RETURNING s.workflow_uuid, s.owner_xid, s.recovery_attempts";

// The runs of `t`, and when they wake up.
//
// A run sleeps if its last record is a sleep *and* nothing is missing before it. A missing record is a step that was begun
// and has to be begun again, or a wait that something else may end sooner. And it sleeps until the record's own end: what
// only stands beside a wait, as its deadline, has ended when it was written. A run that is taken for one that does not sleep
// is replayed, and finds its sleep; one that is taken for a sleeper would hear nothing until then.
//
// Attempts that were counted before the last record have not come to nothing: the count in the row is that of the last
// instance, and begins anew with the next one (`attempt`, whose measure this is).
const WITH_LAST_RECORD: &str = "
SELECT t.workflow_uuid, t.owner_xid,
       CASE WHEN t.recovery_attempts > 1 AND coalesce(progress.counted, last.step) > coalesce((
                SELECT a.records FROM dbos_host.attempt a WHERE a.workflow_uuid = t.workflow_uuid), 0)
            THEN 0 ELSE t.recovery_attempts END,
       CASE WHEN last.name = 'DBOS.sleep' AND progress.counted = last.step THEN last.completed_at END
  FROM t
  LEFT JOIN LATERAL (
      SELECT function_id AS step, function_name AS name, completed_at_epoch_ms AS completed_at
        FROM dbos.operation_outputs
       WHERE workflow_uuid = t.workflow_uuid ORDER BY function_id DESC LIMIT 1) last ON true
  CROSS JOIN LATERAL (
      SELECT CASE WHEN last.step <= <measured> AND (last.name = 'DBOS.sleep' OR t.recovery_attempts > 1)
                  THEN (SELECT count(*)::int4 FROM dbos.operation_outputs o WHERE o.workflow_uuid = t.workflow_uuid)
             END AS counted
      OFFSET 0) progress";

/// What ends a statement that takes runs as `t`: a row for each, to be read by [`taken`].
pub(super) fn with_last_record() -> String {
    WITH_LAST_RECORD.replace("<measured>", &MEASURED_RECORDS.to_string())
}

const OWN: &str = "
WITH t AS (
    SELECT workflow_uuid, owner_xid, recovery_attempts FROM dbos.workflow_status
     WHERE status = 'PENDING' AND executor_id = $1 AND starts_with(owner_xid, $2) AND workflow_uuid > $3
     ORDER BY workflow_uuid LIMIT $4
)";

// What an earlier incarnation left of apps that its executor does not serve any more. As long as the executor lives, nobody
// would take it: its lease holds, and it does not want it. So it gets another executor, whose lease is over, and whichever
// host serves the app finds it as it finds what dead hosts left.
//
// Waiting for a row that somebody else has locked would be waiting with the executor's own row locked: its lease could not be
// renewed meanwhile.
const LEAVE: &str = "
WITH self AS (
    SELECT 1 FROM dbos_host.executor WHERE executor_id = $1 AND incarnation = $2 FOR SHARE
), page AS (
    SELECT workflow_uuid FROM dbos.workflow_status
      WHERE status = 'PENDING' AND executor_id = $1 AND application_name <> ALL ($3)
        AND application_version IN (SELECT digest FROM dbos_host.component)
        AND (owner_xid IS NULL OR NOT starts_with(owner_xid, $2))
        AND EXISTS (SELECT 1 FROM self)
      ORDER BY workflow_uuid
      LIMIT $4
      FOR NO KEY UPDATE SKIP LOCKED
), nobody AS (
    INSERT INTO dbos_host.executor (executor_id, incarnation, lease_expires_at)
      SELECT $5, $5, clock_timestamp() - interval '1 second' WHERE EXISTS (SELECT 1 FROM page)
      ON CONFLICT (executor_id) DO NOTHING
)
UPDATE dbos.workflow_status s SET executor_id = $5 FROM page WHERE s.workflow_uuid = page.workflow_uuid";

const HAS_TO_LEAVE: &str = "
SELECT EXISTS (
    SELECT 1 FROM dbos.workflow_status
     WHERE status = 'PENDING' AND executor_id = $1 AND application_name <> ALL ($3)
       AND application_version IN (SELECT digest FROM dbos_host.component)
       AND (owner_xid IS NULL OR NOT starts_with(owner_xid, $2)))";

impl super::Database {
    /// Leaves the next page of runs that earlier incarnations of this executor had, of apps that it does not serve, to
    /// whoever serves them: under the name `nobody`, an executor that is dead. Returns how many there were. None: nothing is
    /// left but what somebody else has locked; see [`Self::has_to_leave`].
    ///
    /// # Errors
    /// When the database does not answer. The page may have been left; what is left to do is found again.
    pub async fn leave(
        &self,
        nobody: &str,
        apps: &[AppName],
        (executor, incarnation): (&str, &Incarnation),
    ) -> Result<u64, DatabaseError> {
        let apps: Vec<&str> = apps.iter().map(AppName::as_str).collect();
        let client = self.client().await?;
        Ok(client.execute(LEAVE, &[&executor, &incarnation.as_str(), &apps, &PAGE, &nobody]).await?)
    }

    /// True when there are runs that [`Self::leave`] has not left, because somebody else had locked them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_to_leave(
        &self,
        apps: &[AppName],
        (executor, incarnation): (&str, &Incarnation),
    ) -> Result<bool, DatabaseError> {
        let apps: Vec<&str> = apps.iter().map(AppName::as_str).collect();
        let client = self.client().await?;
        Ok(client.query_one(HAS_TO_LEAVE, &[&executor, &incarnation.as_str(), &apps]).await?.get(0))
    }

    /// Takes a page of the runs that `dead` left, from the key `after` on, in the order of their keys. When it returns, they
    /// are this host's. An empty page: nothing is left behind that key but what somebody else has locked; see
    /// [`Self::has_left_behind`].
    ///
    /// # Errors
    /// When the database does not answer. Some runs may have been taken; they are found again as this incarnation's own
    /// by [`Self::own_runs`].
    pub async fn take_over(
        &self,
        dead: &str,
        apps: &[AppName],
        (executor, incarnation): (&str, &Incarnation),
        after: &str,
    ) -> Result<Vec<TakenRun>, DatabaseError> {
        let apps: Vec<&str> = apps.iter().map(AppName::as_str).collect();
        let client = self.client().await?;
        let take = format!(
            "{DEAD}, page AS ({LEFT_BEHIND} FOR NO KEY UPDATE SKIP LOCKED), t AS ({TAKE}) {}
             ORDER BY t.workflow_uuid",
            with_last_record()
        );
        let rows = client.query(&take, &[&dead, &apps, &incarnation.as_str(), &PAGE, &executor, &after]).await?;
        Ok(rows.iter().map(taken).collect())
    }

    /// True when there are runs that `dead` left and that this host may take.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_left_behind(
        &self,
        dead: &str,
        apps: &[AppName],
        (executor, incarnation): (&str, &Incarnation),
    ) -> Result<bool, DatabaseError> {
        let apps: Vec<&str> = apps.iter().map(AppName::as_str).collect();
        let client = self.client().await?;
        let look = format!("{DEAD} {LEFT_BEHIND}");
        let found = client.query(&look, &[&dead, &apps, &incarnation.as_str(), &1_i64, &executor, &""]).await?;
        Ok(!found.is_empty())
    }

    /// The runs that this incarnation owns, from the key `after` on: after a take-over whose answer was lost, they are
    /// owned and nobody drives them.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn own_runs(
        &self,
        (executor, incarnation): (&str, &Incarnation),
        after: &str,
    ) -> Result<Vec<TakenRun>, DatabaseError> {
        let client = self.client().await?;
        let own = format!("{OWN}{} ORDER BY t.workflow_uuid", with_last_record());
        let rows = client.query(&own, &[&executor, &incarnation.as_str(), &after, &PAGE]).await?;
        Ok(rows.iter().map(taken).collect())
    }
}

pub(super) fn taken(row: &tokio_postgres::Row) -> TakenRun {
    let claim = Claim::new(WorkflowId::stored(row.get(0)), row.get(1));
    let attempts = row.get::<_, Option<i64>>(2).unwrap_or(0);
    let sleeps_until = row.get::<_, Option<i64>>(3).map(EpochMs);
    TakenRun { claim, attempts: u32::try_from(attempts).unwrap_or(0), sleeps_until }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::database::start::NewRun;
    use crate::database::test_server::TestServer;
    use crate::database::{Database, Entry, Journal, Landed};
    use crate::workflow::{Arguments, ComponentDigest};

    /// What a taken run says of itself, after it was given these rows of `operation_outputs`: number, name, end.
    async fn taken_with(database: &Database, incarnation: &Incarnation, rows: &str) -> TakenRun {
        let id = WorkflowId::stored(&uuid::Uuid::new_v4().to_string());
        let (app, version) = (AppName::parse("shop").unwrap(), ComponentDigest::of(b""));
        let arguments = Arguments::from_json(serde_json::json!({})).unwrap();
        let new = NewRun::new(id.clone(), incarnation, "e", (&app, &version), ("buy", arguments, EpochMs(1)));
        let journal = Journal::open(database, NonZeroU32::MIN, &tokio::sync::mpsc::channel(1).0);
        let ticket = journal.append(Entry::Start(Box::new(new))).await.unwrap();
        assert_eq!(ticket.durable().await.unwrap(), Landed::Written);
        let records = format!(
            "INSERT INTO dbos.operation_outputs
                 (workflow_uuid, function_id, function_name, output, completed_at_epoch_ms)
             SELECT '{}', n, name, '900', ended FROM ({rows}) r (n, name, ended)",
            id.as_str()
        );
        database.client().await.unwrap().batch_execute(&records).await.unwrap();
        let runs = database.own_runs(("e", incarnation), "").await.unwrap();
        runs.into_iter().find(|taken| *taken.claim.run() == id).expect("it is this incarnation's own")
    }

    #[tokio::test]
    async fn only_a_run_that_lacks_nothing_before_its_sleep_is_a_sleeper() {
        let (database, incarnation, _lease) = TestServer::fresh_executor().await;
        let sleeps = async |rows: &str| taken_with(&database, &incarnation, rows).await.sleeps_until;
        assert_eq!(sleeps("VALUES (1, 'pay', 7), (2, 'DBOS.sleep', 900000)").await, Some(EpochMs(900_000)));
        assert_eq!(sleeps("VALUES (1, 'DBOS.sleep', 900000)").await, Some(EpochMs(900_000)));
        assert_eq!(sleeps("VALUES (2, 'DBOS.sleep', 900000)").await, None, "something else may end the wait sooner");
        assert_eq!(sleeps("VALUES (1, 'DBOS.sleep', 900000), (2, 'pay', 7)").await, None);
        assert_eq!(
            sleeps("VALUES (1, 'DBOS.recv', 8), (2, 'DBOS.sleep', 8)").await,
            Some(EpochMs(8)),
            "the deadline of a wait that is over is no reason to wait"
        );
        let long = |sleep: i32| {
            format!(
                "SELECT n, CASE n WHEN {sleep} THEN 'DBOS.sleep' ELSE 'pay' END, 9 FROM generate_series(1, {sleep}) n"
            )
        };
        assert_eq!(sleeps(&long(MEASURED_RECORDS)).await, Some(EpochMs(9)));
        assert_eq!(sleeps(&long(MEASURED_RECORDS + 1)).await, None, "too long to be looked through");
    }
}

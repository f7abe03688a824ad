//! Undoing: what a run's steps have registered, and the run that undoes them.
//!
//! Problem: a run with undos may end anywhere: by its own error, by a cancel of a program that knows nothing of undos, by a
//! deadline, while no host runs. And what undoes it must survive crashes as everything else does. So it is a run of its own,
//! under an id that only one can have, `<id>-undo`, which is inserted by whoever finds that the run has ended so. There is a row
//! for each run that is to be looked at (`dbos_host.saga`), and it goes with that insert.
//!
//! What undoes a run reads the run's records, so they must not change any more: a run that is undone cannot be resumed.

use super::claim::{Claim, Incarnation};
use super::error::DatabaseError;
use super::take_over::TakenRun;
use crate::failpoint;
use crate::workflow::{AppName, EpochMs, Registered, Status, StepEnded, StepNumber, WorkflowId};

/// Runs in one statement. Each becomes an instance that waits for a slot, and the statement looks at every saga of this host's
/// apps that goes on.
const PAGE: i64 = 100;

/// Sagas that are forgotten by one statement.
const FORGOTTEN: i64 = 1000;

/// A step that is about to begin and that can be undone.
#[derive(Debug)]
pub struct NewUndo<'a> {
    /// Proof that this host owns the run.
    pub claim: &'a Claim,
    /// The step's number.
    pub number: StepNumber,
    /// The step.
    pub step: &'a str,
    /// What undoes it.
    pub undo: &'a str,
    /// The step's arguments, a JSON object.
    pub arguments: &'a str,
}

// A step that a replay begins again may have other arguments than the ones that are there, if the crash has taken the records
// that they were made from. Nothing was done with those.
const REGISTER: &str = "
WITH locked AS (
    SELECT workflow_uuid, owner_xid, status, created_at FROM dbos.workflow_status
      WHERE workflow_uuid = $1 FOR NO KEY UPDATE
), fence AS (
    SELECT workflow_uuid, created_at FROM locked WHERE status = 'PENDING' AND owner_xid = $2
), saga AS (
    INSERT INTO dbos_host.saga AS g (workflow_uuid, run_created_at) SELECT workflow_uuid, created_at FROM fence
      ON CONFLICT (workflow_uuid) DO UPDATE SET run_created_at = EXCLUDED.run_created_at
        WHERE g.run_created_at <> EXCLUDED.run_created_at
), undo AS (
    INSERT INTO dbos_host.undo (workflow_uuid, function_id, run_created_at, step, undo, arguments)
      SELECT workflow_uuid, $3, created_at, $4, $5, $6 FROM fence
      ON CONFLICT (workflow_uuid, function_id) DO UPDATE
        SET run_created_at = EXCLUDED.run_created_at, step = EXCLUDED.step, undo = EXCLUDED.undo,
            arguments = EXCLUDED.arguments
)
SELECT EXISTS (SELECT FROM fence)";

// The run's row is locked, and a resume locks it too: one of the two comes first, and the other sees it. Whoever has inserted the
// undo run before keeps it. The executor's row is looked at and locked as in a take-over. A row that somebody else has locked is
// left to the next look.
//
// The attempt is counted when the instance is made, so it begins with none.
const START: &str = r#"
WITH self AS (
    SELECT 1 FROM dbos_host.executor
      WHERE executor_id = $2 AND incarnation = $3 AND lease_expires_at >= clock_timestamp() FOR SHARE
), target AS (
    SELECT s.workflow_uuid, s.name, s.application_name, s.application_version, s.created_at
      FROM dbos_host.saga g JOIN dbos.workflow_status s ON s.workflow_uuid = g.workflow_uuid
     WHERE s.status IN ('CANCELLED', 'ERROR') AND s.created_at = g.run_created_at AND s.application_name = ANY ($1)
       AND s.application_version IN (SELECT digest FROM dbos_host.component)
       AND EXISTS (SELECT 1 FROM self)
       AND NOT EXISTS (
           SELECT FROM dbos.workflow_status e
            WHERE e.workflow_uuid = s.workflow_uuid || '-undo'
              AND NOT (starts_with(coalesce(e.name, ''), 'undo:') AND e.created_at >= s.created_at
                       AND coalesce(e.parent_workflow_id = s.workflow_uuid, false)))
     ORDER BY s.workflow_uuid
     LIMIT $5
     FOR NO KEY UPDATE OF s SKIP LOCKED
), created AS (
    INSERT INTO dbos.workflow_status
        (workflow_uuid, status, name, executor_id, application_version, application_id, recovery_attempts, priority,
         owner_xid, creator_xid, serialization, parent_workflow_id, application_name, created_at)
      SELECT n.workflow_uuid || '-undo', 'PENDING', 'undo:' || n.name, $2, n.application_version, '', 0, 0, n.token, n.token,
             'portable_json', n.workflow_uuid, n.application_name, greatest($4, n.created_at)
        FROM (SELECT t.*, $3 || ':' || replace(gen_random_uuid()::text, '-', '') AS token FROM target t OFFSET 0) n
       ORDER BY 1
      ON CONFLICT (workflow_uuid) DO NOTHING
      RETURNING workflow_uuid, owner_xid, parent_workflow_id
), input AS (
    INSERT INTO dbos.workflow_input (workflow_uuid, inputs)
      SELECT workflow_uuid, '{"positionalArgs":[],"namedArgs":{}}' FROM created
      ON CONFLICT (workflow_uuid) DO UPDATE SET inputs = EXCLUDED.inputs
), leftover AS (
    DELETE FROM dbos_host.attempt a USING created WHERE a.workflow_uuid = created.workflow_uuid
), settled AS (
    DELETE FROM dbos_host.saga g USING target t WHERE g.workflow_uuid = t.workflow_uuid
)
SELECT c.workflow_uuid, c.owner_xid FROM target t LEFT JOIN created c ON c.parent_workflow_id = t.workflow_uuid"#;

// Nobody can start what undoes these: another run has the id. This host gives such ids to nobody, but other programs may.
const IN_THE_WAY: &str = "
SELECT e.workflow_uuid
  FROM dbos_host.saga g
  JOIN dbos.workflow_status s ON s.workflow_uuid = g.workflow_uuid AND s.created_at = g.run_created_at
  JOIN dbos.workflow_status e ON e.workflow_uuid = s.workflow_uuid || '-undo'
 WHERE s.status IN ('CANCELLED', 'ERROR')
   AND NOT (starts_with(coalesce(e.name, ''), 'undo:') AND e.created_at >= s.created_at
            AND coalesce(e.parent_workflow_id = s.workflow_uuid, false))
 LIMIT 10";

// A run that has ended well may be rewound, or be brought back by another program, and then its saga counts again. Whoever does
// that, or takes the run out of the queue behind it, has the run's row locked; so it is locked here too, its status is compared
// behind the lock, and a row that somebody else has locked is left to the next look. A run that is gone has no row to lock, but a
// new run of its id has another time, which is compared behind the lock of the saga.
const FORGET: &str = "
WITH ended AS (
    SELECT g.workflow_uuid, g.run_created_at
      FROM dbos_host.saga g JOIN dbos.workflow_status s ON s.workflow_uuid = g.workflow_uuid
     WHERE s.status = 'SUCCESS' OR s.created_at <> g.run_created_at
     LIMIT $1
     FOR NO KEY UPDATE OF s SKIP LOCKED
), gone AS (
    SELECT * FROM ended
    UNION ALL
    (SELECT g.workflow_uuid, g.run_created_at FROM dbos_host.saga g
      WHERE NOT EXISTS (SELECT FROM dbos.workflow_status s WHERE s.workflow_uuid = g.workflow_uuid)
      LIMIT $1)
)
DELETE FROM dbos_host.saga g USING gone
 WHERE g.workflow_uuid = gone.workflow_uuid AND g.run_created_at = gone.run_created_at";

// A run that a rewind has cut may have another step under the number; what was registered then is undone as what nobody knows the
// result of.
const REGISTERED: &str = "
SELECT u.function_id, u.step, u.undo, o.workflow_uuid IS NOT NULL, o.error IS NOT NULL, o.completed_at_epoch_ms
  FROM dbos_host.undo u
  JOIN dbos.workflow_status s ON s.workflow_uuid = u.workflow_uuid AND s.created_at = u.run_created_at
  LEFT JOIN dbos.operation_outputs o ON o.workflow_uuid = u.workflow_uuid AND o.function_id = u.function_id
                                       AND o.function_name = u.step
 WHERE u.workflow_uuid = $1";

const CALLED_WITH: &str = "
SELECT u.arguments, o.output
  FROM dbos_host.undo u
  LEFT JOIN dbos.operation_outputs o ON o.workflow_uuid = u.workflow_uuid AND o.function_id = u.function_id
                                       AND o.function_name = u.step
 WHERE u.workflow_uuid = $1 AND u.function_id = $2";

// Only a run that will not go on, and only by the run that is there for it: another one of such an id (a fork of it, say) would
// undo what is not its own.
const UNDOES: &str = "
SELECT s.workflow_uuid
  FROM dbos.workflow_status u JOIN dbos.workflow_status s ON s.workflow_uuid = u.parent_workflow_id
 WHERE u.workflow_uuid = $1 AND u.workflow_uuid = s.workflow_uuid || '-undo' AND u.created_at >= s.created_at
   AND s.status IN ('CANCELLED', 'ERROR')";

/// Joins the run `u` that undoes, or has undone, the run `s`.
pub(super) const JOIN: &str = "
  LEFT JOIN dbos.workflow_status u
         ON u.workflow_uuid = s.workflow_uuid || '-undo' AND starts_with(u.name, 'undo:') AND u.created_at >= s.created_at
            AND u.parent_workflow_id = s.workflow_uuid";

/// The run that undoes another, as people see it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UndoRow {
    /// Its id.
    pub id: String,
    /// Its status.
    pub status: Status,
}

impl UndoRow {
    /// Reads the id and the status of `u`, from this column on. `None`: there is no such run.
    pub(super) fn of(row: &tokio_postgres::Row, column: usize) -> Option<Self> {
        let status = row.get::<_, Option<&str>>(column + 1).and_then(|text| text.parse().ok());
        Some(Self { id: row.get::<_, Option<String>>(column)?, status: status.unwrap_or(Status::Pending) })
    }
}

impl super::Database {
    /// Registers what undoes a step that is about to begin. True: it is durable. False: this host does not own the run.
    ///
    /// # Errors
    /// When the database does not answer. It may be registered; doing it again does no harm.
    pub async fn register_undo(&self, new: &NewUndo<'_>) -> Result<bool, DatabaseError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(REGISTER).await?;
        failpoint::hit("undo.before_intent").await;
        let (run, token) = (new.claim.run().as_str(), new.claim.token());
        let row = client
            .query_one(&statement, &[&run, &token, &new.number.get(), &new.step, &new.undo, &new.arguments])
            .await?;
        failpoint::hit("undo.after_intent").await;
        Ok(row.get(0))
    }

    /// Starts the runs that undo a page of what has failed or was cancelled. When it returns, they are this host's. An empty page:
    /// nothing is left that others have not locked or started.
    ///
    /// # Errors
    /// When the database does not answer. Some may have been started; they are found again as this incarnation's own.
    pub async fn start_undos(
        &self,
        apps: &[AppName],
        (executor, incarnation): (&str, &Incarnation),
        now: EpochMs,
    ) -> Result<Vec<TakenRun>, DatabaseError> {
        let apps: Vec<&str> = apps.iter().map(AppName::as_str).collect();
        let client = self.client().await?;
        let is_there = "SELECT EXISTS (SELECT FROM dbos_host.saga)";
        if !client.query_one(&client.prepare_cached(is_there).await?, &[]).await?.get::<_, bool>(0) {
            return Ok(Vec::new());
        }
        let statement = client.prepare_cached(START).await?;
        failpoint::hit("undo.before_start").await;
        let rows = client.query(&statement, &[&apps, &executor, &incarnation.as_str(), &now.0, &PAGE]).await?;
        if !rows.is_empty() {
            failpoint::hit("undo.after_start").await;
        }
        let started = |row: &tokio_postgres::Row| {
            // Where there is none, somebody has started it before.
            let claim = Claim::new(WorkflowId::stored(row.get::<_, Option<&str>>(0)?), row.get::<_, Option<&str>>(1)?);
            Some(TakenRun { claim, attempts: 0, sleeps_until: None })
        };
        Ok(rows.iter().filter_map(started).collect())
    }

    /// Runs of other workflows that have the ids of runs which are to undo something. A few of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn in_the_way_of_undos(&self) -> Result<Vec<WorkflowId>, DatabaseError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(IN_THE_WAY).await?;
        Ok(client.query(&statement, &[]).await?.iter().map(|row| WorkflowId::stored(row.get(0))).collect())
    }

    /// The run that this one is there to undo. `None`: none, or it goes on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn undone_by(&self, run: &WorkflowId) -> Result<Option<WorkflowId>, DatabaseError> {
        let row = self.client().await?.query_opt(UNDOES, &[&run.as_str()]).await?;
        Ok(row.map(|row| WorkflowId::stored(row.get(0))))
    }

    /// Forgets the sagas of runs that have ended well, or are gone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_sagas(&self) -> Result<(), DatabaseError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(FORGET).await?;
        // What has ended well since the last look is gone before the next one: each look goes through all that is left.
        while client.execute(&statement, &[&FORGOTTEN]).await? >= FORGOTTEN.unsigned_abs() {}
        Ok(())
    }

    /// What the steps of a run have registered, and how each of them has ended.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn registered_undos(&self, run: &WorkflowId) -> Result<Vec<Registered>, DatabaseError> {
        let rows = self.client().await?.query(REGISTERED, &[&run.as_str()]).await?;
        let registered = |row: &tokio_postgres::Row| Registered {
            number: StepNumber::stored(row.get(0)),
            step: row.get(1),
            undo: row.get(2),
            ended: row
                .get::<_, bool>(3)
                .then(|| StepEnded { has_failed: row.get(4), at: EpochMs(row.get::<_, Option<i64>>(5).unwrap_or(0)) }),
        };
        Ok(rows.iter().map(registered).collect())
    }

    /// The arguments of a step that is to be undone, and its result if it has one. One at a time: each may have megabytes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn undone_step(
        &self,
        run: &WorkflowId,
        number: StepNumber,
    ) -> Result<Option<(String, Option<String>)>, DatabaseError> {
        let row = self.client().await?.query_opt(CALLED_WITH, &[&run.as_str(), &number.get()]).await?;
        Ok(row.map(|row| (row.get(0), row.get(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::test_server::TestServer;
    use crate::database::{Database, HowToCancel};

    /// A run that has ended well, with what one of its steps has registered.
    const ENDED_WELL: &str = "
        INSERT INTO dbos.workflow_status (workflow_uuid, status, name, created_at) VALUES ('a', 'SUCCESS', 'w', 5);
        INSERT INTO dbos_host.undo (workflow_uuid, function_id, run_created_at, step, undo, arguments)
            VALUES ('a', 1, 5, 's', 'u', '{}');
        INSERT INTO dbos_host.saga (workflow_uuid, run_created_at) VALUES ('a', 5)";

    async fn sagas(database: &Database) -> i64 {
        let client = database.client().await.unwrap();
        client.query_one("SELECT count(*) FROM dbos_host.saga", &[]).await.unwrap().get(0)
    }

    /// Somebody waits for a lock in this database.
    async fn until_somebody_waits(database: &Database) {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let client = database.client().await.unwrap();
        while client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    }

    /// Somebody brings the run back while the sweep is on its way to forget it.
    #[tokio::test]
    async fn the_saga_of_a_run_that_is_brought_back_is_not_forgotten() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        database.execute_all(ENDED_WELL).await;
        let mut other = database.client().await.unwrap();
        let brings_back = other.transaction().await.unwrap();
        brings_back
            .batch_execute(
                "UPDATE dbos.workflow_status SET status = 'ENQUEUED' WHERE workflow_uuid = 'a';
                 INSERT INTO dbos_host.saga (workflow_uuid, run_created_at) VALUES ('a', 5)
                     ON CONFLICT (workflow_uuid) DO UPDATE SET run_created_at = EXCLUDED.run_created_at",
            )
            .await
            .unwrap();
        let forgets = async {
            database.forget_sagas().await.unwrap();
        };
        // It ends at once, or waits for the other one.
        let mut forgets = std::pin::pin!(forgets);
        let is_over = tokio::select! { () = &mut forgets => true, () = until_somebody_waits(&database) => false };
        brings_back.commit().await.unwrap();
        if !is_over {
            forgets.await;
        }
        assert_eq!(sagas(&database).await, 1, "the run goes on, and may fail");
        // What has ended well without anybody in between is forgotten, and so is what is gone.
        for change in ["UPDATE dbos.workflow_status SET status = 'SUCCESS'", "DELETE FROM dbos.workflow_status"] {
            database.execute_all(change).await;
            database.forget_sagas().await.unwrap();
            assert_eq!(sagas(&database).await, 0, "{change}");
            database.execute_all("INSERT INTO dbos_host.saga (workflow_uuid, run_created_at) VALUES ('a', 5)").await;
        }
    }

    /// A cut and changed run may have another step under the number.
    #[tokio::test]
    async fn what_is_registered_is_not_paired_with_the_record_of_another_step() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        database.execute_all(ENDED_WELL).await;
        let record = "INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output, completed_at_epoch_ms)
                      VALUES ('a', 1, 'another', '7', 9)";
        database.execute_all(record).await;
        let run = WorkflowId::stored("a");
        let found = async || {
            let ended = database.registered_undos(&run).await.unwrap().remove(0).ended;
            let (_, result) = database.undone_step(&run, StepNumber::FIRST).await.unwrap().expect("it is registered");
            (ended, result)
        };
        assert_eq!(found().await, (None, None));
        database.execute_all("UPDATE dbos.operation_outputs SET function_name = 's'").await;
        let ended = StepEnded { has_failed: false, at: EpochMs(9) };
        assert_eq!(found().await, (Some(ended), Some("7".to_owned())));
    }

    /// The first step registers something while the run is cancelled without an undo.
    #[tokio::test]
    async fn a_cancel_without_undo_forgets_what_is_registered_at_that_moment() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        database
            .execute_all(
                "INSERT INTO dbos.workflow_status (workflow_uuid, status, created_at) VALUES ('a', 'PENDING', 5)",
            )
            .await;
        let mut other = database.client().await.unwrap();
        let registers = other.transaction().await.unwrap();
        let statements = "SELECT FROM dbos.workflow_status WHERE workflow_uuid = 'a' FOR NO KEY UPDATE;
                          INSERT INTO dbos_host.saga (workflow_uuid, run_created_at) VALUES ('a', 5)";
        registers.batch_execute(statements).await.unwrap();
        let (runs, how) = ([WorkflowId::stored("a")], HowToCancel { of: None, without_undo: true });
        let mut cancels = std::pin::pin!(database.cancel(&runs, how));
        tokio::select! {
            end = &mut cancels => panic!("it does not wait for the other one: {end:?}"),
            () = until_somebody_waits(&database) => {}
        }
        registers.commit().await.unwrap();
        cancels.await.unwrap();
        assert_eq!(sagas(&database).await, 0);
    }
}

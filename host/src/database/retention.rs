//! Removing runs that have ended, with all that belongs to them.
//!
//! Problem: finished runs pile up for ever unless somebody removes them, and the tables are shared with hosts that work and
//! with SDKs that know nothing of this. So a run goes as a whole or not at all: its row and everything under its id are one
//! transaction, bounded in runs and records, that waits for nobody's lock. The runs are walked in the order of their ends,
//! which has an index, whoever else has rows in it.
//!
//! What must not go is a run that somebody still needs. A run that has not come to its end may wait for another one and ask
//! for its outcome: now, in a replay, or after a resume, for a run that was cancelled or given up goes on from its records.
//! So these stay as long as the one that needs them has no outcome of its own:
//!
//! * its children, by `parent_workflow_id`;
//! * runs that it has a handle of without having started them, because they had the id that it chose for a child, or
//!   because it is a fork: by its records.
//!
//! And a run stays as long as one of its children does that is not to go as well: started anew under the same id, it would
//! find that child under the id of its own, and take an old result for it.
//!
//! What a run only knows from its arguments, nobody can see. An outcome that was asked for is recorded with the one who
//! asked, and needs its run no more.
//!
//! This module must not know why a run is to go: it is given a [`Boundary`].

use tokio_postgres::{Client, Statement};

use super::error::DatabaseError;
use super::lease::lock_key;
use crate::failpoint;
use crate::workflow::AppName;

/// Runs in one transaction. Each has a row or more in six tables, and four triggers that look for what refers to it: 500
/// take some 30 ms, so nobody waits long for what it has locked, and a crash undoes little.
const PAGE: i64 = 500;

/// Records of the runs in one transaction; one run may have more, for it goes as a whole.
const PAGE_RECORDS: i64 = 20_000;

/// Messages that go with one statement. A run may have them by the ten million, and the server must be through with each
/// statement in its time.
const SLICE: i64 = 100_000;

/// What the lock of whoever removes runs is named by: no executor can have this id, whose lock it would take.
const NO_EXECUTOR: &str = "\nretention";

/// A row that is locked is passed over, and the rest waits for nobody; an index that somebody drops is worth no more. A
/// host that is stopped in the middle of a page must not keep the rows of it locked, nor hold vacuum back.
const SETTINGS: &str =
    "SET lock_timeout = '1s'; SET statement_timeout = '60s'; SET plan_cache_mode = force_generic_plan;
    SET idle_in_transaction_session_timeout = '10s';
    SET synchronous_commit = off";

/// A point in the order in which runs have ended: by time, and by id at the same millisecond.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EndOrder {
    /// `completed_at`.
    ended_at: i64,
    /// The run; empty: before every run that ended then.
    run: String,
}

/// Which runs of an app may go: those that ended at this point or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// The app.
    pub app: AppName,
    /// The last end that may go.
    pub last: EndOrder,
}

/// What became of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedPage {
    /// The apps of the runs that are gone, with their numbers.
    pub removed: Vec<(String, u64)>,
    /// The apps of the runs that would have gone if nobody needed them.
    pub needed: Vec<(String, u64)>,
    /// Where the next page begins.
    pub after: EndOrder,
}

/// A connection for removing runs (lifetime: one sweep).
#[derive(Debug)]
pub struct Remover {
    client: Client,
    page: Statement,
    /// Runs that somebody who did not start them has a handle of.
    held: Vec<String>,
}

// Every writer of an end at migration 125, this host and DBOS's clients, sets `completed_at`, and a resume takes it away. A row
// of an older SDK that has none is no row of this host, and stays.
//
// The page is cut from what was looked at, whosever that is: with a million runs of an app that keeps all of them, each
// statement still looks at 500 rows. `OFFSET 0` keeps the planner from joining first. Ids are compared by their bytes, as
// this program compares them, and not by the database's language.
//
// What is held is compared as a subquery, which the server hashes; each row would be compared with each text of an array.
//
// `needed` is asked with the row of the parent as it is now. A parent that has an outcome never runs again, so what is not
// needed now is not needed later; a parent that is resumed at this very moment was not SUCCESS or ERROR before either.
const LOOK: &str = r#"
WITH bound AS (
    SELECT * FROM unnest($1::text[], $2::int8[], $3::text[]) AS b(app, ended_at, run)
), scanned AS (
    SELECT s.workflow_uuid, s.completed_at, s.application_name, s.status, s.parent_workflow_id, s.name
      FROM dbos.workflow_status s
     WHERE s.completed_at >= $4 AND (s.completed_at, s.workflow_uuid COLLATE "C") > ($4, $5)
       AND s.completed_at <= (SELECT max(ended_at) FROM bound)
     ORDER BY s.completed_at, s.workflow_uuid COLLATE "C"
     LIMIT $6 OFFSET 0
), candidate AS (
    SELECT c.workflow_uuid, c.completed_at, c.application_name,
           c.workflow_uuid IN (SELECT unnest($8::text[])) OR EXISTS (
               SELECT FROM dbos.workflow_status p
                WHERE p.workflow_uuid = c.parent_workflow_id AND coalesce(p.status, '') NOT IN ('SUCCESS', 'ERROR')
           ) OR EXISTS (
               SELECT FROM dbos.workflow_status k
                WHERE k.parent_workflow_id = c.workflow_uuid
                  AND ((k.completed_at, k.workflow_uuid COLLATE "C") <= (b.ended_at, b.run)) IS NOT TRUE
           ) OR (c.status <> 'SUCCESS' AND EXISTS (
               SELECT FROM dbos_host.saga g WHERE g.workflow_uuid = c.workflow_uuid
           )) OR (starts_with(coalesce(c.name, ''), 'undo:') AND EXISTS (
               SELECT FROM dbos.workflow_status p WHERE p.workflow_uuid = c.parent_workflow_id
           )) AS is_needed,
           coalesce((SELECT max(o.function_id) FROM dbos.operation_outputs o
                      WHERE o.workflow_uuid = c.workflow_uuid), 0) AS records
      FROM scanned c JOIN bound b ON b.app = c.application_name
     WHERE (c.completed_at, c.workflow_uuid COLLATE "C") <= (b.ended_at, b.run)
       AND c.status IN ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
), counted AS (
    SELECT c.*, sum(CASE WHEN is_needed THEN 0 ELSE records END) OVER ends AS total, row_number() OVER ends AS number
      FROM candidate c
    WINDOW ends AS (ORDER BY completed_at, workflow_uuid COLLATE "C" ROWS UNBOUNDED PRECEDING)
), page AS (
    SELECT * FROM counted WHERE number = 1 OR total <= $7
)
SELECT p.workflow_uuid, p.application_name, p.is_needed, p.completed_at FROM page p
UNION ALL
-- The last row that was looked at, if nothing was cut off: where the next page begins.
(SELECT s.workflow_uuid, NULL, NULL, s.completed_at FROM scanned s
  WHERE (SELECT count(*) FROM page) = (SELECT count(*) FROM counted)
  ORDER BY s.completed_at DESC, s.workflow_uuid COLLATE "C" DESC LIMIT 1)"#;

// Under the lock the row is looked at again: whoever has resumed the run in the meantime has made it another's, also if it
// has ended again since.
const LOCK: &str = "
SELECT workflow_uuid, application_name FROM dbos.workflow_status
 WHERE workflow_uuid = ANY ($1) AND completed_at <= $2
   AND status IN ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
   FOR UPDATE SKIP LOCKED";

/// Messages of the runs, so many of them. They would go with the run's row, all at once. As places in the table, which nobody
/// moves while the runs are locked: they have ended, so nobody takes any.
const REMOVE_MESSAGES: &str = "
DELETE FROM dbos.notifications WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM dbos.notifications WHERE destination_uuid = ANY ($1) LIMIT $2))";

/// What has rows under a run's id, and no foreign key that would remove them; the run's own row takes events and streams with
/// it.
const REMOVE: [&str; 10] = [
    "DELETE FROM dbos.workflow_status WHERE workflow_uuid = ANY ($1)",
    "DELETE FROM dbos.workflow_input WHERE workflow_uuid = ANY ($1)",
    "DELETE FROM dbos.workflow_output WHERE workflow_uuid = ANY ($1)",
    "DELETE FROM dbos.operation_outputs WHERE workflow_uuid = ANY ($1)",
    "DELETE FROM dbos_host.operation_digest WHERE workflow_uuid = ANY ($1)",
    "DELETE FROM dbos_host.attempt WHERE workflow_uuid = ANY ($1)",
    "DELETE FROM dbos_host.undo WHERE workflow_uuid = ANY ($1)",
    "DELETE FROM dbos_host.saga WHERE workflow_uuid = ANY ($1)",
    "DELETE FROM dbos_host.origin WHERE workflow_uuid = ANY ($1)",
    "DELETE FROM dbos_host.waiting WHERE workflow_uuid = ANY ($1)",
];

// Not asked for each page, since it walks over the records of every run that may go on. The three halves are three indexes.
// `OFFSET 0` as above. Runs that have not ended are told too: they may end before the next look.
const HELD: &str = "
SELECT DISTINCT o.child_workflow_id
  FROM (SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'PENDING'
        UNION ALL SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'ENQUEUED'
        UNION ALL SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'DELAYED'
        UNION ALL SELECT workflow_uuid FROM dbos.workflow_status
                   WHERE status IN ('CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')) s
 CROSS JOIN LATERAL (
      SELECT child_workflow_id FROM dbos.operation_outputs
       WHERE workflow_uuid = s.workflow_uuid AND child_workflow_id IS NOT NULL OFFSET 0) o
  JOIN dbos.workflow_status c ON c.workflow_uuid = o.child_workflow_id
 WHERE c.parent_workflow_id IS DISTINCT FROM s.workflow_uuid";

// The age counts by the database's clock, which wrote the ends. `$3` is the run behind the newest that are kept.
const BOUNDARY: &str = r#"
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8 - $2::int8, '' WHERE $2::int8 IS NOT NULL
UNION ALL
(SELECT completed_at, workflow_uuid FROM dbos.workflow_status
  WHERE completed_at IS NOT NULL AND application_name = $1 AND $3::int8 IS NOT NULL
  ORDER BY completed_at DESC, workflow_uuid COLLATE "C" DESC
  LIMIT 1 OFFSET coalesce($3, 0))"#;

impl Remover {
    /// Connects.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(database: &super::Database) -> Result<Self, DatabaseError> {
        let client = database.own_client().await?;
        client.batch_execute(SETTINGS).await?;
        let page = client.prepare(LOOK).await?;
        Ok(Self { client, page, held: Vec::new() })
    }

    /// Tries to become the one who removes runs in this database, for as long as this connection lasts. False: another
    /// host is. Two at once would do no harm, and twice the work.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn try_lock(&self) -> Result<bool, DatabaseError> {
        let key = lock_key(&super::lease::secret(&self.client).await?, NO_EXECUTOR);
        Ok(self.client.query_one("SELECT pg_try_advisory_lock($1)", &[&key]).await?.get(0))
    }

    /// The boundary of an app: runs that ended longer than `age_ms` ago may go, and those behind the `count` newest. `None`:
    /// none may.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn boundary(
        &self,
        app: &AppName,
        age_ms: Option<i64>,
        count: Option<i64>,
    ) -> Result<Option<Boundary>, DatabaseError> {
        let rows = self.client.query(BOUNDARY, &[&app.as_str(), &age_ms, &count]).await?;
        let last = rows.iter().map(|row| EndOrder { ended_at: row.get(0), run: row.get(1) }).max();
        Ok(last.map(|last| Boundary { app: app.clone(), last }))
    }

    /// Finds out what runs hold that have not started it. To be called before the first page of a sweep, and again every now
    /// and then: a run gets a handle of an old one by starting a child under its id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn look_at_held(&mut self) -> Result<(), DatabaseError> {
        let rows = self.client.query(HELD, &[]).await?;
        self.held = rows.iter().map(|row| row.get(0)).collect();
        Ok(())
    }

    /// Removes the next page of what may go, behind `after`; or only says what it would remove. `None`: there is no more.
    ///
    /// When it returns, the runs of the page are gone with everything that belonged to them. If it does not, they are
    /// gone, or all of each is there.
    ///
    /// # Errors
    /// When the database does not answer, or something else has gone wrong; doing it again does no harm.
    pub async fn remove_page(
        &mut self,
        boundaries: &[Boundary],
        after: &EndOrder,
        dry_run: bool,
    ) -> Result<Option<RemovedPage>, DatabaseError> {
        let apps: Vec<&str> = boundaries.iter().map(|boundary| boundary.app.as_str()).collect();
        let ended_at: Vec<i64> = boundaries.iter().map(|boundary| boundary.last.ended_at).collect();
        let runs: Vec<&str> = boundaries.iter().map(|boundary| boundary.last.run.as_str()).collect();
        let rows = self
            .client
            .query(
                &self.page,
                &[&apps, &ended_at, &runs, &after.ended_at, &after.run, &PAGE, &PAGE_RECORDS, &self.held],
            )
            .await?;
        let (mut going, mut needed, mut after) = (Vec::new(), Vec::new(), None);
        for row in &rows {
            let (run, app): (String, Option<String>) = (row.get(0), row.get(1));
            after = after.max(Some(EndOrder { ended_at: row.get(3), run: run.clone() }));
            match (app, row.get::<_, Option<bool>>(2)) {
                (Some(app), Some(true)) => needed.push(app),
                (Some(app), _) => going.push((run, app)),
                (None, _) => {}
            }
        }
        let Some(after) = after else { return Ok(None) };
        let removed: Vec<String> = if dry_run {
            going.into_iter().map(|(_, app)| app).collect()
        } else {
            self.remove(&going, after.ended_at).await?
        };
        Ok(Some(RemovedPage { removed: tally(removed), needed: tally(needed), after }))
    }

    /// Removes those of these runs that ended at `last` at the latest, in one transaction, and returns the apps of those that
    /// it has removed.
    async fn remove(&mut self, going: &[(String, String)], last: i64) -> Result<Vec<String>, DatabaseError> {
        if going.is_empty() {
            return Ok(Vec::new());
        }
        let runs: Vec<&str> = going.iter().map(|(run, _)| run.as_str()).collect();
        failpoint::hit("retention.before_page").await;
        let transaction = self.client.transaction().await?;
        let locked = transaction.query(LOCK, &[&runs, &last]).await?;
        let runs: Vec<&str> = locked.iter().map(|row| row.get(0)).collect();
        while transaction.execute(REMOVE_MESSAGES, &[&runs, &SLICE]).await? == SLICE.unsigned_abs() {}
        for statement in REMOVE {
            transaction.execute(statement, &[&runs]).await?;
        }
        failpoint::hit("retention.before_commit").await;
        transaction.commit().await?;
        failpoint::hit("retention.after_page").await;
        Ok(locked.iter().map(|row| row.get::<_, Option<String>>(1).unwrap_or_default()).collect())
    }
}

/// How often each name stands there.
fn tally(mut names: Vec<String>) -> Vec<(String, u64)> {
    names.sort_unstable();
    let mut tally: Vec<(String, u64)> = Vec::new();
    for name in names {
        match tally.last_mut() {
            Some((known, count)) if *known == name => *count += 1,
            _ => tally.push((name, 1)),
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::test_server::TestServer;

    /// A run with more messages than one statement removes, which another program's trigger counts.
    const MANY_MESSAGES: &str = "
        INSERT INTO dbos.workflow_status (workflow_uuid, status, application_name, completed_at) VALUES ('a', 'SUCCESS', 'shop', 1);
        ALTER TABLE dbos.notifications DISABLE TRIGGER USER;
        INSERT INTO dbos.notifications (destination_uuid, topic, message) SELECT 'a', 't', '1' FROM generate_series(1, 100001);
        CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM gone) > 100000 THEN RAISE 'too many'; END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER counted AFTER DELETE ON dbos.notifications REFERENCING OLD TABLE AS gone
            FOR EACH STATEMENT EXECUTE FUNCTION counted()";

    #[tokio::test]
    async fn messages_go_in_slices() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        database.execute_all(MANY_MESSAGES).await;
        let mut remover = Remover::open(&database).await.unwrap();
        let app = AppName::parse("shop").unwrap();
        let boundary = Boundary { app, last: EndOrder { ended_at: 2, run: String::new() } };
        let page = remover.remove_page(&[boundary], &EndOrder::default(), false).await.unwrap().expect("a page");
        assert_eq!(page.removed, [("shop".to_owned(), 1)]);
        let client = database.client().await.unwrap();
        let left = client.query_one("SELECT count(*) FROM dbos.notifications", &[]).await.unwrap();
        assert_eq!(left.get::<_, i64>(0), 0);
    }

    /// A run that was undone and is needed by its parent, which goes on.
    const UNDONE: &str = "
        INSERT INTO dbos.workflow_status (workflow_uuid, status, name, application_name, parent_workflow_id, completed_at) VALUES
            ('p', 'PENDING', 'w', 'shop', NULL, NULL), ('a', 'ERROR', 'w', 'shop', 'p', 1),
            ('a-undo', 'SUCCESS', 'undo:w', 'shop', 'a', 2)";

    #[tokio::test]
    async fn what_has_undone_a_run_stays_as_long_as_the_run() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        database.execute_all(UNDONE).await;
        let mut remover = Remover::open(&database).await.unwrap();
        let app = AppName::parse("shop").unwrap();
        let boundary = [Boundary { app, last: EndOrder { ended_at: 3, run: String::new() } }];
        let left = async || {
            let client = database.client().await.unwrap();
            let rows = client.query("SELECT workflow_uuid FROM dbos.workflow_status ORDER BY 1", &[]).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect::<Vec<String>>()
        };
        remover.remove_page(&boundary, &EndOrder::default(), false).await.unwrap();
        assert_eq!(left().await, ["a", "a-undo", "p"], "or it would be undone twice");
        database
            .execute_all(
                "UPDATE dbos.workflow_status SET status = 'SUCCESS', completed_at = 4 WHERE workflow_uuid = 'p'",
            )
            .await;
        remover.remove_page(&boundary, &EndOrder::default(), false).await.unwrap();
        assert_eq!(left().await, ["a-undo", "p"], "it does not go with the run");
        remover.remove_page(&boundary, &EndOrder::default(), false).await.unwrap();
        assert_eq!(left().await, ["p"]);
    }

    #[test]
    fn names_are_counted() {
        let names = ["b", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(tally(names), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    }

    #[test]
    fn ends_are_ordered_by_time_then_by_run() {
        let end = |ended_at, run: &str| EndOrder { ended_at, run: run.into() };
        assert!(end(1, "b") < end(2, "") && end(2, "") < end(2, "a") && end(2, "a") < end(2, "b"));
    }
}

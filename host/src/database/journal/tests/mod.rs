//! What a commit of many entries must keep of the promises of each, with a real Postgres.

mod effects;
mod messages;
mod order;

use std::num::NonZeroU32;
use std::time::Duration;

use super::session::Session;
use super::*;
use crate::database::claim::Incarnation;
use crate::database::lease::{LeaseConnection, Renewal};
use crate::database::progress::Keys;
use crate::database::record::Effect;
use crate::database::test_server::TestServer;
use crate::workflow::{
    AppName, Arguments, ComponentDigest, EpochMs, OperationDigest, RecordedResult, StepNumber, WorkflowId,
};

/// A database of its own, with an executor.
struct Place {
    database: Database,
    incarnation: Incarnation,
    lease: LeaseConnection,
    name: String,
}

impl Place {
    async fn new() -> Self {
        let (database, incarnation, lease) = TestServer::fresh_executor().await;
        let name = database.url().database().to_owned();
        Self { database, incarnation, lease, name }
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.database, NonZeroU32::MIN, &mpsc::channel(1).0)
    }

    fn run(&self, id: &str) -> NewRun {
        let arguments = Arguments::from_json(serde_json::json!({ "a": 1 })).unwrap();
        let app = AppName::parse("shop").unwrap();
        let version = ComponentDigest::of(b"");
        NewRun::new(WorkflowId::stored(id), &self.incarnation, "e", (&app, &version), ("buy", arguments, EpochMs(1)))
    }

    /// Starts runs and returns them.
    async fn started(&self, journal: &Journal, ids: &[String]) -> Vec<NewRun> {
        let runs: Vec<NewRun> = ids.iter().map(|id| self.run(id)).collect();
        let entries = runs.iter().map(|run| Entry::Start(Box::new(run.clone()))).collect();
        assert!(all(journal, entries).await.iter().all(|landed| *landed == Landed::Written));
        runs
    }

    /// Waits until `query`, about the whole server, is true: asked from another database, and seen anew each time.
    async fn until(&self, query: &str) {
        let client = TestServer::shared().connect().await;
        let is_true = async || client.query_one(query, &[&self.name]).await.unwrap().get::<_, bool>(0);
        let seen = async {
            while !is_true().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.expect("it comes to be true");
    }

    /// Waits until a session of this database waits for a lock.
    async fn until_a_lock_is_waited_for(&self) {
        self.until("SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'").await;
    }

    async fn execute(&self, sql: &str) {
        self.database.client().await.unwrap().batch_execute(sql).await.unwrap();
    }

    async fn count(&self, query: &str) -> i64 {
        self.database.client().await.unwrap().query_one(query, &[]).await.unwrap().get(0)
    }
}

fn record(run: &NewRun, output: &str) -> NewRecord {
    NewRecord {
        claim: run.claim().clone(),
        app: run.app.clone(),
        step: StepNumber::stored(1),
        name: "pay".into(),
        digest: Some(OperationDigest([7; 8])),
        result: RecordedResult::Output(output.into()),
        child: None,
        started_at: EpochMs(1),
        completed_at: EpochMs(2),
        effect: None,
    }
}

fn recorded(run: &NewRun, output: &str) -> Entry {
    Entry::Record(Box::new(record(run, output)))
}

fn finished(run: &NewRun) -> Entry {
    Entry::Finish(Box::new(Finish { claim: run.claim().clone(), outcome: FinalOutcome::Success("1".into()) }))
}

/// Hands in all entries before the journal gets to write any, as long as a test has one thread.
async fn all(journal: &Journal, entries: Vec<Entry>) -> Vec<Landed> {
    let mut tickets = Vec::new();
    for entry in entries {
        tickets.push(journal.append(entry).await.unwrap());
    }
    let mut landed = Vec::new();
    for ticket in tickets {
        landed.push(ticket.durable().await.unwrap());
    }
    landed
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("run-{n}")).collect()
}

#[tokio::test]
async fn what_comes_at_once_shares_a_few_commits() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(300)).await;
    assert_eq!(place.count("SELECT count(*) FROM dbos.workflow_status WHERE status = 'PENDING'").await, 300);
    let landed = all(&journal, runs.iter().map(|run| recorded(run, "1")).collect()).await;
    assert!(landed.iter().all(|landed| *landed == Landed::Written));
    assert_eq!(place.count("SELECT count(*) FROM dbos_host.operation_digest").await, 300);
    let commits = place.count("SELECT count(DISTINCT xmin::text) FROM dbos.operation_outputs").await;
    assert!(commits < 10, "300 records came in {commits} commits");
    let landed = all(&journal, runs.iter().map(finished).collect()).await;
    assert!(landed.iter().all(|landed| *landed == Landed::Written));
    assert_eq!(place.count("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'").await, 300);
    assert_eq!(place.count("SELECT count(*) FROM dbos.workflow_output WHERE output = '1'").await, 300);
}

#[tokio::test]
async fn each_entry_of_a_commit_has_a_fate_of_its_own() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(6)).await;
    assert_eq!(all(&journal, vec![recorded(&runs[1], "1")]).await, [Landed::Written]);
    let lost = place.run("run-2");
    let mut child = place.run("child");
    child.parent = Some(NewRecord { child: Some(WorkflowId::stored("child")), ..record(&runs[3], "null") });
    // A child under an id that exists: the parent's record is written, and the child is told to be there.
    let mut namesake = place.run("run-5");
    namesake.parent = Some(record(&runs[4], "null"));
    let mut late = place.run("late");
    late.executor = "somebody else".into();
    let landed = all(
        &journal,
        vec![
            recorded(&runs[0], "1"),
            recorded(&runs[1], "2"),
            recorded(&lost, "1"),
            Entry::Start(Box::new(child)),
            Entry::Start(Box::new(namesake)),
            Entry::Start(Box::new(place.run("run-5"))),
            Entry::Start(Box::new(place.run("new"))),
            Entry::Start(Box::new(late)),
        ],
    )
    .await;
    assert!(matches!(landed[4], Landed::Refused(_)), "{landed:?}");
    let mut others = landed.clone();
    others.remove(4);
    use Landed::{Exists, NotOwner, Written};
    assert_eq!(others, [Written, Exists, NotOwner, Written, Exists, Written, NotOwner]);
    let unchanged = "SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid = 'run-1' AND output = '1'";
    assert_eq!(place.count(unchanged).await, 1, "the first record wins");
    let of_parents = "SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid IN ('run-3', 'run-4')";
    assert_eq!(place.count(of_parents).await, 2);
    assert_eq!(place.count("SELECT count(*) FROM dbos.workflow_status WHERE workflow_uuid = 'late'").await, 0);
}

/// What other clients leave that delete a run without knowing every table, or while this host writes a record.
const LEFT: &str = "
    INSERT INTO dbos_host.operation_digest SELECT run, step, '\\x0000000000000000' FROM
        (VALUES ('run-7'), ('child'), ('carried')) AS r (run), generate_series(1, 3) step;
    INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output) SELECT run, step, 'pay', '\"old\"'
        FROM (VALUES ('run-7'), ('child'), ('carried')) AS r (run), generate_series(1, 3) step";

#[tokio::test]
async fn what_a_deleted_run_has_left_behind_is_replaced() {
    let place = Place::new().await;
    let journal = place.journal();
    place.execute(LEFT).await;
    let runs = place.started(&journal, &ids(20)).await;
    let mut child = place.run("child");
    child.parent = Some(NewRecord { step: StepNumber::stored(2), ..record(&runs[0], "null") });
    assert_eq!(all(&journal, vec![Entry::Start(Box::new(child))]).await, [Landed::Written]);
    // A transaction that carries the start of a run which goes on.
    let carried = place.run("carried");
    let (owner, incarnation) = (carried.claim().token().to_owned(), carried.incarnation().as_str().to_owned());
    let client = place.database.client().await.unwrap();
    let end = "SELECT dbos_host.end_transaction('carried', $1, 'shop', 1, 'pay', '1', 1, 2, '\\x0707070707070707', 'buy', 'e', $2, \
               'v', '{}', 1, NULL, NULL, NULL, NULL)";
    client.query(end, &[&owner, &incarnation]).await.unwrap();
    let landed = all(&journal, runs.iter().map(|run| recorded(run, "1")).collect()).await;
    assert!(landed.iter().all(|landed| *landed == Landed::Written), "{landed:?}");
    let right = "SELECT count(*) FROM dbos_host.operation_digest WHERE digest = '\\x0707070707070707'";
    assert_eq!(place.count(right).await, 22);
    assert_eq!(place.count("SELECT count(*) FROM dbos_host.operation_digest").await, 22);
    assert_eq!(place.count("SELECT count(*) FROM dbos.operation_outputs WHERE output = '\"old\"'").await, 0);
}

#[tokio::test]
async fn an_entry_that_cannot_be_stored_costs_only_itself() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(20)).await;
    let entries = runs.iter().enumerate();
    let mut entries: Vec<_> = entries.map(|(n, run)| recorded(run, if n == 7 { "\"\0\"" } else { "1" })).collect();
    // With others of each kind in its commit.
    let mut child = place.run("child");
    let parents = place.started(&journal, &["parent".into()]).await;
    child.parent = Some(NewRecord { child: Some(WorkflowId::stored("child")), ..record(&parents[0], "null") });
    entries.extend([Entry::Start(Box::new(place.run("new"))), Entry::Start(Box::new(child))]);
    let landed = all(&journal, entries).await;
    for (n, landed) in landed.iter().enumerate() {
        assert_eq!(matches!(landed, Landed::Refused(_)), n == 7, "{n}: {landed:?}");
    }
    assert_eq!(place.count("SELECT count(*) FROM dbos.operation_outputs").await, 20);
}

/// As if it made the server read more than it can in the time that a statement has.
#[tokio::test]
async fn an_entry_that_takes_the_server_too_long_holds_up_its_own_run_only() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(20)).await;
    place
        .execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.workflow_uuid = 'run-7' THEN
                     RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = '57014';
                 END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER slow BEFORE INSERT ON dbos.operation_outputs FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await;
    let stuck = journal.append(recorded(&runs[7], "1")).await.unwrap();
    let others = runs.iter().filter(|run| run.claim().run().as_str() != "run-7");
    let landed = all(&journal, others.flat_map(|run| [recorded(run, "1"), finished(run)]).collect());
    let landed = tokio::time::timeout(Duration::from_secs(30), landed).await.expect("they wait for nobody");
    assert!(landed.iter().all(|landed| *landed == Landed::Written), "{landed:?}");
    place.execute("DROP TRIGGER slow ON dbos.operation_outputs").await;
    assert_eq!(stuck.durable().await, Ok(Landed::Written));
}

#[tokio::test]
async fn a_run_that_somebody_has_locked_does_not_keep_the_lease_from_being_renewed() {
    let mut place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(1)).await;
    let other = place.database.own_client().await.unwrap();
    other.batch_execute("BEGIN; SELECT 1 FROM dbos.workflow_status FOR UPDATE").await.unwrap();
    let start = journal.append(Entry::Start(Box::new(place.run("new")))).await.unwrap();
    let record = journal.append(recorded(&runs[0], "1")).await.unwrap();
    place.until_a_lock_is_waited_for().await;
    let renewal = tokio::time::timeout(Duration::from_secs(10), place.lease.renew()).await;
    assert!(matches!(renewal.expect("the renewal waits for nobody"), Ok(Renewal::Until(_))));
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(start.durable().await, Ok(Landed::Written));
    assert_eq!(record.durable().await, Ok(Landed::Written));
}

#[tokio::test]
async fn what_is_wrong_with_a_session_does_not_outlast_it() {
    let place = Place::new().await;
    let server = TestServer::shared().connect().await;
    server
        .batch_execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", place.name))
        .await
        .unwrap();
    let journal = place.journal();
    let start = journal.append(Entry::Start(Box::new(place.run("a")))).await.unwrap();
    place.until("SELECT xact_rollback > 0 FROM pg_stat_database WHERE datname = $1").await;
    server.batch_execute(&format!("ALTER DATABASE {} RESET default_transaction_read_only", place.name)).await.unwrap();
    let landed = tokio::time::timeout(Duration::from_secs(30), start.durable()).await;
    assert_eq!(landed.expect("the database can be written to again"), Ok(Landed::Written));
}

#[tokio::test]
async fn statements_that_do_not_fit_the_tables_any_more_are_prepared_again() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(2)).await;
    assert_eq!(all(&journal, vec![recorded(&runs[0], "1")]).await, [Landed::Written]);
    place.execute("ALTER TABLE dbos.workflow_status ALTER owner_xid TYPE varchar(200)").await;
    place.execute("ALTER TABLE dbos.operation_outputs ALTER workflow_uuid TYPE varchar(200)").await;
    let landed = tokio::time::timeout(Duration::from_secs(30), all(&journal, vec![recorded(&runs[1], "1")])).await;
    assert_eq!(landed.expect("the tables still have what the statements need"), [Landed::Written]);
}

#[tokio::test]
async fn a_statement_alone_is_read_committed_whatever_the_database_has_as_its_default() {
    let place = Place::new().await;
    let server = TestServer::shared().connect().await;
    let serializable = "SET default_transaction_isolation = 'serializable'";
    server.batch_execute(&format!("ALTER DATABASE {} {serializable}", place.name)).await.unwrap();
    let journal = place.journal();
    let runs = place.started(&journal, &ids(1)).await;
    let other = place.database.own_client().await.unwrap();
    let lock = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT 1 FROM dbos.workflow_status FOR UPDATE";
    other.batch_execute(lock).await.unwrap();
    let record = journal.append(recorded(&runs[0], "1")).await.unwrap();
    place.until_a_lock_is_waited_for().await;
    let locks = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                  WHERE l.mode = 'SIReadLock' AND a.datname = current_database() AND a.wait_event_type = 'Lock'";
    assert_eq!(place.count(locks).await, 0);
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(record.durable().await, Ok(Landed::Written));
}

/// What the server plans for each of the session's statements that lock runs, with the statement's text.
async fn plans(session: &Session) -> Vec<String> {
    let those = "SELECT name, cardinality(parameter_types), statement FROM pg_prepared_statements
                  WHERE statement LIKE '%FOR NO KEY UPDATE%' AND cardinality(parameter_types) > 0";
    let mut plans = Vec::new();
    for row in session.client.query(those, &[]).await.unwrap() {
        let (name, parameters, text): (String, i32, String) = (row.get(0), row.get(1), row.get(2));
        let parameters = vec!["NULL"; usize::try_from(parameters).unwrap()].join(",");
        let rows = session.client.query(&format!("EXPLAIN EXECUTE {name}({parameters})"), &[]).await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        plans.push(format!("{text}\n{}", lines.join("\n")));
    }
    plans
}

#[tokio::test]
async fn an_entry_costs_as_much_in_a_large_database_as_in_a_small_one() {
    let place = Place::new().await;
    let runs = place.started(&place.journal(), &ids(1)).await;
    place.execute("ALTER TABLE dbos.workflow_status SET (autovacuum_enabled = off); ANALYZE").await;
    let mut session = Session::open(&place.database).await.unwrap();
    // Children; records with keys that are new or may be there or of runs that begin here, with outcomes and without, with
    // effects and without.
    session.progress.prepare_effects(&session.client).await.unwrap();
    assert_eq!(plans(&session).await.len(), 13);
    for plan in plans(&session).await {
        assert!(plan.contains("Seq Scan on workflow_status"), "one page is best read from end to end: {plan}");
    }
    // Now every run sleeps, which the statistics do not know: an index of what is PENDING looks small, and is not.
    place
        .execute(
            "INSERT INTO dbos.workflow_status (workflow_uuid, status, owner_xid)
                 SELECT 'sleeper-' || n, 'SUCCESS', n FROM generate_series(1, 50000) n;
             UPDATE dbos.workflow_status SET status = 'SUCCESS';
             ANALYZE dbos.workflow_status;
             UPDATE dbos.workflow_status SET status = 'PENDING'",
        )
        .await;
    session.planned_at = session.planned_at.checked_sub(Duration::from_secs(2)).expect("the machine is up for longer");
    assert_eq!(
        session.commit(&[recorded(&runs[0], "1").pending()], Keys::New, &Order::default()).await.unwrap(),
        [Landed::Written]
    );
    for plan in plans(&session).await {
        assert!(plan.contains("Index Cond: (workflow_uuid = ANY"), "{plan}");
        assert!(!plan.contains("Seq Scan on workflow_status") && !plan.contains("status_pending"), "{plan}");
        assert!(!plan.contains("Join Filter: (fence"), "each outcome is compared with each: {plan}");
    }
}

#[tokio::test]
async fn a_row_that_somebody_has_locked_holds_up_its_own_run_only() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(20)).await;
    let somebody = place.database.own_client().await.unwrap();
    somebody
        .batch_execute("BEGIN; SELECT FROM dbos.workflow_status WHERE workflow_uuid = 'run-0' FOR UPDATE")
        .await
        .unwrap();
    let stuck = journal.append(recorded(&runs[0], "1")).await.unwrap();
    let behind = journal.append_behind(finished(&runs[0]), Some(&stuck)).await.unwrap();
    let landed = all(&journal, runs[1..].iter().map(|run| recorded(run, "1")).collect()).await;
    assert!(landed.iter().all(|landed| *landed == Landed::Written), "{landed:?}");
    let landed = all(&journal, runs[1..].iter().map(finished).collect()).await;
    assert!(landed.iter().all(|landed| *landed == Landed::Written), "{landed:?}");
    assert_eq!(place.count("SELECT count(*) FROM dbos.workflow_status WHERE status = 'PENDING'").await, 1);
    somebody.batch_execute("COMMIT").await.unwrap();
    assert_eq!(stuck.durable().await, Ok(Landed::Written));
    assert_eq!(behind.durable().await, Ok(Landed::Written));
    assert_eq!(place.count("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'").await, 20);
}

#[tokio::test]
async fn an_outcome_that_comes_while_its_record_waits_for_a_lock_is_not_written_before_it() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(1)).await;
    let somebody = place.database.own_client().await.unwrap();
    somebody.batch_execute("BEGIN; SELECT FROM dbos.workflow_status FOR UPDATE").await.unwrap();
    let stuck = journal.append(recorded(&runs[0], "1")).await.unwrap();
    // The record's commit is under way, so that the outcome is in none with it.
    place.until_a_lock_is_waited_for().await;
    let behind = journal.append_behind(finished(&runs[0]), Some(&stuck)).await.unwrap();
    // Longer than a lock is waited for, and than the first pause.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    somebody.batch_execute("COMMIT").await.unwrap();
    assert_eq!(stuck.durable().await, Ok(Landed::Written));
    assert_eq!(behind.durable().await, Ok(Landed::Written));
    assert_eq!(place.count("SELECT count(*) FROM dbos.operation_outputs").await, 1);
}

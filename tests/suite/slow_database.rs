//! A database that takes half a second for each commit makes everything slow, and nothing wrong: commits carry more, nobody
//! runs out of patience, and no run is begun anew because of it.

use std::time::Duration;

use dbos_host_tests::{Database, HostBuilder, Request, TestPostgres};
use futures_util::future::join_all;
use serde_json::json;

/// Each transaction that writes one of these tables takes half a second for its COMMIT, however many rows it has.
const SLOW: &str = "
CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('test.slow', true) IS DISTINCT FROM pg_current_xact_id()::text THEN
        PERFORM set_config('test.slow', pg_current_xact_id()::text, true), pg_sleep(0.5);
    END IF;
    RETURN NULL;
END $$";

const TABLES: [&str; 3] = ["dbos.workflow_status", "dbos.operation_outputs", "dbos_host.executor"];

async fn slow_down(database: &Database) {
    database.execute(SLOW).await;
    for table in TABLES {
        let trigger =
            "AFTER INSERT OR UPDATE ON {} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.slow()";
        database.execute(&format!("CREATE CONSTRAINT TRIGGER slow {}", trigger.replace("{}", table))).await;
    }
}

/// How many transactions wrote the rows of a table.
async fn commits(database: &Database, table: &str) -> i64 {
    database.count(&format!("SELECT count(DISTINCT xmin::text) FROM {table}"), &[]).await
}

#[tokio::test]
async fn half_a_second_for_each_commit_makes_commits_larger_and_nothing_wrong() {
    const STEPS: usize = 300;
    const ROWS: usize = 40;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("workloads").database(&database).migrations("tests/guests/workloads/migrations");
    builder.migrate().await;
    slow_down(&database).await;
    // Renewed every second, while the journal's commits lock its row.
    let host = builder.executor("slow").lease(Duration::from_secs(3)).start().await;
    let incarnation = "SELECT incarnation FROM dbos_host.executor WHERE executor_id = 'slow'";
    let before: String = database.query(incarnation, &[]).await[0].get(0);

    let run = |workflow: &str| Request::post(host.url(&format!("/workflows/{workflow}")), &json!({})).send();
    let all = (0..STEPS).map(|_| run("one_step")).chain((0..ROWS).map(|_| run("one_row")));
    for reply in join_all(all).await {
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.json()), (200, json!(1)), "{reply:?}");
    }

    let count = async |sql: &str| database.count(sql, &[]).await;
    let once = i64::try_from(STEPS + ROWS).unwrap();
    let well = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS' AND recovery_attempts = 1";
    assert_eq!(count(well).await, once, "every run has one attempt");
    assert_eq!(count("SELECT count(*) FROM dbos.workflow_status").await, once);
    assert_eq!(count("SELECT count(*) FROM dbos.operation_outputs").await, once, "every run has one record");
    assert_eq!(count("SELECT count(*) FROM bench_rows").await, i64::try_from(ROWS).unwrap());
    // Starts; then records with outcomes. A transaction has a commit of its own.
    let (starts, records) =
        (commits(&database, "dbos.workflow_input").await, commits(&database, "dbos.operation_outputs").await);
    assert!(starts <= 20 && records <= 20 + once - i64::try_from(STEPS).unwrap(), "{starts} and {records} commits");

    let after: String = database.query(incarnation, &[]).await[0].get(0);
    assert_eq!(after, before, "the lease was kept");
    let log = host.log();
    assert!(!log.contains("[WARN]") && !log.contains("[ERROR]"), "{log}");
}

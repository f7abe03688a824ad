//! A host holds no snapshot for longer than a statement or a guest's transaction lasts, so that the database can clean up
//! behind it.

use dbos_host_tests::{HostBuilder, TestPostgres, eventually};
use serde_json::json;

#[tokio::test]
async fn a_host_whose_workflows_sleep_holds_nothing_back() {
    const SLEEPERS: i64 = 30;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("workloads").database(&database).migrations("tests/guests/workloads/migrations");
    builder.migrate().await;
    let host = builder.start().await;
    let arguments = json!({ "steps": 1, "milliseconds": 3_600_000 });
    for n in 0..SLEEPERS {
        host.start_workflow("steps_then_sleep", &format!("s-{n}"), &arguments).await;
    }
    // A transaction too, so that the pool of the app's SQL has a session.
    assert_eq!(host.run_workflow("one_row", "row", &json!({})).await.unwrap().status, 200);
    let sleeping = "SELECT count(*) FROM dbos.operation_outputs WHERE function_name = 'DBOS.sleep'";
    eventually("all sleep", async || (database.count(sleeping, &[]).await == SLEEPERS).then_some(())).await;

    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(database.count(sessions, &[]).await >= 3, "the host has sessions to look at");
    // Its statements for looking around have snapshots, each for some milliseconds.
    let holding = format!(
        "{sessions} AND (state LIKE 'idle in transaction%' OR xact_start < clock_timestamp() - interval '1 second')"
    );
    assert_eq!(database.count(&holding, &[]).await, 0);

    // What is dead can be removed: the file of a table that has nothing else shrinks to nothing.
    database.execute("CREATE TABLE rubbish AS SELECT generate_series(1, 1000) AS n").await;
    database.execute("DELETE FROM rubbish").await;
    eventually("the database cleans up", async || {
        database.execute("VACUUM rubbish").await;
        (database.count("SELECT pg_relation_size('rubbish')", &[]).await == 0).then_some(())
    })
    .await;
}

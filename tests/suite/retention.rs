//! Finished runs go when somebody says so: whole, with everything that belonged to them, and never one that another run may
//! still need.

use std::collections::BTreeSet;

use dbos_host_tests::{Database, HostBuilder, TestPostgres, eventually};
use serde_json::json;

/// Runs, by their id, status, app, parent and age of their end in days, with something in every table that has rows of runs.
const RUNS: &str = "
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::float8[]) AS g(id, status, app, parent, days)
), run AS (
    INSERT INTO dbos.workflow_status (workflow_uuid, status, name, application_name, parent_workflow_id, completed_at)
    SELECT id, status, 'child', app, parent, (extract(epoch FROM now() - days * interval '1 day') * 1000)::bigint FROM given
), input AS (
    INSERT INTO dbos.workflow_input (workflow_uuid, inputs) SELECT id, '{}' FROM given
), output AS (
    INSERT INTO dbos.workflow_output (workflow_uuid, output) SELECT id, '1' FROM given
), record AS (
    INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output)
    SELECT id, step, 'grow', '1' FROM given, generate_series(1, 3) AS step
), digest AS (
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
    SELECT id, step, '\\x0102030405060708' FROM given, generate_series(1, 3) AS step
), origin AS (
    INSERT INTO dbos_host.origin SELECT id, 'o', 1, 1, '{}', '{}' FROM given
), waiting AS (
    INSERT INTO dbos_host.waiting SELECT id, 'o', '{}', 1 FROM given
), undo AS (
    INSERT INTO dbos_host.undo SELECT id, 1, 1, 'grow', 'shrink', '{}' FROM given
), attempt AS (
    INSERT INTO dbos_host.attempt (workflow_uuid, records) SELECT id, 3 FROM given
)
SELECT id FROM given";

/// What refers to a run's row by a foreign key; it needs the row to be there.
const REFERRING: &str = "
WITH given AS (SELECT workflow_uuid AS id FROM dbos.workflow_status), event AS (
    INSERT INTO dbos.workflow_events (workflow_uuid, key, value) SELECT id, 'k', '1' FROM given
), history AS (
    INSERT INTO dbos.workflow_events_history (workflow_uuid, function_id, key, value) SELECT id, 1, 'k', '1' FROM given
), stream AS (
    INSERT INTO dbos.streams (workflow_uuid, key, value, \"offset\") SELECT id, 'k', '1', 0 FROM given
)
INSERT INTO dbos.notifications (destination_uuid, topic, message) SELECT id, 't', '1' FROM given";

/// The tables that have rows of runs, each with the column that names the run.
const TABLES: [(&str, &str); 13] = [
    ("dbos.workflow_status", "workflow_uuid"),
    ("dbos.workflow_input", "workflow_uuid"),
    ("dbos.workflow_output", "workflow_uuid"),
    ("dbos.operation_outputs", "workflow_uuid"),
    ("dbos.notifications", "destination_uuid"),
    ("dbos.workflow_events", "workflow_uuid"),
    ("dbos.workflow_events_history", "workflow_uuid"),
    ("dbos.streams", "workflow_uuid"),
    ("dbos_host.operation_digest", "workflow_uuid"),
    ("dbos_host.attempt", "workflow_uuid"),
    ("dbos_host.origin", "workflow_uuid"),
    ("dbos_host.waiting", "workflow_uuid"),
    ("dbos_host.undo", "workflow_uuid"),
];

/// A run: its id, status, app, parent, and how many days ago it ended.
type Given<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>, Option<f64>);

async fn insert(database: &Database, runs: &[Given<'_>]) {
    let ids: Vec<_> = runs.iter().map(|run| run.0).collect();
    let statuses: Vec<_> = runs.iter().map(|run| run.1).collect();
    let apps: Vec<_> = runs.iter().map(|run| run.2).collect();
    let parents: Vec<_> = runs.iter().map(|run| run.3).collect();
    let days: Vec<_> = runs.iter().map(|run| run.4).collect();
    database.query(RUNS, &[&ids, &statuses, &apps, &parents, &days]).await;
}

/// Finished runs of the app `shop` that ended 100 days ago.
async fn insert_old(database: &Database, ids: &[String]) {
    let run = |id: &'_ String| (id.clone(), "SUCCESS", Some("shop"), None, Some(100.0));
    let runs: Vec<_> = ids.iter().map(run).collect();
    let runs: Vec<Given<'_>> = runs.iter().map(|run| (run.0.as_str(), run.1, run.2, run.3, run.4)).collect();
    insert(database, &runs).await;
    database.execute(REFERRING).await;
}

/// The runs that a table has rows of.
async fn of_table(database: &Database, (table, column): (&str, &str)) -> BTreeSet<String> {
    let rows = database.query(&format!("SELECT DISTINCT {column} FROM {table}"), &[]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// The runs that are there. Every table has the same ones: none is half there.
async fn there(database: &Database) -> BTreeSet<String> {
    let there = of_table(database, TABLES[0]).await;
    for table in TABLES {
        assert_eq!(of_table(database, table).await, there, "{table:?}");
    }
    there
}

async fn prepared() -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").config("name: shop").database(&database);
    builder.migrate().await;
    (database, builder)
}

/// What `dbos-host retention` prints with these arguments.
async fn retention(builder: &HostBuilder, arguments: &[&str]) -> String {
    let output = builder.output(&[&["retention"], arguments].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn what_is_old_goes_as_a_whole_and_what_may_be_needed_stays() {
    let (database, builder) = prepared().await;
    let (shop, old) = (Some("shop"), Some(100.0));
    let stays: [Given<'_>; 12] = [
        ("young", "SUCCESS", shop, None, Some(1.0)),
        ("pending", "PENDING", shop, None, None),
        ("enqueued", "ENQUEUED", shop, None, None),
        ("cancelled-lately", "CANCELLED", shop, None, Some(1.0)),
        ("child-of-pending", "SUCCESS", shop, Some("pending"), old),
        ("child-of-enqueued", "ERROR", shop, Some("enqueued"), old),
        ("child-of-cancelled", "SUCCESS", shop, Some("cancelled-lately"), old),
        ("held-by-pending", "SUCCESS", shop, Some("somebody"), old),
        ("parent-of-young", "SUCCESS", shop, None, old),
        ("young-child", "SUCCESS", shop, Some("parent-of-young"), Some(1.0)),
        ("of-another-app", "SUCCESS", Some("bank"), None, old),
        ("of-no-app", "SUCCESS", None, None, old),
    ];
    let goes: [Given<'_>; 7] = [
        ("success", "SUCCESS", shop, None, old),
        ("error", "ERROR", shop, None, old),
        ("cancelled", "CANCELLED", shop, None, old),
        ("given-up", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", shop, None, old),
        ("child-of-young", "SUCCESS", shop, Some("young"), old),
        ("child-of-nobody", "SUCCESS", shop, Some("somebody"), old),
        ("grandchild", "SUCCESS", shop, Some("child-of-pending"), old),
    ];
    insert(&database, &stays).await;
    insert(&database, &goes).await;
    database.execute(REFERRING).await;
    let handle = "UPDATE dbos.operation_outputs SET child_workflow_id = 'held-by-pending'
                   WHERE workflow_uuid = 'pending' AND function_id = 2";
    database.execute(handle).await;
    let all: BTreeSet<String> = stays.iter().chain(&goes).map(|run| run.0.to_owned()).collect();

    let said = retention(&builder, &["--age", "90 days", "--dry-run"]).await;
    let more = "; 5 more stay, since workflows that can go on may need them\n";
    assert_eq!(said, format!("shop: 7 workflows would be removed{more}"));
    assert_eq!(there(&database).await, all);

    let said = retention(&builder, &["--age", "90 days"]).await;
    assert_eq!(said, format!("shop: 7 workflows removed{more}"));
    let left: BTreeSet<String> = stays.iter().map(|run| run.0.to_owned()).collect();
    assert_eq!(there(&database).await, left);

    // With the one that needs them, they may go too.
    database
        .execute("UPDATE dbos.workflow_status SET status = 'SUCCESS', completed_at = 1 WHERE status = 'PENDING'")
        .await;
    let said = retention(&builder, &["--age", "90 days", "--json"]).await;
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said, json!({ "apps": [{ "app": "shop", "removed": 3, "needed": 3 }], "components": [] }));
}

#[tokio::test]
async fn as_many_are_kept_as_the_count_says_also_of_those_that_ended_together() {
    let (database, builder) = prepared().await;
    let ids: Vec<String> = (0..10).map(|n| format!("together-{n}")).collect();
    insert_old(&database, &ids).await;
    insert(&database, &[("of-another-app", "SUCCESS", Some("bank"), None, Some(0.0))]).await;
    assert_eq!(retention(&builder, &["--count", "10"]).await, "shop: 0 workflows removed\n");
    assert_eq!(retention(&builder, &["--count", "3"]).await, "shop: 7 workflows removed\n");
    let left = of_table(&database, TABLES[0]).await;
    let newest = ["of-another-app", "together-7", "together-8", "together-9"].map(str::to_owned);
    assert_eq!(left, BTreeSet::from(newest));
    // Of two limits, what is past either goes.
    assert_eq!(retention(&builder, &["--count", "3", "--age", "90 days"]).await, "shop: 3 workflows removed\n");
}

#[tokio::test]
async fn a_removal_that_is_killed_leaves_every_run_whole_or_gone() {
    let (database, builder) = prepared().await;
    let ids: Vec<String> = (0..1200).map(|n| format!("old-{n:04}")).collect();
    insert_old(&database, &ids).await;
    for (point, left) in
        [("retention.before_page#1", 1200), ("retention.before_commit#2", 700), ("retention.after_page#1", 200)]
    {
        let output = builder.clone().kill_at(point).output(&["retention", "--age", "90 days"]).await;
        assert!(!output.status.success(), "{point}");
        // The server ends a transaction whose client is gone.
        eventually(point, async || (of_table(&database, TABLES[0]).await.len() == left).then_some(())).await;
        assert_eq!(there(&database).await.len(), left, "{point}");
    }
    assert_eq!(retention(&builder, &["--age", "90 days"]).await, "shop: 200 workflows removed\n");
    assert!(there(&database).await.is_empty());
}

#[tokio::test]
async fn a_run_that_somebody_has_locked_is_passed_over() {
    let (database, builder) = prepared().await;
    insert_old(&database, &["free".to_owned(), "locked".to_owned()]).await;
    let mut client = database.connect().await;
    let transaction = client.transaction().await.unwrap();
    let lock = "SELECT FROM dbos.workflow_status WHERE workflow_uuid = 'locked' FOR NO KEY UPDATE";
    transaction.execute(lock, &[]).await.unwrap();
    assert_eq!(retention(&builder, &["--age", "90 days"]).await, "shop: 1 workflow removed\n");
    transaction.rollback().await.unwrap();
    assert_eq!(there(&database).await, BTreeSet::from(["locked".to_owned()]));
}

#[tokio::test]
async fn a_running_host_removes_what_its_configuration_says() {
    let (database, builder) = prepared().await;
    insert_old(&database, &["old".to_owned()]).await;
    insert(&database, &[("of-another-app", "SUCCESS", Some("bank"), None, Some(100.0))]).await;
    let host = builder.config("retention:\n  age: 90 days").start().await;
    let reply = host.run_workflow("child", "new", &json!({ "name": "Ann" })).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    host.wait_for_log("removed 1 finished workflows").await;
    let left = BTreeSet::from(["new", "of-another-app"].map(str::to_owned));
    assert_eq!(of_table(&database, TABLES[0]).await, left);
}

#[tokio::test]
async fn nothing_goes_unless_somebody_says_what() {
    let (database, builder) = prepared().await;
    insert_old(&database, &["old".to_owned()]).await;
    let output = builder.output(&["retention"]).await;
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("[nothing_may_go]: failed to remove finished workflows"), "{errors}");
    let output = builder.output(&["retention", "--age", "90"]).await;
    assert_eq!(output.status.code(), Some(2), "a number without a unit");
    assert_eq!(there(&database).await.len(), 1);
}

#[tokio::test]
async fn a_component_goes_when_no_run_no_app_and_no_host_needs_it() {
    let (database, first) = prepared().await;
    let second = HostBuilder::new("hostile").config("name: shop").database(&database);
    let components = async || database.count("SELECT count(*) FROM dbos_host.component", &[]).await;
    let host = first.start().await;
    host.run_workflow("child", "c", &json!({ "name": "Ann" })).await.unwrap();
    drop(host);
    assert!(second.output(&["deploy"]).await.status.success());
    let forget = "UPDATE dbos_host.component_use SET used_at = now() - interval '8 days'";

    // It was used lately; then it has a run; then nothing of both.
    let old = "UPDATE dbos.workflow_status SET completed_at = 1";
    assert_eq!(retention(&first, &["--age", "90 days"]).await, "shop: 0 workflows removed\n");
    database.execute(forget).await;
    assert_eq!(retention(&first, &["--age", "90 days"]).await, "shop: 0 workflows removed\n");
    database.execute(old).await;
    let said = retention(&first, &["--age", "90 days", "--dry-run"]).await;
    assert_eq!(said, "shop: 1 workflow would be removed\n", "the component has a run as long as that is there");
    let said = retention(&first, &["--age", "90 days"]).await;
    assert!(said.starts_with("shop: 1 workflow removed\ncomponent "), "{said}");
    assert_eq!(components().await, 1, "what is deployed stays");

    // A deployment of what was removed brings it again.
    assert!(first.output(&["deploy"]).await.status.success());
    let host = first.start().await;
    let reply = host.run_workflow("child", "again", &json!({ "name": "Ann" })).await.unwrap();
    assert_eq!((reply.status, components().await), (200, 2));
    // And a host that serves it says so.
    let used = "SELECT count(*) FROM dbos_host.component_use WHERE used_at > now() - interval '1 hour'";
    assert_eq!(database.count(used, &[]).await, 1);
}

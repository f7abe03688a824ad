//! Changed code that asks for a patch: new runs take the new way, old ones find what they have recorded.
//!
//! Three guests are one program over time. A run is moved from one to the next as an operator would move it, by its version,
//! while no host runs.

use dbos_host_tests::{Database, HostBuilder, TestPostgres, eventually, programs};
use serde_json::{Value, json};

const BEFORE: &str = "patches_before";
const INTRODUCED: &str = "patches_introduced";
const DEPRECATED: &str = "patches_deprecated";

/// What a run of the new way does, and what it has recorded then.
const NEW_WAY: [&str; 4] = ["checked", "charged", "weighed", "shipped"];
const NEW_RECORDS: [&str; 7] =
    ["DBOS.patch-check first", "check", "charge", "DBOS.sleep", "DBOS.patch-weigh", "weigh", "ship"];

fn version(guest: &str, database: &Database) -> HostBuilder {
    HostBuilder::new(guest).config("name: shop").database(database)
}

async fn records(database: &Database, run: &str) -> Vec<String> {
    database.steps(run).await.into_iter().map(|step| step.name).collect()
}

/// Starts the run `r` with the code of one version, kills the host while the run sleeps, and gives it the code of another.
async fn moved(database: &Database, from: &str, to: &str) {
    let mut host = version(from, database).start().await;
    host.start_workflow("order", "r", &json!({})).await;
    eventually("the run sleeps", async || {
        records(database, "r").await.last().is_some_and(|name| name == "DBOS.sleep").then_some(())
    })
    .await;
    host.kill9().await;
    let wasm = programs::guest(to).display().to_string();
    let deployed = version(to, database).output(&["deploy", &wasm]).await;
    assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    let last = "UPDATE dbos.workflow_status SET application_version =
                    (SELECT version_name FROM dbos.application_versions ORDER BY version_timestamp DESC LIMIT 1)";
    database.execute(last).await;
}

#[tokio::test]
async fn new_runs_take_the_new_way_wherever_they_are_killed() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = version(INTRODUCED, &database).jumping_clock();
    let points = ["gate.before_effect", "record.before_commit", "record.after_commit", "gate.before_answer"];
    let mut killed = 0;
    for visit in points.iter().flat_map(|point| [1, 5].map(|n| format!("{point}#{n}"))) {
        let mut host = builder.clone().kill_at(&visit).start().await;
        if host.run_workflow("order", &visit, &json!({})).await.is_err() {
            host.wait_for_exit().await;
            killed += 1;
        }
        let host = builder.start().await;
        // Killed before its start was written, it was never promised; then this is its first start.
        host.start_workflow("order", &visit, &json!({})).await;
        assert_eq!(database.output(&visit).await, json!(NEW_WAY), "{visit}");
        assert_eq!(records(&database, &visit).await, NEW_RECORDS, "{visit}");
    }
    assert!(killed >= 5, "only {killed} of the kills happened");
}

#[tokio::test]
async fn an_old_run_keeps_to_the_old_way_where_it_has_gone_it() {
    let database = TestPostgres::shared().fresh_database().await;
    moved(&database, BEFORE, INTRODUCED).await;
    let before = database.steps("r").await;
    let _host = version(INTRODUCED, &database).jumping_clock().start().await;
    assert_eq!(database.output("r").await, json!(["charged", "weighed", "shipped"]));
    // The second patch stands where nothing was recorded yet.
    assert_eq!(records(&database, "r").await, ["charge", "DBOS.sleep", "DBOS.patch-weigh", "weigh", "ship"]);
    assert_eq!(database.steps("r").await[..2], before, "a record never changes");
}

#[tokio::test]
async fn a_fork_of_an_old_run_takes_the_old_way() {
    let database = TestPostgres::shared().fresh_database().await;
    let mut host = version(BEFORE, &database).jumping_clock().start().await;
    host.run_workflow("order", "old", &json!({})).await.unwrap();
    host.stop().await;
    let wasm = programs::guest(INTRODUCED).display().to_string();
    assert!(version(INTRODUCED, &database).output(&["deploy", &wasm]).await.status.success());
    // Behind the sleep, from the beginning, and with the code that it was started with.
    let forks: [(&str, &[&str]); 3] = [
        ("mixed", &["--step", "3", "--app-version", "current"]),
        ("new", &["--step", "1", "--app-version", "current"]),
        ("as it was", &["--step", "3"]),
    ];
    for (id, from) in forks {
        let made = version(INTRODUCED, &database);
        let made = made.output(&[&["workflow", "fork", "old", "--id", id], from].concat()).await;
        assert!(made.status.success(), "{made:?}");
    }
    let _host = version(INTRODUCED, &database).jumping_clock().start().await;
    assert_eq!(database.output("mixed").await, json!(["charged", "weighed", "shipped"]));
    assert_eq!(records(&database, "mixed").await, ["charge", "DBOS.sleep", "DBOS.patch-weigh", "weigh", "ship"]);
    assert_eq!(database.steps("mixed").await[..2], database.steps("old").await[..2], "what was copied");
    assert_eq!(database.output("new").await, json!(NEW_WAY));
    assert_eq!(records(&database, "new").await, NEW_RECORDS);
    assert_eq!(database.output("as it was").await, database.output("old").await);
    assert_eq!(records(&database, "as it was").await, records(&database, "old").await);
}

#[tokio::test]
async fn a_deprecated_patch_is_passed_over_and_left_no_more() {
    let database = TestPostgres::shared().fresh_database().await;
    moved(&database, INTRODUCED, DEPRECATED).await;
    // As a DBOS process leaves it, which knows nothing of digests.
    database.execute("DELETE FROM dbos_host.operation_digest WHERE function_id = 1").await;
    let host = version(DEPRECATED, &database).jumping_clock().start().await;
    assert_eq!(database.output("r").await, json!(NEW_WAY));
    let mut expected = NEW_RECORDS.to_vec();
    expected.retain(|name| *name != "DBOS.patch-weigh");
    assert_eq!(records(&database, "r").await, expected, "no marker where none was");
    host.run_workflow("order", "new", &json!({})).await.unwrap();
    assert_eq!(database.output("new").await, json!(NEW_WAY));
    assert_eq!(records(&database, "new").await, ["check", "charge", "DBOS.sleep", "weigh", "ship"]);
}

#[tokio::test]
async fn an_old_run_does_not_get_through_code_that_has_the_new_way_only() {
    let database = TestPostgres::shared().fresh_database().await;
    moved(&database, BEFORE, DEPRECATED).await;
    let before = database.steps("r").await;
    let _host = version(DEPRECATED, &database).jumping_clock().start().await;
    let run = database.wait_for_end("r").await;
    assert_eq!(run.status, "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "{run:?}");
    let error: Value = serde_json::from_str(&run.error.expect("it says why")).expect("JSON");
    let message =
        "the replay diverged at step 1: recorded is `charge`, but the workflow calls transaction `check` with {}";
    assert_eq!(error["message"], message);
    assert_eq!(database.steps("r").await, before, "nothing was done");
}

#[tokio::test]
async fn a_marker_looks_like_one_of_dbos() {
    let database = TestPostgres::shared().fresh_database().await;
    let host = version(INTRODUCED, &database).jumping_clock().start().await;
    host.run_workflow("order", "r", &json!({})).await.unwrap();
    let alike = "SELECT count(*) FROM dbos.operation_outputs
                  WHERE function_name IN ('DBOS.patch-check first', 'DBOS.patch-weigh') AND output IS NULL AND error IS NULL
                    AND child_workflow_id IS NULL AND serialization IS NULL AND completed_at_epoch_ms = started_at_epoch_ms";
    assert_eq!(database.count(alike, &[]).await, 2);
    let reply = host.run_workflow("misnamed", "m", &json!({})).await.unwrap();
    assert_eq!(reply.json()["error"]["code"], "invalid_patch", "{reply:?}");
    assert_eq!(records(&database, "m").await, [""; 0], "what is refused is not recorded");
}

//! A replay that does something else than what is recorded is stopped before it has any effect.
//!
//! A pinned component cannot change, so the tests change the records instead, while no host runs.

use dbos_host_tests::{Database, HostBuilder, Outside, TestPostgres};
use serde_json::{Value, json};

/// Runs `every_step` until five of its steps are recorded and the sixth is about to begin, and kills the host there.
async fn stopped_in_the_middle(outside: &Outside) -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("every_step").database(&database).jumping_clock();
    let builder = builder.migrations("tests/guests/every_step/migrations");
    let builder = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
    builder.migrate().await;
    let mut host = builder.clone().kill_at("gate.before_effect#4").start().await;
    host.run_workflow("every_step", "r", &json!({ "run": "r" })).await.expect_err("the host is killed");
    host.wait_for_exit().await;
    let names: Vec<String> = database.steps("r").await.into_iter().map(|step| step.name).collect();
    assert_eq!(names, ["tell", "write_serializable", "DBOS.sleep"]);
    (database, builder)
}

/// Changes the records by a statement, lets a host recover the run, and returns the error that it was stopped with.
async fn stopped_after(change: &str) -> Value {
    let outside = Outside::start().await;
    let (database, builder) = stopped_in_the_middle(&outside).await;
    database.execute(change).await;
    let before = (outside.received().len(), database.steps("r").await, effects(&database).await);
    let _host = builder.start().await;
    let run = database.wait_for_end("r").await;
    assert_eq!((run.status.as_str(), &run.output), ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", &None), "{run:?}");
    let after = (outside.received().len(), database.steps("r").await, effects(&database).await);
    assert_eq!(after, before, "a diverged replay has no effect");
    let error: Value = serde_json::from_str(&run.error.expect("it says why")).expect("JSON");
    assert_eq!((&error["name"], &error["code"]), (&json!("Divergence"), &json!("divergence")));
    error["message"].clone()
}

async fn effects(database: &Database) -> i64 {
    database.count("SELECT count(*) FROM effects", &[]).await
}

#[tokio::test]
async fn another_name() {
    let message =
        stopped_after("UPDATE dbos.operation_outputs SET function_name = 'refund' WHERE function_id = 2").await;
    assert_eq!(
        message,
        "the replay diverged at step 2: recorded is `refund`, but the workflow calls transaction `write_serializable` \
         with {\"run\":\"r\",\"step\":\"serializable\"}"
    );
}

#[tokio::test]
async fn other_arguments() {
    let change = "UPDATE dbos_host.operation_digest SET digest = '\\x0123456789abcdef' WHERE function_id = 1";
    assert_eq!(
        stopped_after(change).await,
        "the replay diverged at step 1: recorded is `tell` as another kind of operation or with other arguments, but \
         the workflow calls communicator `tell` with {\"run\":\"r\",\"step\":\"first\"}"
    );
}

#[tokio::test]
async fn a_record_that_is_missing() {
    assert_eq!(
        stopped_after("DELETE FROM dbos.operation_outputs WHERE function_id = 2").await,
        "the replay diverged at step 2: recorded is nothing here and `DBOS.sleep` at step 3, but the workflow calls \
         transaction `write_serializable` with {\"run\":\"r\",\"step\":\"serializable\"}"
    );
}

#[tokio::test]
async fn a_record_that_nobody_asks_for() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database);
    let mut host = builder.clone().kill_at("finish.before_append#1").start().await;
    host.run_workflow("child", "c", &json!({ "name": "Ann" })).await.expect_err("the host is killed");
    host.wait_for_exit().await;
    let more = "INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output)
                VALUES ('c', 2, 'shrink', 'null')";
    database.execute(more).await;
    let _host = builder.start().await;
    let run = database.wait_for_end("c").await;
    assert_eq!(run.status, "MAX_RECOVERY_ATTEMPTS_EXCEEDED");
    let error: Value = serde_json::from_str(&run.error.expect("it says why")).expect("JSON");
    let message = "the replay diverged at step 2: recorded is `shrink`, but the workflow has returned already";
    assert_eq!(error["message"], message);
}

#[tokio::test]
async fn a_record_without_a_digest_is_compared_by_its_name() {
    let outside = Outside::start().await;
    let (database, builder) = stopped_in_the_middle(&outside).await;
    database.execute("DELETE FROM dbos_host.operation_digest").await;
    let _host = builder.start().await;
    let run = database.wait_for_end("r").await;
    assert_eq!(run.status, "SUCCESS", "{run:?}");
}

//! Attempts: of communicators by their policy, of transactions until nobody is in the way.

use dbos_host_tests::{Answer, Database, HostBuilder, Outside, TestPostgres, eventually};
use serde_json::json;

async fn prepared(outside: &Outside) -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("retries").database(&database).migrations("tests/guests/retries/migrations");
    let builder = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
    builder.migrate().await;
    (database, builder)
}

/// Runs the workflow `asks` on a clock that jumps; returns its result and how long its first step took on that clock.
async fn ask(outside: &Outside, how: &str) -> (String, i64) {
    let (database, builder) = prepared(outside).await;
    let host = builder.jumping_clock().start().await;
    let reply = host.run_workflow("asks", "a", &json!({ "how": how })).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let took = "SELECT completed_at_epoch_ms - started_at_epoch_ms FROM dbos.operation_outputs WHERE function_id = 1";
    let steps = database.steps("a").await;
    assert_eq!(steps.len(), 2, "all attempts are one record: {steps:?}");
    (reply.json().as_str().expect("text").to_owned(), database.count(took, &[]).await)
}

/// Answers the first `n` requests with 503 and "busy", the others with 200 and "fine".
async fn busy(n: usize) -> Outside {
    Outside::answering(move |_, earlier| match earlier.len() < n {
        true => Answer::Reply(503, "busy".into()),
        false => Answer::Reply(200, "fine".into()),
    })
    .await
}

#[tokio::test]
async fn an_attempt_that_succeeds_is_the_last() {
    let outside = busy(3).await;
    let (result, took) = ask(&outside, "four").await;
    assert_eq!(result, "fine");
    assert_eq!(outside.received().len(), 4);
    // Waits of 10, 20 and 30 seconds: twice as long each time, up to the limit.
    assert!((60_000..65_000).contains(&took), "{took} ms");
}

#[tokio::test]
async fn when_all_attempts_fail_the_last_error_is_the_result_and_nothing_is_waited_for() {
    let outside = busy(usize::MAX).await;
    let (result, took) = ask(&outside, "four").await;
    assert_eq!(result, format!("error: {}/four answered with status 503: busy", outside.url()));
    assert_eq!(outside.received().len(), 4);
    assert!((60_000..65_000).contains(&took), "a wait after the last attempt would be 30 seconds more: {took} ms");
}

#[tokio::test]
async fn without_a_policy_there_is_one_attempt() {
    let outside = busy(1).await;
    let (result, _) = ask(&outside, "once").await;
    assert_eq!(result, format!("error: {}/once answered with status 503: busy", outside.url()));
    assert_eq!(outside.received().len(), 1);
}

#[tokio::test]
async fn an_error_that_forbids_it_is_not_tried_again() {
    let outside = busy(1).await;
    let (result, took) = ask(&outside, "give up").await;
    assert_eq!(result, format!("error: {}/give-up answered with status 503: busy", outside.url()));
    assert_eq!(outside.received().len(), 1);
    assert!(took < 5_000, "{took} ms");
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_ended_and_the_next_one_begins() {
    let (outside, _gate) = Outside::held(Answer::Reply(200, "late".into())).await;
    let (result, _) = ask(&outside, "hurry").await;
    assert_eq!(result, "error: the attempt took longer than its time-out of 200ms");
    assert_eq!(outside.received().len(), 2);
}

#[tokio::test]
async fn a_recorded_error_is_not_tried_again_after_a_crash() {
    let outside = busy(1).await;
    let (database, builder) = prepared(&outside).await;
    // The first step is the communicator, the second a transaction that is about to begin: the error is recorded.
    let mut host = builder.clone().kill_at("gate.before_effect#2").start().await;
    host.run_workflow("asks", "a", &json!({ "how": "once" })).await.expect_err("the host is killed");
    host.wait_for_exit().await;
    let _host = builder.start().await;
    let told = database.output("a").await;
    assert_eq!(told, json!(format!("error: {}/once answered with status 503: busy", outside.url())));
    assert_eq!(outside.received().len(), 1);
}

#[tokio::test]
async fn a_transaction_that_was_in_anothers_way_is_run_again() {
    let (database, builder) = prepared(&Outside::start().await).await;
    let (builder, hold) = builder.note_visits().hold_at("transaction.before_flight#1");
    let host = builder.start().await;
    host.start_workflow("increments", "first", &json!({})).await;
    // The first has read and written, and is about to commit; the second reads the same and waits to write it.
    hold.reached().await;
    host.start_workflow("increments", "second", &json!({})).await;
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("the second waits for the first", async || (database.count(waiting, &[]).await == 1).then_some(()))
        .await;
    hold.release();
    assert_eq!(database.output("first").await, json!(1));
    assert_eq!(database.output("second").await, json!(2));
    assert_eq!(database.count("SELECT value FROM counter", &[]).await, 2);
    let bodies = builder.visits().iter().filter(|visit| visit.starts_with("transaction.begun#")).count();
    assert_eq!(bodies, 3, "the second body ran twice");
}

#[tokio::test]
async fn many_increments_at_once_are_all_counted() {
    let (database, builder) = prepared(&Outside::start().await).await;
    let host = builder.start().await;
    let runs: Vec<String> = (1..=20).map(|n| format!("n-{n}")).collect();
    for run in &runs {
        host.start_workflow("increments", run, &json!({})).await;
    }
    let mut results = Vec::new();
    for run in &runs {
        results.push(database.output(run).await.as_i64().expect("a number"));
    }
    results.sort_unstable();
    assert_eq!(results, (1..=20).collect::<Vec<i64>>(), "each saw what the one before it left");
    assert_eq!(database.count("SELECT value FROM counter", &[]).await, 20);
}

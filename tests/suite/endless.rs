//! What does not end by itself is ended: by processor time where a guest computes, by the clock where it waits. What only
//! takes long is not.

use std::time::{Duration, Instant};

use dbos_host_tests::{Host, HostBuilder, Request, TestPostgres};
use serde_json::{Value, json};

async fn started(limits: &str) -> Host {
    let database = TestPostgres::shared().fresh_database().await;
    HostBuilder::new("greedy").database(&database).config(limits).start().await
}

async fn told(host: &Host, workflow: &str, arguments: Value) -> Value {
    let reply = Request::post(host.url(&format!("/workflows/{workflow}")), &arguments).send().await.unwrap();
    assert_eq!(reply.status, 200, "{workflow} {arguments}: {reply:?}");
    reply.json()
}

#[tokio::test]
async fn a_loop_over_refused_calls_uses_up_its_processor_time() {
    let host = started("limits: { processor_ms: 300, attempts: 1 }").await;
    let limit = "the guest used more than 300ms of processor time between two calls";
    for call in ["wrong phase", "sql"] {
        let told = told(&host, "insists", json!({ "call": call })).await;
        assert_eq!(told, json!(format!("limit: {limit}")), "{call}");
    }
    for call in ["wrong%20phase", "sql", "unknown%20id", "too%20large"] {
        let reply = Request::get(host.url(&format!("/insist/{call}"))).send().await.unwrap();
        assert_eq!((reply.status, &reply.json()["code"]), (500, &json!("handler_failed")), "{call}: {reply:?}");
        assert!(reply.body.contains(limit), "{call}: {reply:?}");
    }
    for call in ["sql", "unknown id", "too large", "patch"] {
        let reply = host.run_workflow("insist_in_workflow", call, &json!({ "call": call })).await.unwrap();
        assert_eq!(reply.json()["workflowStatus"], "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "{call}: {reply:?}");
        assert!(host.log().contains(&format!("an attempt failed: {limit}")), "{call}");
    }
}

#[tokio::test]
async fn a_guest_that_wakes_often_and_does_little_is_let_be() {
    let host = started("limits: { processor_ms: 50 }").await;
    // A second and a half, in which the limit would be met many times over if waking were computing.
    assert_eq!(told(&host, "dozes", json!({ "times": 150 })).await, json!(150));
}

#[tokio::test]
async fn a_handler_that_waits_is_answered_for() {
    let host = started("limits: { handler_ms: 300, handlers: 1 }").await;
    for _ in 0..3 {
        let reply = Request::get(host.url("/wait")).send().await.unwrap();
        assert_eq!((reply.status, &reply.json()["code"]), (504, &json!("handler_timeout")), "{reply:?}");
        assert!(reply.body.contains("it took longer than the limit of 300ms"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_transaction_that_waits_fails_and_its_workflow_goes_on() {
    let host = started("limits: { transaction_ms: 300, steps: 1 }").await;
    let begun = Instant::now();
    for _ in 0..3 {
        let expected = "timeout: the transaction took longer than the limit of 300ms";
        assert_eq!(told(&host, "waits", json!({})).await, json!(expected));
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

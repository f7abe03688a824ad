//! No guest takes down the host or its neighbours, whatever it does and in whichever phase.

use std::time::{Duration, Instant};

use dbos_host_tests::{Database, Host, HostBuilder, Request, TestPostgres};
use serde_json::{Value, json};

/// Limits that a hostile guest meets quickly.
const NARROW: &str = "limits: { processor_ms: 100, memory_mib: 16, attempts: 3 }";

/// How long ten steps may take beside guests that use every processor. Without them it is less than 0.1 s, and guests that
/// compute stand behind; the room is for a busy machine. How much neighbours notice is measured in `neighbours`.
const PROMPTLY: Duration = Duration::from_secs(5);

async fn prepared(limits: &str) -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("hostile").database(&database).config(limits);
    (database, builder)
}

async fn result(host: &Host, workflow: &str, arguments: &Value) -> Value {
    let request = Request::post(host.url(&format!("/workflows/{workflow}")), arguments);
    let reply = request.send().await.expect("the host answers");
    assert_eq!(reply.status, 200, "{workflow} {arguments}: {reply:?}");
    reply.json()
}

#[tokio::test]
async fn a_panic_ends_its_workflow_with_its_message() {
    let (database, builder) = prepared("").await;
    let host = builder.start().await;
    let reply = host.run_workflow("bad_workflow", "bad", &json!({ "how": "panic" })).await.unwrap();
    assert_eq!(reply.status, 500);
    let error = &reply.json()["error"];
    assert_eq!((&error["name"], &error["code"]), (&json!("Panic"), &json!("panic")));
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("it was panic, at hostile/src/lib.rs:"), "{message}");
    let run = database.wait_for_end("bad").await;
    assert_eq!((run.status.as_str(), run.attempts), ("ERROR", 1), "a panic would be the same in each replay");
    assert_eq!(result(&host, "neighbour", &json!({})).await, json!(10));
}

#[tokio::test]
async fn a_step_that_misbehaves_fails_and_its_workflow_goes_on() {
    let (_database, builder) = prepared(NARROW).await;
    let host = builder.start().await;
    let ways = [
        ("panic", "it was panic, at hostile/src/lib.rs:"),
        ("loop", "the guest used more than 100ms of processor time between two calls"),
        ("memory", "the guest needs more memory than the limit of 16777216 bytes"),
        ("recursion", "the guest's stack is full"),
        ("large frames", "the guest trapped: "),
    ];
    for workflow in ["calls_bad_transaction", "calls_bad_communicator"] {
        for (how, expected) in ways {
            let told = result(&host, workflow, &json!({ "how": how })).await;
            assert!(told.as_str().is_some_and(|told| told.starts_with(expected)), "{workflow} {how}: {told}");
        }
    }
    assert_eq!(result(&host, "neighbour", &json!({})).await, json!(10));
}

#[tokio::test]
async fn a_handler_that_misbehaves_is_answered_for() {
    let (_database, builder) = prepared(NARROW).await;
    let host = builder.start().await;
    let ways = [
        ("panic", "the handler `bad_handler` gave no answer: the handler panicked: it was panic, at "),
        ("loop", "the handler `bad_handler` gave no answer: the guest used more than 100ms of processor time"),
        ("memory", "the handler `bad_handler` gave no answer: the guest needs more memory than the limit"),
        ("recursion", "the handler `bad_handler` gave no answer: the guest's stack is full"),
    ];
    for (how, expected) in ways {
        let reply = Request::get(host.url(&format!("/bad/{how}"))).send().await.unwrap();
        assert_eq!(reply.status, 500, "{how}: {reply:?}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(expected), "{how}: {detail}");
    }
    assert_eq!(result(&host, "neighbour", &json!({})).await, json!(10));
}

#[tokio::test]
async fn a_workflow_that_meets_a_limit_is_tried_again_and_then_given_up() {
    let (database, builder) = prepared(NARROW).await;
    let host = builder.jumping_clock().start().await;
    let limits = [
        ("loop", "an attempt failed: the guest used more than 100ms of processor time between two calls"),
        ("memory", "an attempt failed: the guest needs more memory than the limit of 16777216 bytes"),
        ("recursion", "an attempt failed: the guest's stack is full"),
    ];
    for (how, reason) in limits {
        host.start_workflow("bad_workflow", how, &json!({ "how": how })).await;
        let run = database.wait_for_end(how).await;
        assert_eq!(run.status, "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "{how}: {run:?}");
        let error: Value = serde_json::from_str(&run.error.unwrap()).unwrap();
        let message = "the workflow made no progress in 3 attempts\n  hint: find the cause in the log, then resume it";
        assert_eq!(
            (&error["name"], &error["message"]),
            (&json!("MaxRecoveryAttemptsExceeded"), &json!(message)),
            "{how}"
        );
        assert!(host.log().contains(reason), "{how}");
        assert_eq!(database.steps(how).await.len(), 1, "its step was recorded before");
    }
    assert_eq!(result(&host, "neighbour", &json!({})).await, json!(10));
}

#[tokio::test]
async fn neighbours_finish_promptly_while_guests_loop() {
    // The loops have an hour: they are still at it when the neighbour is done.
    let (database, builder) = prepared("limits: { processor_ms: 3600000 }").await;
    let host = builder.start().await;
    let loops = 2 * std::thread::available_parallelism().expect("the number of processors").get();
    for n in 1..=loops {
        host.start_workflow("bad_workflow", &format!("loop-{n}"), &json!({ "how": "loop" })).await;
        database.wait_for_steps(&format!("loop-{n}"), 1).await;
    }
    let start = Instant::now();
    assert_eq!(result(&host, "neighbour", &json!({})).await, json!(10));
    let took = start.elapsed();
    assert!(took < PROMPTLY, "ten steps took {took:?} beside {loops} guests that loop");
    for n in 1..=loops {
        assert_eq!(database.status(&format!("loop-{n}")).await.as_deref(), Some("PENDING"));
    }
}

#[tokio::test]
async fn ten_times_more_parents_than_slots_finish() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database).config("limits: { workflows: 2, steps: 1 }");
    let host = builder.start().await;
    for n in 1..=20 {
        host.start_workflow("grandparent", &format!("g{n}"), &json!({ "name": format!("number {n}") })).await;
    }
    for n in 1..=20 {
        let expected = format!("the child of the child of number {n} has grown");
        assert_eq!(database.output(&format!("g{n}")).await, json!(expected));
    }
    let runs = database.count("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'", &[]).await;
    assert_eq!(runs, 60);
}

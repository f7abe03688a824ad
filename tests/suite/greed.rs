//! A guest cannot have its host hold or copy more than a bounded amount for it, nor record more than a replay can hold.

use dbos_host_tests::{Database, Host, HostBuilder, Request, TestPostgres};
use serde_json::{Value, json};

/// Of everything that the host keeps at once, in KiB. It needs less than 200 MiB for guests that are modest; one that is
/// not has 256 MiB of its own memory.
const MAX_RESIDENT: u64 = 700 * 1024;

const HANDLES: &str = "the guest holds more handles than the limit";
const TRANSFER: &str = "the guest passed more than 34603008 bytes in one call or answer";

async fn started(limits: &str) -> (Database, Host) {
    let database = TestPostgres::shared().fresh_database().await;
    let host = HostBuilder::new("greedy").database(&database).config(limits).jumping_clock().start().await;
    (database, host)
}

/// What a workflow returns.
async fn told(host: &Host, workflow: &str, arguments: Value) -> Value {
    let reply = Request::post(host.url(&format!("/workflows/{workflow}")), &arguments).send().await.unwrap();
    assert_eq!(reply.status, 200, "{workflow} {arguments}: {reply:?}");
    reply.json()
}

fn assert_small(host: &Host) {
    let most = host.most_resident_kib();
    assert!(most < MAX_RESIDENT, "the host needed {} MiB for a guest", most / 1024);
}

#[tokio::test]
async fn a_million_handles() {
    let (_database, host) = started("").await;
    for phase in ["communicator", "transaction"] {
        for what in ["headers", "requests", "bodies", "streams", "timers", "waits for outputs"] {
            let told = told(&host, "steps", json!({ "phase": phase, "what": what })).await;
            assert_eq!(told, json!(format!("limit: {HANDLES}")), "{what} in a {phase}");
        }
    }
    let reply = Request::get(host.url("/grab/timers")).send().await.unwrap();
    assert_eq!((reply.status, &reply.json()["code"]), (500, &json!("handler_failed")), "{reply:?}");
    assert!(reply.body.contains(HANDLES), "{reply:?}");
    assert_small(&host);
}

#[tokio::test]
async fn a_million_handles_in_a_workflow() {
    let (database, host) = started("limits: { attempts: 2 }").await;
    host.start_workflow("grab_in_workflow", "grabs", &json!({ "what": "requests" })).await;
    assert_eq!(database.wait_for_end("grabs").await.status, "MAX_RECOVERY_ATTEMPTS_EXCEEDED");
    assert!(host.log().contains(&format!("an attempt failed: {HANDLES}")), "{}", host.log());
    assert_small(&host);
}

#[tokio::test]
async fn long_texts_and_lists() {
    let (_database, host) = started("").await;
    let ways = [
        ("long parts", "refused: [true, true, true, true]".to_owned()),
        ("long list", format!("limit: {TRANSFER}")),
        ("long line", format!("limit: {TRANSFER}")),
    ];
    for (what, expected) in ways {
        assert_eq!(told(&host, "steps", json!({ "phase": "communicator", "what": what })).await, json!(expected));
    }
    let full = told(&host, "steps", json!({ "phase": "communicator", "what": "full headers" })).await;
    assert_eq!(full, json!("limit: the headers of the guest's request are larger than the limit of 32768 bytes"));
    let random = told(&host, "steps", json!({ "phase": "communicator", "what": "random" })).await;
    assert!(random.as_str().is_some_and(|told| told.starts_with("broken: ")), "{random}");
    assert_small(&host);
}

#[tokio::test]
async fn large_arguments_and_results() {
    let (_database, host) = started("").await;
    let ways = [
        ("little", "1000".to_owned()),
        (
            "arguments",
            "payload_too_large: the arguments have 16777227 bytes, more than the limit of 16777216".to_owned(),
        ),
        ("too much", "payload_too_large: the result has 16777218 bytes, more than the limit of 16777216".to_owned()),
        ("far too much", format!("limit: {TRANSFER}")),
    ];
    for (how, expected) in ways {
        assert_eq!(told(&host, "passes", json!({ "how": how })).await, json!(expected), "{how}");
    }
    assert_small(&host);
}

#[tokio::test]
async fn a_run_of_too_many_steps_stops_with_advice() {
    let (database, host) = started("limits: { steps_per_run: 10 }").await;
    assert_eq!(told(&host, "records", json!({ "steps": 10, "bytes": "1" })).await, json!(10));
    let reply = host.run_workflow("records", "endless", &json!({ "steps": 1000, "bytes": "1" })).await.unwrap();
    let error = &reply.json()["error"];
    assert_eq!((reply.status, &error["code"]), (500, &json!("too_many_steps")), "{reply:?}");
    let message = "the workflow needs more steps than the limit of 10\n  hint: split the work into child workflows, each \
                   with a history of its own, or let it continue as new";
    assert_eq!(error["message"], message);
    assert_eq!(database.steps("endless").await.len(), 10);
    assert_eq!(
        database.status("endless").await.as_deref(),
        Some("MAX_RECOVERY_ATTEMPTS_EXCEEDED"),
        "it can be resumed"
    );
}

#[tokio::test]
async fn a_run_of_too_large_results_stops_with_advice() {
    let (database, host) = started("").await;
    let reply = host.run_workflow("records", "large", &json!({ "steps": 100, "bytes": "16000000" })).await.unwrap();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (500, &json!("history_too_large")), "{reply:?}");
    assert_eq!(database.steps("large").await.len(), 5, "the fifth passes the limit of 64 MiB, the sixth is refused");
    assert_small(&host);
}

//! A trace that a request belongs to (W3C Trace Context) is that of everything the request leads to, crashes included.

use dbos_host_tests::{Answer, HostBuilder, Outside, Received, Request, TestPostgres};
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("00-{TRACE}-{SPAN}-01")
}

async fn prepared() -> (dbos_host_tests::Database, HostBuilder, Outside) {
    let outside = Outside::answering(|_, _| Answer::Reply(200, "told".into())).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("web").database(&database);
    let builder = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
    (database, builder, outside)
}

/// The span with which a request went out, which must be one of its own in the trace.
fn own_span(request: &Received) -> String {
    let sent = request.header("traceparent").expect("the trace goes on");
    let fields: Vec<&str> = sent.split('-').collect();
    assert_eq!((fields.len(), fields[0], fields[1], fields[3]), (4, "00", TRACE, "01"), "{sent}");
    assert!(fields[2] != SPAN && fields[2].len() == 16, "{sent}");
    fields[2].to_owned()
}

#[tokio::test]
async fn a_trace_goes_through_a_run_its_child_and_a_crash() {
    let (database, builder, outside) = prepared().await;
    // The child's communicator has sent its request, and nobody has recorded the answer.
    let mut host = builder.clone().kill_at("gate.after_effect#1").start().await;
    let request = Request::post(host.url("/workflows/ask"), &json!({ "text": "hi" }));
    let request = request.header("idempotency-key", "run").header("traceparent", &traceparent());
    request.send().await.expect_err("the host is killed");
    host.wait_for_exit().await;
    let log = host.log();
    assert!(log.contains("asking for hi") && log.contains(&format!("trace={TRACE}")), "{log}");

    let host = builder.start().await;
    assert_eq!(database.output("run").await, json!("told"));
    let spans: Vec<String> = outside.received().iter().map(own_span).collect();
    assert_eq!(spans.len(), 2);
    assert_ne!(spans[0], spans[1], "each request is a span of its own");
    let line = format!("asked for hi trace={TRACE}");
    host.wait_for_log(&line).await;

    let attributes =
        database.query("SELECT workflow_uuid, attributes::text FROM dbos.workflow_status ORDER BY 1", &[]).await;
    assert_eq!(attributes.len(), 2);
    for row in attributes {
        let attributes: Value = serde_json::from_str(row.get(1)).expect("JSON");
        assert_eq!(attributes, json!({ "dbos.otelContext": { "traceparent": traceparent() } }));
    }
}

#[tokio::test]
async fn what_a_handler_starts_belongs_to_its_requests_trace() {
    let (database, builder, outside) = prepared().await;
    let host = builder.start().await;
    let request = Request::new("POST", host.url("/ask/hi")).header("traceparent", &traceparent());
    let id = request.send().await.unwrap().body;
    assert_eq!(database.output(&id).await, json!("told"));
    assert_eq!(outside.received().iter().map(own_span).count(), 1);
    host.wait_for_log(&format!("starting hi trace={TRACE}")).await;
}

#[tokio::test]
async fn without_a_trace_there_is_none() {
    let (database, builder, outside) = prepared().await;
    let host = builder.start().await;
    for (id, traceparent) in [
        ("none", None),
        ("wrong", Some("00-xyz")),
        ("zero", Some("00-00000000000000000000000000000000-00f067aa0ba902b7-01")),
    ] {
        let mut request =
            Request::post(host.url("/workflows/ask"), &json!({ "text": id })).header("idempotency-key", id);
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        assert_eq!(request.send().await.unwrap().status, 200, "{id}");
    }
    assert!(outside.received().iter().all(|request| request.header("traceparent").is_none()));
    assert!(!host.log().contains("trace="), "{}", host.log());
    let with = database.count("SELECT count(*) FROM dbos.workflow_status WHERE attributes IS NOT NULL", &[]).await;
    assert_eq!(with, 0);
}

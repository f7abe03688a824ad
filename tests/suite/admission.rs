//! A host that has more to do than it can says so before it takes on more, and what it has taken on comes to its end: with
//! bounded memory, and without a guest hearing of it.

use dbos_host_tests::{Answer, Database, Gate, Host, HostBuilder, Outside, Request, TestPostgres, eventually};
use serde_json::{Value, json};

/// A host with room for one instance of a workflow, which a run has that waits for the outside, and for `waiting` runs.
async fn busy(waiting: u32) -> (Database, Host, Outside, Gate) {
    let (outside, gate) = Outside::held(Answer::Reply(200, "told".into())).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("starts").database(&database).migrations("tests/guests/starts/migrations");
    let builder = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
    let builder = builder.config(&format!("limits: {{ workflows: 1, waiting: {waiting} }}"));
    builder.migrate().await;
    let host = builder.start().await;
    host.start_workflow("ask", "busy", &json!({ "text": "busy" })).await;
    outside.wait_for(1).await;
    (database, host, outside, gate)
}

async fn runs(database: &Database) -> i64 {
    database.count("SELECT count(*) FROM dbos.workflow_status", &[]).await
}

async fn start(host: &Host, workflow: &str, id: &str, arguments: &Value) -> u16 {
    host.ask_to_start(workflow, id, arguments).await.expect("the host answers").status
}

#[tokio::test]
async fn who_starts_more_than_may_wait_is_turned_away_before_anything_is_written() {
    let (database, host, _outside, gate) = busy(3).await;
    for n in 1..=3 {
        assert_eq!(start(&host, "echo", &format!("waits-{n}"), &json!({ "text": "hi" })).await, 202);
    }
    for n in 4..=10 {
        let reply = host.ask_to_start("echo", &format!("waits-{n}"), &json!({ "text": "hi" })).await.unwrap();
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{reply:?}");
        assert_eq!(reply.json()["code"], "too_many_waiting");
    }
    assert_eq!(runs(&database).await, 4);
    gate.open();
    for run in ["busy", "waits-1", "waits-2", "waits-3"] {
        let end = database.wait_for_end(run).await;
        assert_eq!((end.status.as_str(), end.attempts), ("SUCCESS", 1), "{run}");
    }
    assert_eq!(start(&host, "echo", "waits-4", &json!({ "text": "hi" })).await, 202);
    assert_eq!(database.output("waits-4").await["text"], "hi");
}

#[tokio::test]
async fn a_handler_waits_until_there_is_room_for_what_it_starts() {
    let (database, host, _outside, gate) = busy(1).await;
    assert_eq!(start(&host, "echo", "waits", &json!({ "text": "hi" })).await, 202);
    let handler = tokio::spawn(Request::new("POST", host.url("/echo/later")).send());
    // A request that came after it has been answered: it had every chance.
    assert_eq!(start(&host, "echo", "too-many", &json!({ "text": "hi" })).await, 503);
    assert!(!handler.is_finished());
    assert_eq!(runs(&database).await, 2);
    gate.open();
    let reply = handler.await.unwrap().unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(database.output(&reply.body).await["text"], "later");
}

#[tokio::test]
async fn a_child_is_started_whoever_else_waits() {
    let (database, host, _outside, gate) = busy(1).await;
    gate.open();
    database.wait_for_end("busy").await;
    for n in 0..20 {
        let arguments = json!({ "id": format!("child-{n}"), "text": n.to_string() });
        eventually("there is room for one more", async || {
            (start(&host, "echo_as", &format!("parent-{n}"), &arguments).await == 202).then_some(())
        })
        .await;
    }
    for n in 0..20 {
        assert_eq!(database.output(&format!("parent-{n}")).await["text"], n.to_string());
    }
    assert_eq!(runs(&database).await, 41);
}

#[tokio::test]
async fn runs_whose_arguments_find_no_room_wait_without_them() {
    const MIB: usize = 1024 * 1024;
    let (database, host, _outside, gate) = busy(10).await;
    // Four have room in 64 MiB, the fifth has not.
    for n in 1..=5 {
        let text = n.to_string().repeat(13 * MIB);
        assert_eq!(start(&host, "echo", &format!("large-{n}"), &json!({ "text": text })).await, 202);
    }
    gate.open();
    let mut attempts = 0;
    for n in 1..=5 {
        let end = database.wait_for_end(&format!("large-{n}")).await;
        assert_eq!(end.status, "SUCCESS", "large-{n}");
        let output: Value = serde_json::from_str(&end.output.unwrap()).unwrap();
        assert!(output["text"] == n.to_string().repeat(13 * MIB), "large-{n}");
        attempts += end.attempts;
    }
    // What waits without its arguments is loaded when its turn comes, which is counted.
    assert_eq!(attempts, 6);
}

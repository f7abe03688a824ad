//! A call that the phase does not grant is an error that names the call and where it belongs; never a silent zero, an
//! empty answer or a wait.

use dbos_host_tests::{Host, HostBuilder, Request, TestPostgres};
use serde_json::json;

async fn started() -> Host {
    let database = TestPostgres::shared().fresh_database().await;
    // Allowing everything, so that what is refused is refused because of the phase.
    let builder = HostBuilder::new("wrong_phase").database(&database).guest_env("SETTING", "set");
    builder.allow("*").allow("http://127.0.0.1:1").start().await
}

/// What a call in this phase came to.
async fn told(host: &Host, phase: &str, call: &str) -> String {
    if phase == "workflow" {
        let request = Request::post(host.url("/workflows/in_workflow"), &json!({ "call": call }));
        let reply = request.send().await.expect("the host answers");
        assert_eq!(reply.status, 200, "{call}: {reply:?}");
        return reply.json().as_str().expect("a text").to_owned();
    }
    let path = format!("/in_{phase}/{}", call.replace(' ', "%20"));
    let reply = Request::get(host.url(&path)).send().await.expect("the host answers");
    assert_eq!(reply.status, 200, "{call}: {reply:?}");
    // A step on a route answers with its result as JSON, a handler with its text.
    reply.body.strip_prefix('"').and_then(|body| body.strip_suffix('"')).unwrap_or(&reply.body).replace("\\n", "\n")
}

const SQL: [(&str, &str); 4] =
    [("query", "sql.query"), ("execute", "sql.execute"), ("cursor", "sql.open"), ("savepoint", "sql.savepoint")];

/// The calls that run something, and what they are named.
const RUNS: [(&str, &str); 4] = [
    ("transaction", "transaction.call"),
    ("communicator", "communicator.call"),
    ("start", "workflow.start"),
    ("outcome", "workflow.outcome"),
];

async fn refused(host: &Host, phase: &str, (call, name): (&str, &str), belongs_to: &str) {
    let expected = format!("PhaseError: {name} is only available in {belongs_to}");
    assert_eq!(told(host, phase, call).await, expected, "`{call}` in a {phase}");
}

#[tokio::test]
async fn sql_belongs_to_transactions() {
    let host = started().await;
    for phase in ["workflow", "communicator", "handler"] {
        for call in SQL {
            refused(&host, phase, call, "a transaction").await;
        }
    }
    assert_eq!(told(&host, "transaction", "query").await, "ok: 1");
    assert_eq!(told(&host, "transaction", "cursor").await, "ok: 1");
    assert_eq!(told(&host, "transaction", "savepoint").await, "ok: kept");
}

#[tokio::test]
async fn steps_and_workflows_belong_to_workflows_and_handlers() {
    let host = started().await;
    for phase in ["transaction", "communicator"] {
        for call in RUNS {
            refused(&host, phase, call, "a workflow or a handler").await;
        }
    }
    for phase in ["workflow", "handler"] {
        assert_eq!(told(&host, phase, "transaction").await, "ok: done");
        assert_eq!(told(&host, phase, "communicator").await, "ok: done");
        assert_eq!(told(&host, phase, "start").await, "ok: started");
        assert_eq!(told(&host, phase, "outcome").await, "Error: there is no workflow with the id `nobody`");
    }
}

#[tokio::test]
async fn durable_sleeps_and_patches_belong_to_workflows() {
    let host = started().await;
    let calls = [
        ("sleep", "sleep.sleep", "slept"),
        ("sleep until", "sleep.sleep-until", "slept"),
        ("patch", "workflow.patch", "true"),
        ("deprecate", "workflow.deprecate-patch", "passed"),
    ];
    for (call, name, value) in calls {
        for phase in ["transaction", "communicator", "handler"] {
            refused(&host, phase, (call, name), "a workflow").await;
        }
        assert_eq!(told(&host, "workflow", call).await, format!("ok: {value}"));
    }
}

#[tokio::test]
async fn steps_side_by_side_belong_to_workflows() {
    let host = started().await;
    for phase in ["transaction", "communicator", "handler"] {
        refused(&host, phase, ("parallel", "parallel.start"), "a workflow").await;
    }
    assert_eq!(told(&host, "workflow", "parallel").await, "ok: done");
}

#[tokio::test]
async fn events_are_set_by_workflows_and_read_by_handlers_too() {
    let host = started().await;
    for phase in ["transaction", "communicator", "handler"] {
        refused(&host, phase, ("set event", "events.set"), "a workflow").await;
    }
    for phase in ["transaction", "communicator"] {
        refused(&host, phase, ("get event", "events.get"), "a workflow or a handler").await;
    }
    assert_eq!(told(&host, "workflow", "set event").await, "ok: set");
    for phase in ["workflow", "handler"] {
        assert_eq!(told(&host, phase, "get event").await, "ok: None");
    }
}

#[tokio::test]
async fn streams_are_written_by_workflows_and_read_by_handlers_too() {
    let host = started().await;
    for phase in ["transaction", "communicator", "handler"] {
        refused(&host, phase, ("write stream", "streams.write"), "a workflow").await;
        refused(&host, phase, ("close stream", "streams.close"), "a workflow").await;
    }
    for phase in ["transaction", "communicator"] {
        refused(&host, phase, ("read stream", "streams.read"), "a workflow or a handler").await;
    }
    assert_eq!(told(&host, "workflow", "write stream").await, "ok: written");
    assert_eq!(told(&host, "workflow", "close stream").await, "ok: closed");
    for phase in ["workflow", "handler"] {
        let nobody = "Error: there is no workflow with the id `nobody`";
        assert_eq!(told(&host, phase, "read stream").await, nobody);
    }
}

#[tokio::test]
async fn messages_are_sent_by_workflows_and_handlers_and_taken_by_workflows() {
    let host = started().await;
    for phase in ["transaction", "communicator"] {
        refused(&host, phase, ("send", "messages.send"), "a workflow or a handler").await;
    }
    for phase in ["transaction", "communicator", "handler"] {
        refused(&host, phase, ("receive", "messages.receive"), "a workflow").await;
    }
    for phase in ["workflow", "handler"] {
        let nobody = "NonExistentWorkflow: there is no workflow with the id `nobody` to send to";
        assert_eq!(told(&host, phase, "send").await, nobody);
    }
    assert_eq!(told(&host, "workflow", "receive").await, "ok: None");
}

#[tokio::test]
async fn workflows_continue_as_themselves() {
    let host = started().await;
    for phase in ["transaction", "communicator", "handler"] {
        refused(&host, phase, ("continue", "workflow.continue-as-new"), "a workflow").await;
    }
    let another = "Error: a workflow continues as itself, and not as `empty_workflow`";
    assert_eq!(told(&host, "workflow", "continue").await, another);
}

#[tokio::test]
async fn promises_belong_to_workflows() {
    let host = started().await;
    for phase in ["transaction", "communicator", "handler"] {
        refused(&host, phase, ("link", "promises.link"), "a workflow").await;
        refused(&host, phase, ("promise", "promises.wait"), "a workflow").await;
    }
    assert_eq!(told(&host, "workflow", "link").await, "ok: linked");
    assert_eq!(told(&host, "workflow", "promise").await, "ok: None");
}

#[tokio::test]
async fn requests_and_their_keys_belong_to_communicators() {
    let host = started().await;
    for phase in ["workflow", "transaction", "handler"] {
        refused(&host, phase, ("key", "workflow.idempotency-key"), "a communicator").await;
        let http = told(&host, phase, "http").await;
        assert!(http.contains("outgoing HTTP is only available in a communicator"), "in a {phase}: {http}");
    }
    assert_eq!(told(&host, "communicator", "key").await, "ok: a key");
    // Nothing listens at that port: the request was really sent.
    let http = told(&host, "communicator", "http").await;
    assert!(http.starts_with("HttpError: GET http://127.0.0.1:1/: ") && http.contains("refused"), "{http}");
}

#[tokio::test]
async fn the_id_of_the_run_is_known_to_it_and_its_steps() {
    let host = started().await;
    for phase in ["workflow", "transaction", "communicator"] {
        let id = told(&host, phase, "id").await;
        assert!(id.starts_with("ok: "), "in a {phase}: {id}");
    }
    refused(&host, "handler", ("id", "workflow.id"), "a workflow and its steps").await;
}

#[tokio::test]
async fn the_environment_belongs_to_handlers_and_steps() {
    let host = started().await;
    for phase in ["transaction", "communicator", "handler"] {
        assert_eq!(told(&host, phase, "env").await, "ok: set", "in a {phase}");
        assert_eq!(
            told(&host, phase, "environment").await,
            "ok: SETTING=set;",
            "nothing of the host's own, in a {phase}"
        );
    }
    assert_eq!(told(&host, "workflow", "environment").await, "ok: ");
    let hint = "EnvironmentError: the variable `SETTING` is not set\nhint: set it under `env:` in dbos-config.yaml; it \
                is there in handlers and steps, not in workflows";
    assert_eq!(told(&host, "workflow", "env").await, hint);
}

#[tokio::test]
async fn files_sockets_threads_and_arguments_belong_to_nobody() {
    let host = started().await;
    for phase in ["workflow", "transaction", "communicator", "handler"] {
        assert_eq!(told(&host, phase, "arguments").await, "ok: ", "in a {phase}");
        for call in ["read file", "write file", "list files", "tcp", "udp", "resolve", "thread"] {
            let told = told(&host, phase, call).await;
            assert!(told.starts_with("Error: "), "`{call}` in a {phase}: {told}");
        }
    }
}

#[tokio::test]
async fn waiting_on_a_clock_in_a_workflow_ends_it_with_an_error_that_names_sleep() {
    let host = started().await;
    let reply = Request::post(host.url("/workflows/nap"), &json!({})).send().await.unwrap();
    assert_eq!(reply.status, 500);
    let expected = "waiting on a clock is not possible in a workflow; use `sleep`, which is durable";
    assert_eq!((&reply.json()["detail"], &reply.json()["workflowStatus"]), (&json!(expected), &json!("ERROR")));
    assert_eq!(reply.json()["error"]["name"], "PhaseError");
}

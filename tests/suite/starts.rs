//! Every way to start a run: what is acknowledged is one run with one outcome, and what is wrong is told.

use dbos_host_tests::{Answer, Database, Host, HostBuilder, Outside, Reply, Request, TestPostgres};
use serde_json::{Value, json};

/// The host with the guest `starts` on a fresh database that has its table.
async fn prepared(outside: &Outside) -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("starts").database(&database).migrations("tests/guests/starts/migrations");
    let builder = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
    builder.migrate().await;
    (database, builder)
}

async fn started(outside: &Outside) -> (Database, Host) {
    let (database, builder) = prepared(outside).await;
    (database, builder.start().await)
}

async fn post(host: &Host, path: &str, body: &str) -> Reply {
    let request = Request::new("POST", host.url(path)).header("content-type", "application/json").body(body);
    request.send().await.expect("the host answers")
}

async fn get(host: &Host, path: &str) -> Reply {
    Request::get(host.url(path)).send().await.expect("the host answers")
}

async fn runs(database: &Database) -> i64 {
    database.count("SELECT count(*) FROM dbos.workflow_status", &[]).await
}

#[tokio::test]
async fn one_id_twice_at_once_is_one_run_with_one_result_for_both() {
    let outside = Outside::answering(|request, _| Answer::json(&json!({ "to": request.body.len() }))).await;
    let (database, host) = started(&outside).await;
    for n in 1..=10 {
        let (id, arguments) = (format!("twice-{n}"), json!({ "text": format!("number {n}") }));
        let (one, two) =
            tokio::join!(host.run_workflow("ask", &id, &arguments), host.run_workflow("ask", &id, &arguments));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!((one.status, two.status), (200, 200), "{one:?} {two:?}");
        assert_eq!(one.body, two.body);
        let text = arguments["text"].as_str().unwrap();
        assert_eq!(outside.count(|request| request.body == text.as_bytes()), 1, "{id}");
    }
    assert_eq!(runs(&database).await, 10);
}

#[tokio::test]
async fn a_start_that_is_sent_again_joins_the_run_and_later_its_result() {
    let (outside, gate) = Outside::held(Answer::Reply(200, "at last".into())).await;
    let (_database, host) = started(&outside).await;
    let arguments = json!({ "text": "hi" });
    host.start_workflow("ask", "again", &arguments).await;
    outside.wait_for(1).await;
    host.start_workflow("ask", "again", &arguments).await;
    assert_eq!(get(&host, "/workflows/again").await.json()["status"], "PENDING");
    gate.open();
    let joined = host.run_workflow("ask", "again", &arguments).await.unwrap();
    assert_eq!((joined.status, joined.json()), (200, json!("at last")));
    let later = host.run_workflow("ask", "again", &arguments).await.unwrap();
    assert_eq!((later.status, later.json()), (200, json!("at last")));
    assert_eq!(outside.received().len(), 1);
}

#[tokio::test]
async fn an_id_that_belongs_to_another_call_is_a_conflict() {
    let (database, host) = started(&Outside::start().await).await;
    let first = host.run_workflow("echo", "taken", &json!({ "text": "a" })).await.unwrap();
    assert_eq!((first.status, first.json()), (200, json!({ "text": "a", "times": null })));

    let other_arguments = host.run_workflow("echo", "taken", &json!({ "text": "b" })).await.unwrap();
    assert_eq!(other_arguments.status, 409);
    assert_eq!(other_arguments.header("content-type"), Some("application/problem+json"));
    let detail = "the workflow id `taken` is taken by the same workflow with other arguments: `text` differ";
    assert_eq!((&other_arguments.json()["detail"], &other_arguments.json()["id"]), (&json!(detail), &json!("taken")));

    let other_workflow = host.run_workflow("fail", "taken", &json!({ "text": "a" })).await.unwrap();
    assert_eq!(other_workflow.status, 409);
    assert_eq!(other_workflow.json()["detail"], "the workflow id `taken` is taken by the workflow `echo`, not `fail`");
    assert_eq!(database.output("taken").await, json!({ "text": "a", "times": null }));
    assert_eq!(runs(&database).await, 1);
}

#[tokio::test]
async fn a_guests_start_under_a_taken_id_is_a_handle_of_the_first_run() {
    let (_database, host) = started(&Outside::start().await).await;
    host.run_workflow("echo", "taken", &json!({ "text": "first" })).await.unwrap();
    let second = host.run_workflow("echo_as", "parent", &json!({ "id": "taken", "text": "second" })).await.unwrap();
    assert_eq!(second.json(), json!({ "text": "first", "times": null }));
    let fresh = host.run_workflow("echo_as", "parent-2", &json!({ "id": "free", "text": "third" })).await.unwrap();
    assert_eq!(fresh.json(), json!({ "text": "third", "times": null }));
}

#[tokio::test]
async fn what_cannot_be_started_is_told_and_leaves_nothing() {
    let (database, host) = started(&Outside::start().await).await;
    let cases = [
        ("/workflows/unknown", "{}", 404, "there is no workflow `unknown`"),
        ("/workflows/echo", "{}", 400, "the argument `text` is missing; expected are: `text`, `times`"),
        (
            "/workflows/echo",
            r#"{"text":"a","extra":1}"#,
            400,
            "there is no parameter `extra`; expected are: `text`, `times`",
        ),
        ("/workflows/echo", "Mike", 400, "the body is not JSON: expected value at line 1 column 1"),
        ("/workflows/echo", r#"["a"]"#, 400, "arguments must be a JSON object by parameter name, but an array came"),
        ("/workflows/echo", "", 400, "the argument `text` is missing; expected are: `text`, `times`"),
    ];
    for (path, body, status, detail) in cases {
        let reply = post(&host, path, body).await;
        assert_eq!((reply.status, &reply.json()["detail"]), (status, &json!(detail)), "{path} {body}");
        assert_eq!(reply.json()["status"], status);
    }
    let known = &post(&host, "/workflows/unknown", "{}").await.json()["workflows"];
    assert!(known.as_array().is_some_and(|known| known.contains(&json!("echo"))), "{known}");
    let long = host.run_workflow("echo", &"x".repeat(513), &json!({ "text": "a" })).await.unwrap();
    assert_eq!(long.status, 400);
    assert!(long.json()["detail"].as_str().unwrap().contains("longer than 512 bytes"), "{long:?}");
    assert_eq!(get(&host, "/workflows/nobody").await.status, 404);
    assert_eq!(runs(&database).await, 0);
}

#[tokio::test]
async fn who_prefers_not_to_wait_gets_a_place_to_look() {
    let (database, host) = started(&Outside::start().await).await;
    let request = Request::post(host.url("/workflows/echo"), &json!({ "text": "hi", "times": 3 }));
    let reply = request.header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(reply.status, 202);
    let id = reply.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(reply.header("location"), Some(format!("/workflows/{id}").as_str()));
    database.wait_for_end(&id).await;
    let run = get(&host, reply.header("location").unwrap()).await;
    assert_eq!((run.status, run.header("content-type")), (200, Some("application/json")));
    let run = run.json();
    assert_eq!((&run["id"], &run["status"], &run["name"]), (&json!(id), &json!("SUCCESS"), &json!("echo")));
    assert_eq!((&run["output"], &run["error"]), (&json!({ "text": "hi", "times": 3 }), &Value::Null));
}

#[tokio::test]
async fn a_failed_run_is_told_with_everything_its_error_has() {
    let (_database, host) = started(&Outside::start().await).await;
    let reply = host.run_workflow("fail", "unlucky", &json!({ "text": "it is the 13th" })).await.unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (500, Some("application/problem+json")));
    let problem = reply.json();
    assert_eq!((&problem["detail"], &problem["id"]), (&json!("it is the 13th"), &json!("unlucky")));
    assert_eq!(problem["workflowStatus"], "ERROR");
    let error = json!({ "name": "Unlucky", "message": "it is the 13th", "code": "E13", "data": { "number": 13 } });
    assert_eq!(problem["error"], error);
    let run = get(&host, "/workflows/unlucky").await.json();
    assert_eq!((&run["status"], &run["error"], &run["output"]), (&json!("ERROR"), &error, &Value::Null));
}

#[tokio::test]
async fn a_request_with_a_key_starts_its_run_once() {
    let (database, host) = started(&Outside::start().await).await;
    let send = async || {
        let request = Request::new("POST", host.url("/echo/hi")).header("idempotency-key", "order-7");
        request.send().await.expect("the host answers").body
    };
    assert_eq!(send().await, "order-7-1");
    assert_eq!(send().await, "order-7-1");
    database.wait_for_end("order-7-1").await;
    assert_eq!(runs(&database).await, 1);
    let without_a_key = post(&host, "/echo/hi", "").await.body;
    assert_eq!(without_a_key.len(), 36, "{without_a_key}");
    assert_eq!(runs(&database).await, 2);
}

#[tokio::test]
async fn what_no_route_answers_is_told() {
    let (_database, host) = started(&Outside::start().await).await;
    let nothing = get(&host, "/nowhere").await;
    assert_eq!((nothing.status, &nothing.json()["detail"]), (404, &json!("no route of an app answers `/nowhere`")));
    let other_method = get(&host, "/echo/hi").await;
    assert_eq!((other_method.status, other_method.header("allow")), (405, Some("POST, OPTIONS")));
}

#[tokio::test]
async fn a_handlers_steps_are_workflows_of_their_own() {
    let outside = Outside::answering(|_, _| Answer::Reply(200, "told".into())).await;
    let (database, host) = started(&outside).await;
    for _ in 0..2 {
        let request = Request::new("POST", host.url("/single/hi")).header("idempotency-key", "k");
        assert_eq!(request.send().await.unwrap().body, "1 told");
    }
    let names = database.query("SELECT workflow_uuid, name, status FROM dbos.workflow_status ORDER BY 1", &[]).await;
    let names: Vec<(&str, &str, &str)> = names.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(names, [("k-1", "temp:write", "SUCCESS"), ("k-2", "temp:tell_outside", "SUCCESS")]);
    assert_eq!(database.count("SELECT count(*) FROM written", &[]).await, 1);
    assert_eq!(outside.received().len(), 1);
}

#[tokio::test]
async fn a_handlers_step_finishes_after_a_crash() {
    let outside = Outside::answering(|_, _| Answer::Reply(200, "told".into())).await;
    let (database, builder) = prepared(&outside).await;
    // A step that is a transaction is one commit with its start. Before that commit nobody has heard of it.
    for (kill_at, key, runs, requests) in [
        ("gate.before_effect#1", "before", 0, 0),
        ("transaction.before_flight#1", "flight", 0, 0),
        ("transaction.after_flight#1", "after", 1, 0),
        ("gate.after_effect#2", "told", 2, 2),
    ] {
        let (rows_before, requests_before) =
            (database.count("SELECT count(*) FROM written", &[]).await, outside.received().len());
        let mut host = builder.clone().patient().kill_at(kill_at).start().await;
        let request = Request::new("POST", host.url("/single/hi")).header("idempotency-key", key);
        request.send().await.expect_err("the host is killed");
        host.wait_for_exit().await;
        let host = builder.start().await;
        for n in 1..=runs {
            let run = database.wait_for_end(&format!("{key}-{n}")).await;
            assert_eq!(run.status, "SUCCESS", "{kill_at}: {run:?}");
        }
        assert_eq!(database.run(&format!("{key}-{}", runs + 1)).await, None, "the handler itself is not run again");
        let written = rows_before + i64::from(runs > 0);
        assert_eq!(database.count("SELECT count(*) FROM written", &[]).await, written, "{kill_at}");
        assert_eq!(outside.received().len(), requests_before + requests, "{kill_at}");
        // A client that asks again gets what was done, and has done what was not.
        let again = Request::new("POST", host.url("/single/hi")).header("idempotency-key", key);
        assert_eq!(again.send().await.expect("an answer").body, "1 told", "{kill_at}");
        assert_eq!(database.count("SELECT count(*) FROM written", &[]).await, rows_before + 1, "{kill_at}");
        let told = if requests == 0 { 1 } else { requests };
        assert_eq!(outside.received().len(), requests_before + told, "{kill_at}");
    }
}

//! The admin server: for the operator's programs on this machine, in the shapes that DBOS's own servers have.

use std::time::Duration;

use dbos_host_tests::{Database, Gate, Host, HostBuilder, Reply, Request, TestPostgres, eventually};
use serde_json::{Value, json};

use crate::small_steps::{World, start};

/// A lease that is over soon, as in the tests of fencing.
const SHORT_LEASE: Duration = Duration::from_millis(1500);

async fn get(host: &Host, path: &str) -> Reply {
    Request::get(host.admin_url(path)).send().await.expect("the admin server answers")
}

async fn post(host: &Host, path: &str, body: &str) -> Reply {
    Request::new("POST", host.admin_url(path)).body(body).send().await.expect("the admin server answers")
}

/// A problem with this status and code; returns what it says.
fn problem(reply: &Reply, status: u16, code: &str) -> String {
    let body = reply.json();
    assert_eq!((reply.status, &body["code"]), (status, &json!(code)), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    body["detail"].as_str().expect("it says what is wrong").to_owned()
}

/// A host whose first request outside is answered when the gate is open, with a run that waits for the answer.
async fn asking() -> (World, Host, Gate) {
    let (world, gate) = World::with_a_late_answer().await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "asks").await;
    world.outside.wait_for(1).await;
    (world, host, gate)
}

#[tokio::test]
async fn a_run_is_cancelled_and_resumed() {
    let (world, host, gate) = asking().await;
    let cancelled = post(&host, "/workflows/asks/cancel", "").await;
    assert_eq!((cancelled.status, cancelled.body.as_str()), (204, ""), "{cancelled:?}");
    // At once: the instance is gone before the answer comes, not at the next look.
    assert!(host.log().contains("its instance is dropped"), "{}", host.log());
    assert_eq!(get(&host, "/workflows/asks").await.json()["Status"], "CANCELLED");
    assert_eq!(post(&host, "/workflows/asks/cancel", "{}").await.status, 204, "again is no error");
    assert_eq!(post(&host, "/workflows/asks/resume", "").await.status, 204);
    world.check_write_tell_write("asks", 2).await;
    gate.open();
    for verb in ["cancel", "resume"] {
        let reply = post(&host, &format!("/workflows/asks/{verb}"), "").await;
        let told = problem(&reply, 409, "workflow_ended");
        assert_eq!(told, format!("the workflow `asks` cannot be {verb}{}: it has ended with SUCCESS", end(verb)));
        assert_eq!(reply.json()["workflowStatus"], "SUCCESS");
        problem(&post(&host, &format!("/workflows/nobody/{verb}"), "").await, 404, "no_such_workflow");
    }
    world.check_write_tell_write("asks", 2).await;
}

fn end(verb: &str) -> &'static str {
    if verb == "cancel" { "led" } else { "d" }
}

#[tokio::test]
async fn children_are_cancelled_with_their_parent_when_that_is_asked_for() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    let lock = world.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE effects IN EXCLUSIVE MODE").await.unwrap();
    start(&host, "parent", "p").await;
    eventually("the child is there", async || world.database.run("p-1").await).await;
    let told = problem(&post(&host, "/workflows/p/cancel", r#"{"children":true}"#).await, 400, "bad_request");
    assert!(told.contains("`cancel_children`"), "{told}");
    assert_eq!(post(&host, "/workflows/p/cancel", r#"{"cancel_children":true}"#).await.status, 204);
    for run in ["p", "p-1"] {
        assert_eq!(world.database.status(run).await.as_deref(), Some("CANCELLED"), "{run}");
    }
    lock.batch_execute("ROLLBACK").await.unwrap();
}

/// The members of DBOS's `WorkflowsOutput`, in their order.
const MEMBERS: &str = "WorkflowUUID Status WorkflowName WorkflowClassName WorkflowConfigName AuthenticatedUser AssumedRole \
    AuthenticatedRoles Input Output Error CreatedAt UpdatedAt QueueName ApplicationVersion ExecutorID WorkflowTimeoutMS \
    WorkflowDeadlineEpochMS DeduplicationID Priority QueuePartitionKey ForkedFrom WasForkedFrom ParentWorkflowID DequeuedAt \
    DelayUntilEpochMS CompletedAt Attributes ScheduleName ApplicationName";

async fn family() -> (Database, Host) {
    let database = TestPostgres::shared().fresh_database().await;
    let host = HostBuilder::new("family").database(&database).executor("blue").start().await;
    let reply = host.run_workflow("parent", "p/1", &json!({ "name": "Ann" })).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    (database, host)
}

#[tokio::test]
async fn a_run_and_its_steps_are_shown_as_dbos_shows_them() {
    let (_database, host) = family().await;
    let reply = get(&host, "/workflows/p%2F1").await;
    let run = reply.json();
    let mut members: Vec<&str> = MEMBERS.split_whitespace().collect();
    members.sort_unstable();
    assert_eq!(run.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(), members);
    let expected = [
        ("WorkflowUUID", json!("p/1")),
        ("Status", json!("SUCCESS")),
        ("WorkflowName", json!("parent")),
        ("Input", json!(r#"{"namedArgs":{"name":"Ann"},"positionalArgs":[]}"#)),
        ("Output", json!(r#""the child of Ann has grown""#)),
        ("Error", Value::Null),
        ("ExecutorID", json!("blue")),
        ("ApplicationName", json!("family")),
        ("Priority", json!("0")),
        ("WasForkedFrom", json!(false)),
    ];
    for (member, value) in expected {
        assert_eq!(run[member], value, "{member}");
    }
    assert!(run["CreatedAt"].as_str().unwrap().parse::<i64>().unwrap() > 1_700_000_000_000, "{run}");
    let steps = get(&host, "/workflows/p%2F1/steps").await.json();
    assert_eq!(steps.as_array().unwrap().len(), 2, "{steps}");
    let second = &steps[1];
    assert_eq!((&second["function_id"], &second["function_name"]), (&json!(2), &json!("DBOS.getResult")));
    assert_eq!((&second["child_workflow_id"], &second["error"]), (&json!("p/1-1"), &Value::Null));
    assert_eq!(second["output"], r#""the child of Ann has grown""#);
    assert!(second["completed_at_epoch_ms"].is_string(), "{second}");
    let page = get(&host, "/workflows/p%2F1/steps?limit=1&offset=1").await.json();
    assert_eq!(page, json!([second]));
    problem(&get(&host, "/workflows/nobody").await, 404, "no_such_workflow");
    problem(&get(&host, "/workflows/nobody/steps").await, 404, "no_such_workflow");
    problem(&get(&host, "/workflows/p%2F1/steps?limit=many").await, 400, "bad_request");
    problem(&get(&host, "/workflows/a%00b").await, 400, "invalid_id");
}

async fn ids(host: &Host, path: &str, filter: Value) -> Vec<String> {
    let reply = post(host, path, &filter.to_string()).await;
    assert_eq!(reply.status, 200, "{filter}: {reply:?}");
    let id = |run: &Value| run["WorkflowUUID"].as_str().expect("an id").to_owned();
    reply.json().as_array().expect("a list").iter().map(id).collect()
}

#[tokio::test]
async fn lists_take_dbos_filters() {
    let (database, host) = family().await;
    let more = "INSERT INTO dbos.workflow_status (workflow_uuid, status, name, queue_name, application_name, created_at)
        VALUES ('q', 'ENQUEUED', 'theirs', 'a_queue', 'other', 1000), ('old', 'ERROR', 'theirs', 'a_queue', 'other', 2000)";
    database.execute(more).await;
    for (filter, expected) in [
        (json!({}), vec!["q", "old", "p/1", "p/1-1"]),
        (json!({ "sort_desc": true, "limit": 2 }), vec!["p/1-1", "p/1"]),
        (json!({ "offset": 3 }), vec!["p/1-1"]),
        (json!({ "workflow_uuids": ["q", "p/1"] }), vec!["q", "p/1"]),
        (json!({ "workflow_ids": ["q"], "name": null }), vec!["q"]),
        (json!({ "workflow_name": "child" }), vec!["p/1-1"]),
        (json!({ "workflow_name": ["child", "theirs"], "status": ["SUCCESS", "ERROR"] }), vec!["old", "p/1-1"]),
        (json!({ "workflow_id_prefix": "p/1-" }), vec!["p/1-1"]),
        (json!({ "application_name": "family", "executor_id": "blue" }), vec!["p/1", "p/1-1"]),
        (json!({ "parent_workflow_id": "p/1" }), vec!["p/1-1"]),
        (json!({ "end_time": "1970-01-01T00:00:01Z" }), vec!["q"]),
        (json!({ "start_time": "1970-01-01T00:00:02+00:00", "end_time": "1970-01-02T00:00:00Z" }), vec!["old"]),
        (json!({ "queue_name": "a_queue" }), vec!["q", "old"]),
    ] {
        assert_eq!(ids(&host, "/workflows", filter.clone()).await, expected, "{filter}");
    }
    assert_eq!(ids(&host, "/queues", json!({})).await, ["q"]);
    assert_eq!(ids(&host, "/queues", json!({ "status": "ERROR" })).await, ["old"]);
    let listed = post(&host, "/workflows", r#"{"workflow_name":"child"}"#).await.json();
    assert_eq!(
        (&listed[0]["Input"], &listed[0]["Output"]),
        (&Value::Null, &Value::Null),
        "not without being asked for"
    );
    let loaded = post(&host, "/workflows", r#"{"name":"child","load_input":true,"load_output":true}"#).await.json();
    assert_eq!(loaded[0]["Output"], r#""the child of Ann has grown""#);
    let told = problem(&post(&host, "/workflows", r#"{"statuz":"ERROR"}"#).await, 400, "bad_request");
    assert!(told.starts_with("there is no filter `statuz`"), "{told}");
    problem(&post(&host, "/workflows", "nonsense").await, 400, "bad_request");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
    problem(&post(&host, "/workflows", &large).await, 413, "body_too_large");
}

#[tokio::test]
async fn what_is_not_built_and_what_does_not_exist_is_told() {
    let (_database, host) = family().await;
    for (method, path) in [
        ("GET", "/deactivate"),
        ("GET", "/dbos-workflow-queues-metadata"),
        ("POST", "/dbos-garbage-collect"),
        ("POST", "/dbos-global-timeout"),
        ("GET", "/dbos-perf"),
    ] {
        let reply = Request::new(method, host.admin_url(path)).send().await.unwrap();
        let told = problem(&reply, 501, "not_built");
        assert!(told.starts_with("this host does not have it yet: "), "{path}: {told}");
    }
    problem(&get(&host, "/nowhere").await, 404, "unknown_route");
    let wrong = get(&host, "/workflows/p%2F1/cancel").await;
    problem(&wrong, 405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("POST"), "{wrong:?}");
    problem(&Request::new("DELETE", host.admin_url("/livez")).send().await.unwrap(), 405, "method_not_allowed");
}

#[tokio::test]
async fn a_page_in_a_browser_cancels_nothing() {
    let (world, host, gate) = asking().await;
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", &host.url("")),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let request = Request::new("POST", host.admin_url("/workflows/asks/cancel")).header(name, value);
        problem(&request.send().await.unwrap(), 403, "forbidden_request");
    }
    // A name of the page's own that resolves to this machine.
    for path in ["/workflows/asks", "/livez", "/nowhere"] {
        let rebound = Request::get(host.admin_url(path)).named("evil.example:3001");
        let told = problem(&rebound.send().await.unwrap(), 403, "forbidden_request");
        assert!(told.contains("`evil.example:3001`"), "{told}");
    }
    let tunnelled = Request::get(host.admin_url("/livez")).named("localhost:9000").send().await.unwrap();
    assert_eq!(tunnelled.status, 200, "{tunnelled:?}");
    gate.open();
    world.database.wait_for_end("asks").await;
    assert_eq!(world.database.status("asks").await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn health_tells_living_from_being_ready() {
    let server = TestPostgres::start();
    let database = server.fresh_database().await;
    let host = HostBuilder::new("family").database(&database).executor("blue").start().await;
    let ready = get(&host, "/readyz").await;
    let expected = json!({
        "status": "ready", "executor": "blue", "apps": ["family"],
        "checks": { "database": "ok", "lease": "ok", "shutdown": "ok" },
    });
    assert_eq!((ready.status, ready.json()), (200, expected));
    let healthy = get(&host, "/dbos-healthz").await;
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "healthy"));
    server.stop_immediate().await;
    let away = get(&host, "/readyz").await;
    assert_eq!((away.status, &away.json()["status"]), (503, &json!("not ready")), "{away:?}");
    assert_ne!(away.json()["checks"]["database"], "ok");
    assert_eq!(get(&host, "/livez").await.json(), json!({ "status": "live" }));
    problem(&get(&host, "/workflows/p").await, 503, "database_unavailable");
    problem(&post(&host, "/workflows/p/cancel", "").await, 503, "database_unavailable");
    server.start_again().await;
    eventually("the host is ready again", async || (get(&host, "/readyz").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_host_that_stops_is_not_ready_and_takes_nothing_over() {
    let (world, mut host, gate) = asking().await;
    host.signal(rustix::process::Signal::TERM);
    host.wait_for_log("stopping").await;
    let reply = get(&host, "/readyz").await;
    assert_eq!((reply.status, &reply.json()["checks"]["shutdown"]), (503, &json!("the host is shutting down")));
    gate.open();
    assert!(host.wait_for_exit().await.success());
    drop(world);
}

#[tokio::test]
async fn runs_of_a_dead_executor_are_taken_over_on_demand_and_those_of_a_living_one_are_not() {
    let (world, gate) = World::with_a_late_answer().await;
    let mut dies = world.host().executor("dies").lease(SHORT_LEASE).start().await;
    start(&dies, "write_tell_write", "left").await;
    world.outside.wait_for(1).await;
    // With its long lease, the second host would look for dead ones only after seconds.
    let host = world.host().executor("heir").start().await;
    let recover = async |body: &str| post(&host, "/dbos-workflow-recovery", body).await;
    let told = problem(&recover(r#"["dies"]"#).await, 409, "executor_alive");
    assert!(told.starts_with("the executor `dies` holds its lease for another "), "{told}");
    let told = problem(&recover(r#"["heir"]"#).await, 409, "executor_alive");
    assert_eq!(told, "`heir` is this very host, and runs its workflows");
    problem(&recover(r#"{"executor":"dies"}"#).await, 400, "bad_request");
    assert_eq!(recover(r#"["nobody"]"#).await.json(), json!([]));
    dies.kill9().await;
    let over = "SELECT count(*) FROM dbos_host.executor WHERE executor_id = 'dies' AND lease_expires_at < now()";
    eventually("the lease is over", async || (world.database.count(over, &[]).await == 1).then_some(())).await;
    let recovered = recover(r#"["dies", "nobody"]"#).await;
    let heir = async || world.database.run("left").await.unwrap().executor;
    // Its own look may have come first.
    assert!(recovered.json() == json!(["left"]) || heir().await.as_deref() == Some("heir"), "{recovered:?}");
    world.check_write_tell_write("left", 2).await;
    assert_eq!(heir().await.as_deref(), Some("heir"));
    gate.open();
}

#[tokio::test]
async fn a_host_that_is_killed_behind_an_operators_wish_keeps_it() {
    for (verb, visit, requests) in [
        ("cancel", "cancel.before_commit#1", 2),
        ("cancel", "cancel.after_commit#1", 1),
        ("resume", "resume.before_commit#1", 1),
        ("resume", "resume.after_commit#1", 2),
    ] {
        let (world, mut host, gate) = asking().await;
        host.kill9().await;
        if verb == "resume" {
            crate::cancel::cancelled(&world.host(), "asks").await;
        }
        gate.open();
        // It may find the run and ask again before it is killed, if the run is not cancelled: so it does not get there.
        let (builder, _hold) = world.host().kill_at(visit).hold_at("attempt.before_count#1");
        let mut killed = builder.start().await;
        let asked = Request::new("POST", killed.admin_url(&format!("/workflows/asks/{verb}"))).send().await;
        assert!(asked.is_err(), "{visit}: {asked:?}");
        killed.wait_for_exit().await;
        let next = world.host().start().await;
        if requests == 2 {
            world.check_write_tell_write("asks", 2).await;
        } else {
            next.run_workflow("serializable", "after", &json!({ "run": "after" })).await.unwrap();
            assert_eq!((world.told("asks"), world.effects("asks").await.len()), (1, 1), "{visit}");
            assert_eq!(world.database.status("asks").await.as_deref(), Some("CANCELLED"), "{visit}");
        }
    }
}

#[tokio::test]
async fn the_admin_server_can_be_moved_and_turned_off_but_not_opened() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database);
    let off = builder.clone().argument("--admin-listen").argument("off").start().await;
    assert!(!off.log().contains("admin server"), "{}", off.log());
    let host = builder.clone().executor("first").start().await;
    let address = host.admin_url("").replace("http://", "");
    let mut second = builder.clone().executor("second").argument("--admin-listen").argument(&address).launch();
    assert!(!second.listens().await, "the address is in use");
    let expected = format!(
        "error[cannot_listen]: failed to serve the admin API\n  because {address} is in use by another program, perhaps \
         another host\n  hint: choose another port with `admin.listen` or `--admin-listen`, or turn the admin server off with \
         `off`\n"
    );
    assert!(second.log().ends_with(&expected), "{}", second.log());
    let open = builder.config("admin: { listen: '0.0.0.0:3001' }").output(&["run"]).await;
    let said = String::from_utf8_lossy(&open.stderr);
    assert_eq!(open.status.code(), Some(3), "{said}");
    assert!(said.contains("`admin.listen` is `0.0.0.0:3001`: it could be reached from other machines"), "{said}");
    assert!(said.contains("\n  hint: keep it at `127.0.0.1:3001`"), "{said}");
}

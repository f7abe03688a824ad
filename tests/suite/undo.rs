//! What the steps of a run have done is undone when it fails, is cancelled, or runs out of time: each once, what happened last
//! first, whatever crashes.

use std::fs;
use std::path::PathBuf;

use dbos_host_tests::{Answer, Database, Gate, Host, HostBuilder, Outside, Request, TestPostgres, eventually, until};
use serde_json::{Value, json};

use crate::events::python;

const HOUR: u64 = 3_600_000;

/// A database, an outside that answers with the name of the step, and a clock that the test moves.
struct World {
    database: Database,
    outside: Outside,
    builder: HostBuilder,
    clock: PathBuf,
}

impl World {
    /// The steps of these names are answered when their gates are open, and `refused` with an error.
    async fn new(held: &[(&'static str, Gate)]) -> Self {
        let held = held.to_vec();
        let outside = Outside::answering(move |request, _| {
            let step = request.json()["step"].as_str().unwrap_or_default().to_owned();
            let answer = match step == "refused" || step.contains("undo stubborn") {
                true => Answer::Reply(500, "no".into()),
                false => Answer::Reply(200, step.clone()),
            };
            match held.iter().find(|(name, _)| step == *name) {
                Some((_, gate)) => answer.held_by(gate),
                None => answer,
            }
        })
        .await;
        let database = TestPostgres::shared().fresh_database().await;
        let builder = HostBuilder::new("saga").database(&database).migrations("tests/guests/saga/migrations");
        let builder = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
        builder.migrate().await;
        let clock = builder.folder().join("clock");
        let builder = builder.environment("DBOS_HOST_TEST_CLOCK", &clock.display().to_string());
        let world = Self { database, outside, builder, clock };
        world.move_clock(0);
        world
    }

    fn move_clock(&self, by: u64) {
        fs::write(&self.clock, by.to_string()).unwrap();
    }

    /// What the outside was told, in the order in which it came.
    fn told(&self) -> Vec<String> {
        let told = self.outside.received();
        told.iter().map(|request| request.json()["step"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn rows(&self) -> Vec<String> {
        let rows = self.database.query("SELECT step FROM effects ORDER BY ctid", &[]).await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Waits until the run is undone, and returns how that went.
    async fn undone(&self, run: &str) -> dbos_host_tests::Run {
        let id = format!("{run}-undo");
        eventually("it is being undone", async || self.database.run(&id).await).await;
        self.database.wait_for_end(&id).await
    }

    async fn names(&self, run: &str) -> Vec<String> {
        self.database.steps(run).await.into_iter().map(|step| step.name).collect()
    }

    /// Nothing is left of what was to be looked at.
    async fn forgotten(&self) {
        let sagas = "SELECT count(*) FROM dbos_host.saga";
        until("no saga is left", async || self.database.count(sagas, &[]).await == 0).await;
    }
}

fn arguments(run: &str, end: &str) -> Value {
    json!({ "run": run, "end": end })
}

/// Starts an order that goes on in a sleep, and waits until it has done everything before it.
async fn sleeping(world: &World, host: &Host, run: &str) {
    host.start_workflow("order", run, &arguments(run, "sleep")).await;
    world.database.wait_for_steps(run, 5).await;
}

/// Everything that an order has done is undone once, the two that ran side by side in either order.
async fn check_undone(world: &World, run: &str) {
    let undo = world.undone(run).await;
    assert_eq!((undo.status.as_str(), undo.output.as_deref()), ("SUCCESS", Some(r#"{"undone":4}"#)), "{undo:?}");
    assert_eq!(world.rows().await, ["two", "undo two: 1"]);
    let mut told = world.told();
    told.sort();
    assert_eq!(told, ["one", "quick", "slow", "undo one: one", "undo quick: quick", "undo slow: slow"]);
    world.forgotten().await;
}

#[tokio::test]
async fn a_failure_undoes_in_reverse_order_of_completion() {
    let slow = Gate::closed();
    let world = World::new(&[("slow", slow.clone())]).await;
    let host = world.builder.start().await;
    let reply = host.ask("order", "o", &arguments("o", "it fails"));
    // The second of the two that run side by side ends first.
    world.database.wait_for_steps("o", 3).await;
    slow.open();
    assert_eq!(reply.await.unwrap().unwrap().json()["error"]["message"], "it fails");
    check_undone(&world, "o").await;
    assert_eq!(world.told()[3..], ["undo slow: slow", "undo quick: quick", "undo one: one"]);
    assert_eq!(world.names("o-undo").await, ["untell", "untell", "unwrite", "untell"]);
    assert_eq!(world.database.status("o").await.as_deref(), Some("ERROR"));
    let row = "SELECT name, parent_workflow_id FROM dbos.workflow_status WHERE workflow_uuid = 'o-undo'";
    let row = &world.database.query(row, &[]).await[0];
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("undo:order", "o"));
    let shown = Request::get(host.url("/workflows/o")).send().await.unwrap().json();
    assert_eq!(shown["undo"], json!({ "id": "o-undo", "status": "SUCCESS" }), "{shown}");
    let shown = Request::get(host.admin_url("/workflows/o")).send().await.unwrap().json();
    assert_eq!(shown["Undo"], json!({ "id": "o-undo", "status": "SUCCESS" }), "{shown}");
    let shown = Request::get(host.admin_url("/workflows/o-undo")).send().await.unwrap().json();
    assert!(shown.get("Undo").is_none(), "{shown}");
    let shown = world.builder.output(&["workflow", "get", "o"]).await;
    assert!(String::from_utf8_lossy(&shown.stdout).contains("undo       o-undo (SUCCESS)\n"), "{shown:?}");
}

#[tokio::test]
async fn a_run_that_ends_well_is_not_undone() {
    let world = World::new(&[]).await;
    let host = world.builder.start().await;
    let reply = host.run_workflow("order", "o", &arguments("o", "well")).await.unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!("all is well")), "{reply:?}");
    // The one that fails makes the host look.
    let reply = host.run_workflow("half", "h", &json!({ "run": "h" })).await.unwrap();
    assert_eq!(reply.json()["error"]["message"], "enough", "{reply:?}");
    world.undone("h").await;
    world.forgotten().await;
    assert_eq!(world.database.status("o-undo").await, None);
    assert_eq!(world.rows().await, ["two", "before", "undo before: 1"], "what was rolled back is not undone");
    let undone: Vec<String> = world.told().into_iter().filter(|step| step.starts_with("undo")).collect();
    assert_eq!(undone, ["undo refused: nobody knows"], "what it has done before it was refused, nobody knows");
}

#[tokio::test]
async fn a_cancel_undoes_and_the_run_cannot_go_on() {
    let world = World::new(&[]).await;
    let host = world.builder.start().await;
    sleeping(&world, &host, "o").await;
    let cancelled = world.builder.output(&["workflow", "cancel", "o", "--children"]).await;
    assert!(cancelled.status.success(), "{cancelled:?}");
    check_undone(&world, "o").await;
    // Again, with its children: what undoes it is none of them.
    assert!(world.builder.output(&["workflow", "cancel", "o", "--children"]).await.status.success());
    let resumed = world.builder.output(&["workflow", "resume", "o"]).await;
    let expected =
        "error[undone]: failed to resume the workflow `o`\n  because its steps are undone, or were: see `o-undo`\n";
    assert_eq!(String::from_utf8_lossy(&resumed.stderr), expected);
    let resumed = Request::post(host.admin_url("/workflows/o/resume"), &json!({})).send().await.unwrap();
    assert_eq!((resumed.status, &resumed.json()["code"]), (409, &json!("undone")), "{resumed:?}");
    assert_eq!(world.database.status("o").await.as_deref(), Some("CANCELLED"));
}

#[tokio::test]
async fn a_cancel_by_another_program_undoes() {
    let world = World::new(&[]).await;
    let host = world.builder.start().await;
    sleeping(&world, &host, "o").await;
    let cancel = "UPDATE dbos.workflow_status SET status = 'CANCELLED', owner_xid = NULL WHERE workflow_uuid = 'o'";
    world.database.execute(cancel).await;
    check_undone(&world, "o").await;
}

#[tokio::test]
async fn a_deadline_undoes() {
    let world = World::new(&[]).await;
    let host = world.builder.start().await;
    let start = Request::post(host.url("/workflows/order"), &arguments("o", "sleep"));
    let start = start.header("idempotency-key", "o").header("prefer", "respond-async");
    assert_eq!(start.header("workflow-timeout", "60").send().await.unwrap().status, 202);
    world.database.wait_for_steps("o", 5).await;
    world.move_clock(HOUR / 2);
    check_undone(&world, "o").await;
    assert_eq!(world.database.status("o").await.as_deref(), Some("CANCELLED"));
}

#[tokio::test]
async fn a_step_that_was_on_its_way_is_undone_without_its_result() {
    let held = Gate::closed();
    let world = World::new(&[("held", held.clone())]).await;
    let host = world.builder.start().await;
    host.start_workflow("on_its_way", "o", &json!({ "run": "o" })).await;
    world.outside.wait_for(1).await;
    assert!(world.builder.output(&["workflow", "cancel", "o"]).await.status.success());
    assert_eq!(world.undone("o").await.status, "SUCCESS");
    held.open();
    assert_eq!(world.told(), ["held", "undo held: nobody knows"]);
    assert_eq!(world.rows().await, ["before", "undo before: 1"]);
    assert_eq!(world.names("o-undo").await, ["unwrite", "untell"], "what may be on its way comes last");
}

#[tokio::test]
async fn a_step_whose_time_was_over_is_undone_without_its_result() {
    let held = Gate::closed();
    let world = World::new(&[("held", held.clone())]).await;
    let host = world.builder.start().await;
    let arguments = json!({ "run": "o", "milliseconds": 300 });
    let reply = host.run_workflow("hurry", "o", &arguments).await.unwrap();
    assert_eq!(reply.json()["error"]["code"], "step_timed_out", "{reply:?}");
    assert_eq!(world.undone("o").await.status, "SUCCESS");
    held.open();
    let undone: Vec<String> = world.told().into_iter().filter(|step| step.starts_with("undo")).collect();
    assert_eq!(undone, ["undo held: nobody knows"]);
}

/// The host does not look at what others write, so it learns of it from the retry itself.
#[tokio::test]
async fn a_step_of_a_cancelled_run_is_not_tried_again() {
    let world = World::new(&[]).await;
    let builder = world.builder.clone().environment("DBOS_HOST_TEST_CLOCK", "auto").heedless();
    let (builder, hold) = builder.hold_at("communicator.after_failure#1");
    let host = builder.start().await;
    host.start_workflow("insists", "o", &json!({ "run": "o", "step": "refused" })).await;
    hold.reached().await;
    let cancel = "UPDATE dbos.workflow_status SET status = 'CANCELLED', owner_xid = NULL WHERE workflow_uuid = 'o'";
    world.database.execute(cancel).await;
    hold.release();
    assert_eq!(world.undone("o").await.status, "SUCCESS");
    assert_eq!(world.told(), ["refused", "undo refused: nobody knows"]);
}

#[tokio::test]
async fn an_undo_that_fails_does_not_stop_the_others() {
    let world = World::new(&[]).await;
    let host = world.builder.clone().environment("DBOS_HOST_TEST_CLOCK", "auto").start().await;
    let arguments = json!({ "run": "o", "end": "it fails" });
    // Its undo is refused in each of its three attempts.
    let refused = "INSERT INTO dbos_host.undo (workflow_uuid, function_id, run_created_at, step, undo, arguments)
                   SELECT workflow_uuid, 1000, created_at, 'tell', 'untell', '{\"run\":\"o\",\"step\":\"stubborn\"}'
                     FROM dbos.workflow_status WHERE workflow_uuid = 'o' RETURNING 1";
    let (builder, hold) =
        world.builder.clone().environment("DBOS_HOST_TEST_CLOCK", "auto").hold_at("finish.before_append#1");
    drop(host);
    let host = builder.start().await;
    host.start_workflow("order", "o", &arguments).await;
    hold.reached().await;
    assert_eq!(world.database.query(refused, &[]).await.len(), 1);
    hold.release();
    let undo = world.undone("o").await;
    assert_eq!(undo.status, "ERROR");
    let error: Value = serde_json::from_str(undo.error.as_deref().unwrap()).unwrap();
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("undo_failed"), &json!("1 of 5 steps could not be undone"))
    );
    assert_eq!((&error["data"][0]["step"], &error["data"][0]["undo"]), (&json!(1000), &json!("untell")), "{error}");
    assert_eq!(
        world.outside.count(|request| request.json()["step"] == "undo stubborn: nobody knows"),
        3,
        "three attempts"
    );
    assert_eq!(world.rows().await, ["two", "undo two: 1"]);
    assert_eq!(world.names("o-undo").await, ["untell", "untell", "unwrite", "untell", "untell"]);
}

#[tokio::test]
async fn a_cancel_without_undo_leaves_everything_until_the_run_fails_after_all() {
    let world = World::new(&[]).await;
    let host = world.builder.start().await;
    host.start_workflow("slow_failure", "o", &json!({ "run": "o" })).await;
    world.database.wait_for_steps("o", 2).await;
    let cancelled = world.builder.output(&["workflow", "cancel", "o", "--without-undo"]).await;
    assert!(cancelled.status.success(), "{cancelled:?}");
    world.forgotten().await;
    assert_eq!(world.rows().await, ["before"]);
    assert!(world.builder.output(&["workflow", "resume", "o"]).await.status.success());
    world.move_clock(2 * HOUR);
    assert_eq!(world.undone("o").await.status, "SUCCESS");
    assert_eq!(world.rows().await, ["before", "undo before: 1"]);
}

#[tokio::test]
async fn a_cancel_without_a_host_is_undone_at_the_next_start() {
    let world = World::new(&[]).await;
    let mut host = world.builder.start().await;
    sleeping(&world, &host, "o").await;
    host.kill9().await;
    assert!(world.builder.output(&["workflow", "cancel", "o"]).await.status.success());
    assert_eq!(world.database.status("o-undo").await, None);
    let _host = world.builder.start().await;
    check_undone(&world, "o").await;
}

/// One host is killed, another one serves the app too, and both look for what is to be undone.
#[tokio::test]
async fn a_saga_survives_kills_on_two_hosts_and_nothing_is_undone_twice() {
    for visit in [
        "undo.before_intent#1",
        "undo.after_intent#2",
        "parallel.after_effect#1",
        "finish.before_commit#1",
        "finish.after_commit#1",
        "undo.before_start#1",
        "undo.after_start#1",
        "transaction.before_flight#2",
        "transaction.after_flight#2",
    ] {
        let world = World::new(&[]).await;
        let lease = std::time::Duration::from_secs(1);
        let first = world.builder.clone().executor("first").lease(lease).kill_at(visit);
        let mut host = first.start().await;
        let _other = world.builder.clone().executor("second").lease(lease).start().await;
        host.start_workflow("order", "o", &arguments("o", "it fails")).await;
        let undo = world.undone("o").await;
        assert_eq!((undo.status.as_str(), undo.output.as_deref()), ("SUCCESS", Some(r#"{"undone":4}"#)), "{visit}");
        assert_eq!(world.rows().await, ["two", "undo two: 1"], "{visit}");
        assert_eq!(world.names("o-undo").await.len(), 4, "{visit}");
        let undone = world.outside.count(|request| request.json()["step"] == "undo one: one");
        assert!(undone >= 1, "{visit}");
        let runs = "SELECT count(*) FROM dbos.workflow_status";
        assert_eq!(world.database.count(runs, &[]).await, 2, "{visit}");
        host.kill9().await;
    }
}

/// Other programs delete runs without knowing what else there is of them.
#[tokio::test]
async fn what_undid_a_deleted_run_of_the_same_id_is_not_taken_for_its_own() {
    let world = World::new(&[]).await;
    let host = world.builder.start().await;
    sleeping(&world, &host, "o").await;
    assert!(world.builder.output(&["workflow", "cancel", "o"]).await.status.success());
    check_undone(&world, "o").await;
    const TABLES: [&str; 3] = ["dbos.workflow_status", "dbos.operation_outputs", "dbos_host.operation_digest"];
    for table in TABLES {
        world.database.execute(&format!("DELETE FROM {table} WHERE workflow_uuid = 'o'")).await;
    }
    let reply = host.run_workflow("order", "o", &arguments("o", "it fails")).await.unwrap();
    assert_eq!(reply.json()["error"]["message"], "it fails", "{reply:?}");
    host.wait_for_log("this workflow has the id of the one that would undo another").await;
    for table in TABLES {
        world.database.execute(&format!("DELETE FROM {table} WHERE workflow_uuid = 'o-undo'")).await;
    }
    // When it is out of the way, the run is undone after all.
    assert_eq!(world.undone("o").await.status, "SUCCESS");
    assert_eq!(world.rows().await, ["two", "undo two: 1", "two", "undo two: 1"]);
}

/// A fork has the records of its origin, and not what was undone of it.
#[tokio::test]
async fn a_fork_does_not_go_on_from_what_was_undone() {
    let world = World::new(&[]).await;
    let host = world.builder.start().await;
    sleeping(&world, &host, "o").await;
    assert!(world.builder.output(&["workflow", "cancel", "o"]).await.status.success());
    check_undone(&world, "o").await;
    let fork =
        async |step: &str, id: &str| world.builder.output(&["workflow", "fork", "o", "--step", step, "--id", id]).await;
    let refused = fork("3", "f").await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("error[undone]"), "{refused:?}");
    assert_eq!(world.database.status("f").await, None);
    let forked = fork("1", "f").await;
    assert!(forked.status.success(), "{forked:?}");
    world.database.wait_for_steps("f", 5).await;
    // Nobody gets an id that would be in the way.
    let reply = host.ask_to_start("half", "x-undo", &json!({ "run": "x" })).await.unwrap();
    assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("invalid_id")), "{reply:?}");
}

/// It would undo once more, or what is not its own to undo.
#[tokio::test]
async fn what_undoes_a_run_is_not_forked() {
    let world = World::new(&[]).await;
    let host = world.builder.start().await;
    sleeping(&world, &host, "o").await;
    assert!(world.builder.output(&["workflow", "cancel", "o"]).await.status.success());
    check_undone(&world, "o").await;
    let refused = world.builder.output(&["workflow", "fork", "o-undo", "--step", "1", "--id", "f"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("error[undoes]"), "{refused:?}");
    let post = async |path: &str, body: Value| Request::post(host.admin_url(path), &body).send().await.unwrap();
    for (path, body, expected) in [
        ("/workflows/o-undo/fork", json!({ "start_step": 1 }), (409, "undoes")),
        ("/workflows/o-undo/restart", json!({}), (409, "undoes")),
        ("/workflows/o/fork", json!({ "new_workflow_id": "p-undo" }), (400, "invalid_id")),
    ] {
        let reply = post(path, body).await;
        assert_eq!((reply.status, reply.json()["code"].as_str().unwrap()), expected, "{path}: {reply:?}");
    }
    let runs = "SELECT count(*) FROM dbos.workflow_status";
    assert_eq!(world.database.count(runs, &[]).await, 2, "there is no fork");
    // A client of DBOS refuses nothing. Its fork has an id that another run's undo is to have, and that run goes on.
    host.start_workflow("slow_failure", "p", &json!({ "run": "p" })).await;
    world.database.wait_for_steps("p", 2).await;
    let fork = "from dbos import SetWorkflowID\nwith SetWorkflowID('p-undo'):\n    client.fork_workflow('o-undo', 1)";
    python(&world.database, fork).await;
    let fork = world.database.wait_for_end("p-undo").await;
    assert_eq!(fork.status, "ERROR", "{fork:?}");
    assert!(fork.error.unwrap().contains("there is no run that it could undo"));
    assert_eq!(world.rows().await, ["two", "undo two: 1", "before"], "nothing was undone by it");
    // When it is out of the way, the other run is undone after all.
    assert!(world.builder.output(&["workflow", "cancel", "p"]).await.status.success());
    host.wait_for_log("this workflow has the id of the one that would undo another").await;
    world.database.execute("DELETE FROM dbos.workflow_status WHERE workflow_uuid = 'p-undo'").await;
    assert_eq!(world.undone("p").await.status, "SUCCESS");
    assert_eq!(world.rows().await, ["two", "undo two: 1", "before", "undo before: 1"]);
}

/// A client of DBOS does not know that a run is undone.
#[tokio::test]
async fn an_undone_run_that_another_program_resumes_is_stopped_before_any_effect() {
    let world = World::new(&[]).await;
    let host = world.builder.start().await;
    sleeping(&world, &host, "o").await;
    assert!(world.builder.output(&["workflow", "cancel", "o"]).await.status.success());
    check_undone(&world, "o").await;
    let resume = "UPDATE dbos.workflow_status SET status = 'ENQUEUED', queue_name = '_dbos_internal_queue',
                         recovery_attempts = 0, completed_at = NULL WHERE workflow_uuid = 'o'";
    // It is taken for a sleeper until it wakes up.
    world.move_clock(2 * HOUR);
    world.database.execute(resume).await;
    let run = world.database.wait_for_end("o").await;
    assert_eq!(run.status, "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "{run:?}");
    assert!(run.error.unwrap().contains("\"undone\""));
    assert_eq!(world.database.steps("o").await.len(), 5);
}

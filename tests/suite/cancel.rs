//! A cancelled run stops wherever it is, nothing is recorded for it any more, and whoever commits first wins.

use std::process::Output;

use dbos_host_tests::{Answer, Gate, HostBuilder, Outside, Reply, TestPostgres, eventually};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::small_steps::{World, arguments, start};

/// Runs `workflow cancel` and returns what it said.
async fn cancel(builder: &HostBuilder, words: &[&str]) -> Output {
    builder.output(&[&["workflow", "cancel"], words].concat()).await
}

/// Cancels a run that is there and has not ended.
pub(crate) async fn cancelled(builder: &HostBuilder, run: &str) {
    let output = cancel(builder, &[run]).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said == format!("{run}  cancelled\n"), "{output:?}");
}

/// Whoever waited for the run hears that it was cancelled, and the row says so.
async fn heard(world: &World, run: &str, reply: JoinHandle<std::io::Result<Reply>>) {
    let reply = reply.await.unwrap().unwrap();
    let problem = reply.json();
    assert_eq!((reply.status, &problem["workflowStatus"]), (500, &json!("CANCELLED")), "{run}: {reply:?}");
    assert_eq!((&problem["code"], &problem["error"]["code"]), (&json!("workflow_failed"), &json!("cancelled")));
    let row = world.database.run(run).await.unwrap();
    assert_eq!((row.status.as_str(), row.output, row.error), ("CANCELLED", None, None), "{run}");
}

/// A world in which requests are not answered before the gate is open.
async fn held_world() -> (World, Gate) {
    let (outside, gate) = Outside::held(Answer::json(&json!("heard"))).await;
    (World::with(TestPostgres::shared(), outside).await, gate)
}

/// One instance of each kind at a time: what a run does not give back, the next one does not get.
const NARROW: &str = "limits: { workflows: 1, steps: 1, processor_ms: 600000 }";

#[tokio::test]
async fn a_run_that_waits_for_an_answer_is_cancelled_and_gives_everything_back() {
    let (world, gate) = held_world().await;
    let builder = world.host().config(NARROW);
    let host = builder.start().await;
    let reply = host.ask("write_tell_write", "asks", &arguments("asks"));
    world.outside.wait_for(1).await;
    cancelled(&builder, "asks").await;
    heard(&world, "asks", reply).await;
    let after = host.run_workflow("serializable", "after", &arguments("after")).await.unwrap();
    assert_eq!((after.status, after.json()), (200, json!(1)), "{after:?}");
    gate.open();
    assert_eq!(world.database.steps("asks").await.len(), 1, "the request is not recorded");
    assert_eq!(world.effects("asks").await, ["before"]);
}

#[tokio::test]
async fn a_run_in_a_transaction_is_cancelled_and_the_transaction_rolled_back() {
    let world = World::on(TestPostgres::shared()).await;
    let builder = world.host().config(NARROW);
    let host = builder.start().await;
    let lock = world.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE effects IN EXCLUSIVE MODE").await.unwrap();
    let reply = host.ask("serializable", "writes", &arguments("writes"));
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'effects'::regclass";
    let waits = async |n| (world.database.count(waiting, &[]).await == n).then_some(());
    eventually("the transaction waits for the table", async || waits(1).await).await;
    cancelled(&builder, "writes").await;
    heard(&world, "writes", reply).await;
    // While the table is still locked: the statement does not go on waiting for it.
    eventually("its statement is given up", async || waits(0).await).await;
    lock.batch_execute("ROLLBACK").await.unwrap();
    let after = host.run_workflow("serializable", "after", &arguments("after")).await.unwrap();
    assert_eq!((after.status, after.json()), (200, json!(1)), "{after:?}");
    assert_eq!(world.effects("writes").await, [""; 0]);
    assert_eq!(world.database.steps("writes").await, []);
}

#[tokio::test]
async fn a_run_that_computes_is_cancelled() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("hostile").database(&database).config(NARROW);
    let host = builder.start().await;
    let reply = host.ask("bad_workflow", "computes", &json!({ "how": "loop" }));
    database.wait_for_steps("computes", 1).await;
    cancelled(&builder, "computes").await;
    assert_eq!(reply.await.unwrap().unwrap().json()["workflowStatus"], "CANCELLED");
    let after = host.run_workflow("neighbour", "after", &json!({})).await.unwrap();
    assert_eq!((after.status, after.json()), (200, json!(10)), "{after:?}");
}

#[tokio::test]
async fn runs_that_sleep_and_that_wait_for_an_instance_are_cancelled() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("many_steps").database(&database);
    let host = builder.start().await;
    let sleeps = host.ask("many_steps", "sleeps", &json!({ "steps": 1 }));
    database.wait_for_steps("sleeps", 2).await;
    cancelled(&builder, "sleeps").await;
    assert_eq!(sleeps.await.unwrap().unwrap().json()["workflowStatus"], "CANCELLED");

    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("hostile").database(&database).config(NARROW);
    let host = builder.start().await;
    host.start_workflow("bad_workflow", "computes", &json!({ "how": "loop" })).await;
    database.wait_for_steps("computes", 1).await;
    let waits = host.ask("neighbour", "waits", &json!({}));
    eventually("the run is started", async || database.run("waits").await).await;
    cancelled(&builder, "waits").await;
    assert_eq!(waits.await.unwrap().unwrap().json()["workflowStatus"], "CANCELLED");
    assert_eq!(database.steps("waits").await, []);
}

#[tokio::test]
async fn a_run_between_two_attempts_of_a_step_is_cancelled() {
    let world = World::on(TestPostgres::shared()).await;
    let (builder, hold) = world.host().config(NARROW).hold_at("communicator.after_failure#1");
    let host = builder.start().await;
    let reply = host.ask("write_tell_twice", "waits", &arguments("waits"));
    hold.reached().await;
    hold.release();
    cancelled(&world.host(), "waits").await;
    heard(&world, "waits", reply).await;
    let after = host.run_workflow("write_tell_write", "after", &arguments("after")).await.unwrap();
    assert_eq!((after.status, after.json()), (200, json!("\"heard\"")), "{after:?}");
    assert_eq!((world.told("waits"), world.database.steps("waits").await.len()), (1, 1), "the step has no record");
}

#[tokio::test]
async fn a_run_with_started_steps_is_cancelled_with_all_of_them() {
    let (world, gate) = held_world().await;
    let host = world.host().start().await;
    let lock = world.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE effects IN EXCLUSIVE MODE").await.unwrap();
    let reply = host.ask("all_at_once", "all", &arguments("all"));
    world.outside.wait_for(1).await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'effects'::regclass";
    let waits = async |n| (world.database.count(waiting, &[]).await == n).then_some(());
    eventually("the transaction waits for the table", async || waits(1).await).await;
    // The sleep.
    world.database.wait_for_steps("all", 1).await;
    cancelled(&world.host(), "all").await;
    heard(&world, "all", reply).await;
    eventually("its statement is given up", async || waits(0).await).await;
    lock.batch_execute("ROLLBACK").await.unwrap();
    gate.open();
    let after = host.run_workflow("write_tell_write", "after", &arguments("after")).await.unwrap();
    assert_eq!(after.status, 200, "{after:?}");
    assert_eq!(world.effects("all").await, [""; 0]);
    let names: Vec<String> = world.database.steps("all").await.into_iter().map(|step| step.name).collect();
    assert_eq!(names, ["DBOS.sleep"], "nothing is recorded of what was given up");
}

#[tokio::test]
async fn children_are_cancelled_when_that_is_asked_for() {
    let (world, gate) = held_world().await;
    let builder = world.host();
    let host = builder.start().await;
    let lock = world.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE effects IN EXCLUSIVE MODE").await.unwrap();
    for run in ["alone", "with all"] {
        start(&host, "parent", run).await;
        eventually("the child is there", async || world.database.run(&format!("{run}-1")).await).await;
    }
    cancelled(&builder, "alone").await;
    let output = cancel(&builder, &["with all", "--children", "--json"]).await;
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected = ["with all", "with all-1"].map(|id| json!({ "id": id, "result": "cancelled", "status": null }));
    assert_eq!((output.status.code(), told), (Some(0), json!(expected)));
    lock.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(world.database.output("alone-1").await, json!(1), "children outlive their parents");
    assert_eq!(world.database.status("alone").await.as_deref(), Some("CANCELLED"));
    assert_eq!(world.database.status("with all-1").await.as_deref(), Some("CANCELLED"));
    assert_eq!(world.effects("with all").await, [""; 0]);
    gate.open();
}

#[tokio::test]
async fn a_parent_hears_that_its_child_was_cancelled() {
    let world = World::on(TestPostgres::shared()).await;
    let builder = world.host();
    let host = builder.start().await;
    let lock = world.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE effects IN EXCLUSIVE MODE").await.unwrap();
    let reply = host.ask("parent", "p", &arguments("p"));
    eventually("the child is there", async || world.database.run("p-1").await).await;
    cancelled(&builder, "p-1").await;
    let reply = reply.await.unwrap().unwrap().json();
    assert_eq!((&reply["workflowStatus"], &reply["error"]["code"]), (&json!("ERROR"), &json!("cancelled")), "{reply}");
    lock.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn a_cancel_before_the_last_commit_of_a_run_wins() {
    for (visit, effects, records) in [
        ("transaction.before_flight#1", 0, 0),
        ("transaction.after_flight#1", 1, 1),
        ("record.before_commit#1", 1, 1),
        ("finish.before_append#1", 2, 3),
        ("finish.before_commit#1", 2, 3),
    ] {
        let world = World::on(TestPostgres::shared()).await;
        // A host that does not look has only its fences.
        for (run, host) in [("seen", world.host()), ("refused", world.host().heedless())] {
            let (builder, hold) = host.hold_at(visit);
            let host = builder.start().await;
            let reply = host.ask("write_tell_write", run, &arguments(run));
            hold.reached().await;
            cancelled(&world.host(), run).await;
            hold.release();
            heard(&world, run, reply).await;
            // What the host sent in vain has come by when it has done something else, in the same order.
            let after = format!("after {run}");
            host.run_workflow("serializable", &after, &arguments(&after)).await.unwrap();
            assert_eq!(world.effects(run).await.len(), effects, "{run} at {visit}");
            assert_eq!(world.database.steps(run).await.len(), records, "{run} at {visit}");
            assert_eq!(world.database.status(run).await.as_deref(), Some("CANCELLED"), "{run} at {visit}");
        }
    }
}

#[tokio::test]
async fn an_outcome_that_was_committed_first_stands() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "done").await;
    world.check_write_tell_write("done", 1).await;
    let row = "SELECT to_jsonb(s)::text FROM dbos.workflow_status s WHERE workflow_uuid = 'done'";
    let before: String = world.database.query(row, &[]).await[0].get(0);
    let output = cancel(&world.host(), &["done", "nobody"]).await;
    let expected = "\
error[workflow_ended]: failed to cancel the workflow `done`
  because it has ended: SUCCESS
error[no_such_workflow]: failed to find the workflow `nobody`
  because there is none with this id
";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(6), &b""[..]));
    assert_eq!(cancel(&world.host(), &["done"]).await.status.code(), Some(7));
    let after: String = world.database.query(row, &[]).await[0].get(0);
    assert_eq!(before, after, "nothing was changed");
}

#[tokio::test]
async fn a_run_that_was_cancelled_before_is_no_error() {
    let (world, _gate) = held_world().await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "twice").await;
    cancelled(&world.host(), "twice").await;
    let output = cancel(&world.host(), &["twice"]).await;
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"twice  already cancelled\n"[..]));
}

#[tokio::test]
async fn a_command_that_is_killed_has_cancelled_or_not_and_nothing_between() {
    for (visit, expected) in [("cancel.before_commit#1", "PENDING"), ("cancel.after_commit#1", "CANCELLED")] {
        let (world, gate) = held_world().await;
        let host = world.host().start().await;
        start(&host, "write_tell_write", "killed").await;
        world.outside.wait_for(1).await;
        let output = cancel(&world.host().kill_at(visit), &["killed"]).await;
        assert_eq!(output.status.code(), None, "{visit}: it is killed: {output:?}");
        assert_eq!(world.database.status("killed").await.as_deref(), Some(expected), "{visit}");
        gate.open();
        if expected == "PENDING" {
            world.check_write_tell_write("killed", 1).await;
        }
    }
}

#[tokio::test]
async fn a_cancelled_run_is_not_taken_up_by_the_next_host() {
    let (world, gate) = held_world().await;
    let mut host = world.host().start().await;
    start(&host, "write_tell_write", "cancelled").await;
    start(&host, "write_tell_write", "goes on").await;
    world.outside.wait_for(2).await;
    host.kill9().await;
    cancelled(&world.host(), "cancelled").await;
    gate.open();
    let _host = world.host().start().await;
    world.check_write_tell_write("goes on", 2).await;
    assert_eq!((world.told("cancelled"), world.effects("cancelled").await.len()), (1, 1));
    assert_eq!(world.database.status("cancelled").await.as_deref(), Some("CANCELLED"));
}

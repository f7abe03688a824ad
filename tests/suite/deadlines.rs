//! A run with a deadline is cancelled when its time is over, wherever it is and whoever notices; its children have the deadline
//! too, unless they are to have none.

use std::time::{Duration, Instant};

use dbos_host_tests::{Answer, Host, HostBuilder, Outside, Reply, Request, TestPostgres, eventually, until};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::children::Family;
use crate::small_steps::{World, arguments};

const HOUR: u64 = 3_600_000;

/// Starts a run that may last so many seconds, and waits for what becomes of it.
fn ask_within(host: &Host, seconds: &str, name: &str, id: &str, body: &Value) -> JoinHandle<std::io::Result<Reply>> {
    let request = Request::post(host.url(&format!("/workflows/{name}")), body).header("idempotency-key", id);
    tokio::spawn(request.header("workflow-timeout", seconds).send())
}

/// Whoever waits for a run hears that its time was over.
async fn passed(reply: JoinHandle<std::io::Result<Reply>>) {
    let problem = reply.await.unwrap().unwrap().json();
    let error = &problem["error"];
    assert_eq!((&problem["workflowStatus"], &error["code"]), (&json!("CANCELLED"), &json!("cancelled")), "{problem}");
    assert!(error["message"].as_str().unwrap().ends_with("was cancelled: its deadline has passed"), "{problem}");
    assert!(error["data"]["deadline"].is_u64(), "{problem}");
}

#[tokio::test]
async fn a_deadline_ends_a_run_that_sleeps_within_a_second() {
    let database = TestPostgres::shared().fresh_database().await;
    let host = HostBuilder::new("family").database(&database).start().await;
    let begun = Instant::now();
    passed(ask_within(&host, "1", "late_child", "s", &json!({ "milliseconds": HOUR }))).await;
    // A second for its time, and one more; the rest is for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let row = "SELECT completed_at - workflow_deadline_epoch_ms, workflow_timeout_ms FROM dbos.workflow_status";
    let row = &database.query(row, &[]).await[0];
    assert!((0..2_500).contains(&row.get::<_, i64>(0)), "{row:?}");
    assert_eq!(row.get::<_, i64>(1), 1_000);
    let told = Request::get(host.url("/workflows/s")).send().await.unwrap().json();
    assert!(told["deadline"].is_u64(), "{told}");
    let other = Request::get(host.url("/workflows/s/result")).send().await.unwrap().json();
    assert!(other["detail"].as_str().unwrap().ends_with("its deadline has passed"), "{other}");
}

#[tokio::test]
async fn a_deadline_ends_a_run_that_computes() {
    let family = Family::running("hostile").await;
    let builder = family.builder.clone().config("limits: { workflows: 1, processor_ms: 600000 }");
    let host = builder.start().await;
    let reply = ask_within(&host, "3600", "bad_workflow", "c", &json!({ "how": "loop" }));
    family.database.wait_for_steps("c", 1).await;
    family.move_clock(HOUR);
    passed(reply).await;
    let after = host.run_workflow("neighbour", "after", &json!({})).await.unwrap();
    assert_eq!((after.status, after.json()), (200, json!(10)), "its instance is gone: {after:?}");
}

#[tokio::test]
async fn a_deadline_ends_a_transaction_a_request_and_a_wait_for_an_instance() {
    let (outside, gate) = Outside::held(Answer::json(&json!("heard"))).await;
    let world = World::with(TestPostgres::shared(), outside).await;
    let builder = world.host().config("limits: { workflows: 2 }");
    let clock = builder.folder().join("clock");
    std::fs::write(&clock, "0").unwrap();
    let host = builder.clone().environment("DBOS_HOST_TEST_CLOCK", &clock.display().to_string()).start().await;
    let asks = ask_within(&host, "3600", "write_tell_write", "asks", &arguments("asks"));
    world.outside.wait_for(1).await;
    let lock = world.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE effects IN EXCLUSIVE MODE").await.unwrap();
    let writes = ask_within(&host, "3600", "serializable", "writes", &arguments("writes"));
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'effects'::regclass";
    until("the transaction waits", async || world.database.count(waiting, &[]).await == 1).await;
    let waits = ask_within(&host, "3600", "serializable", "waits", &arguments("waits"));
    eventually("the run is started", async || world.database.run("waits").await).await;
    std::fs::write(&clock, HOUR.to_string()).unwrap();
    passed(asks).await;
    passed(writes).await;
    passed(waits).await;
    lock.batch_execute("ROLLBACK").await.unwrap();
    gate.open();
    assert_eq!(world.effects("asks").await, ["before"]);
    assert_eq!((world.effects("writes").await, world.effects("waits").await), (vec![], vec![]));
}

#[tokio::test]
async fn children_inherit_the_deadline_unless_they_have_their_own_or_are_detached() {
    let family = Family::new().await;
    let host = family.builder.start().await;
    let start = |id: &str, terms: Value| {
        ask_within(&host, "3600", "start_on", id, &json!({ "terms": terms, "milliseconds": 3 * HOUR }))
    };
    let inherits = start("inherits", json!({}));
    let detached = start("detached", json!({ "detached": true }));
    let shorter = start("shorter", json!({ "timeout": HOUR / 2 }));
    let longer = start("longer", json!({ "timeout": 2 * HOUR }));
    for child in ["inherits-1", "detached-1", "shorter-1", "longer-1"] {
        family.database.wait_for_steps(child, 1).await;
    }
    let deadlines = "SELECT c.workflow_deadline_epoch_ms - p.workflow_deadline_epoch_ms, c.workflow_timeout_ms
                       FROM dbos.workflow_status c JOIN dbos.workflow_status p ON p.workflow_uuid = c.parent_workflow_id
                      WHERE c.workflow_uuid = $1 || '-1'";
    let deadline = async |id: &str| {
        let row = &family.database.query(deadlines, &[&id]).await[0];
        (row.get::<_, Option<i64>>(0), row.get::<_, Option<i64>>(1))
    };
    assert_eq!(deadline("inherits").await, (Some(0), None));
    assert_eq!(deadline("detached").await, (None, None));
    family.move_clock(HOUR / 2 + HOUR / 4);
    // The child's end is an answer for its parent.
    let told = shorter.await.unwrap().unwrap().json();
    assert_eq!(told[1][0], "cancelled", "{told}");
    assert!(told[1][1].as_str().unwrap().ends_with("its deadline has passed"), "{told}");
    family.move_clock(HOUR + HOUR / 4);
    for reply in [inherits, detached, longer] {
        passed(reply).await;
    }
    family.database.wait_for_end("inherits-1").await;
    let status = async |id: &str| family.database.status(id).await.unwrap();
    assert_eq!(status("inherits-1").await, "CANCELLED");
    assert_eq!((status("detached-1").await, status("longer-1").await), ("PENDING".into(), "PENDING".into()));
    family.move_clock(2 * HOUR + HOUR / 4);
    assert_eq!(family.database.wait_for_end("longer-1").await.status, "CANCELLED");
    family.move_clock(4 * HOUR);
    assert_eq!(family.database.output("detached-1").await, json!(3 * HOUR), "children outlive their parents");
}

/// The parent starts its child after a crash, with the deadline that it had before.
#[tokio::test]
async fn a_deadline_is_inherited_after_a_crash_and_an_hour_in_a_wait() {
    let family = Family::new().await;
    // Before the child starts its own.
    let mut host = family.builder.clone().kill_at("gate.before_effect#2").start().await;
    let killed = ask_within(&host, "3600", "patient_grandparent", "g", &json!({ "milliseconds": 5 * HOUR }));
    host.wait_for_exit().await;
    assert!(killed.await.unwrap().is_err());
    let started = "SELECT count(*) FROM dbos.workflow_status";
    assert_eq!(family.database.count(started, &[]).await, 2);
    family.move_clock(HOUR / 2);
    host = family.builder.start().await;
    family.database.wait_for_steps("g-1-1", 1).await;
    let deadlines = "SELECT count(DISTINCT workflow_deadline_epoch_ms) FROM dbos.workflow_status";
    assert_eq!(family.database.count(deadlines, &[]).await, 1);
    family.move_clock(HOUR);
    for run in ["g", "g-1", "g-1-1"] {
        assert_eq!(family.database.wait_for_end(run).await.status, "CANCELLED", "{run}");
    }
    drop(host);
}

#[tokio::test]
async fn a_deadline_that_passes_while_no_host_runs_counts_at_the_next_start() {
    let family = Family::new().await;
    let mut host = family.builder.start().await;
    let gone = ask_within(&host, "3600", "patient_parent", "p", &json!({ "milliseconds": 2 * HOUR }));
    family.database.wait_for_steps("p-1", 1).await;
    host.kill9().await;
    assert!(gone.await.unwrap().is_err());
    // The sleep is over as well by then: the deadline was first, and whoever takes the runs up heeds it.
    family.move_clock(3 * HOUR);
    let _host = family.builder.start().await;
    assert_eq!(family.database.wait_for_end("p-1").await.status, "CANCELLED");
    assert_eq!(family.database.wait_for_end("p").await.status, "CANCELLED");
    assert_eq!(family.database.steps("p").await.len(), 1);
}

/// A host of the app cancels the run of another, whose look is not needed.
#[tokio::test]
async fn any_host_of_the_app_ends_a_run_whose_time_is_over() {
    let family = Family::new().await;
    let heedless = family.builder.clone().heedless();
    let host = heedless.start().await;
    let reply = ask_within(&host, "3600", "late_child", "s", &json!({ "milliseconds": 2 * HOUR }));
    family.database.wait_for_steps("s", 1).await;
    let clock = family.builder.folder().join("clock").display().to_string();
    let other = HostBuilder::new("family").database(&family.database).executor("other");
    let _other = other.environment("DBOS_HOST_TEST_CLOCK", &clock).start().await;
    family.move_clock(HOUR);
    passed(reply).await;
    assert_eq!(family.database.steps("s").await.len(), 1);
}

#[tokio::test]
async fn a_host_that_dies_while_it_ends_runs_leaves_the_rest_to_the_next() {
    for visit in ["deadline.before_page#1", "deadline.after_page#1"] {
        let family = Family::new().await;
        let mut host = family.builder.clone().kill_at(visit).start().await;
        for id in ["a", "b"] {
            let reply = ask_within(&host, "3600", "late_child", id, &json!({ "milliseconds": 2 * HOUR }));
            family.database.wait_for_steps(id, 1).await;
            drop(reply);
        }
        family.move_clock(HOUR);
        host.wait_for_exit().await;
        let left = if visit.starts_with("deadline.before") { "PENDING" } else { "CANCELLED" };
        assert_eq!(family.database.status("a").await.as_deref(), Some(left), "{visit}");
        let _host = family.builder.start().await;
        assert_eq!(family.database.wait_for_end("a").await.status, "CANCELLED", "{visit}");
        assert_eq!(family.database.wait_for_end("b").await.status, "CANCELLED", "{visit}");
    }
}

#[tokio::test]
async fn a_time_that_cannot_be_is_refused_before_anything_is_written() {
    let family = Family::new().await;
    let host = family.builder.start().await;
    for wrong in ["0", "soon", "-3", "1.5", "99999999999"] {
        let reply = ask_within(&host, wrong, "late_child", "s", &json!({ "milliseconds": 1 })).await.unwrap().unwrap();
        assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("bad_timeout")), "{wrong}: {reply:?}");
    }
    assert_eq!(family.database.run("s").await.map(|run| run.status), None);
}

/// A client that sends a start again hears of the same run, whatever time it gives it now.
#[tokio::test]
async fn a_start_that_is_sent_again_with_another_time_is_the_same_run() {
    let family = Family::new().await;
    let host = family.builder.start().await;
    let arguments = json!({ "milliseconds": 5 });
    for seconds in ["60", "90"] {
        let reply = ask_within(&host, seconds, "late_child", "s", &arguments).await.unwrap().unwrap();
        assert_eq!((reply.status, reply.json()), (200, json!(5)), "{reply:?}");
    }
    let timeout = "SELECT workflow_timeout_ms FROM dbos.workflow_status";
    assert_eq!(family.database.count(timeout, &[]).await, 60_000);
}

//! A run whose row exists is driven to its end, whatever happened to whoever asked for it or to the host's lease in the
//! meantime; and an id means one call, whatever is asked under it.

use std::time::Duration;

use dbos_host_tests::{Database, HostBuilder, Reply, Request, TestPostgres, eventually};
use rustix::process::Signal;
use serde_json::json;

use crate::small_steps::{World, start};

/// A lease that is over soon. Long enough for a busy machine to renew it in time: it is renewed three times as often.
const SHORT_LEASE: Duration = Duration::from_millis(1500);

/// Far longer than any answer that is computed in memory takes, and far shorter than a wait that has no end.
const AT_ONCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_start_whose_client_went_away_is_driven_to_its_end() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    // Nobody can write a start while this is held.
    let lock = world.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE dbos.workflow_status IN EXCLUSIVE MODE").await.unwrap();
    let ids: Vec<String> = (1..=5).map(|n| format!("left-{n}")).collect();
    let mut clients = Vec::new();
    for id in &ids {
        let request = Request::post(host.url("/workflows/serializable"), &json!({ "run": id }));
        let request = request.header("idempotency-key", id).header("prefer", "respond-async");
        clients.push(tokio::spawn(request.send()));
    }
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'dbos.workflow_status'::regclass";
    eventually("a start waits for the table", async || (world.database.count(waiting, &[]).await > 0).then_some(()))
        .await;
    // Each of the requests has reached the host before this later one is answered.
    for client in clients {
        assert_eq!(Request::get(host.url("/nowhere")).send().await.unwrap().status, 404);
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
    }
    eventually("the host notices that its clients are gone", async || (host.open_connections() == 0).then_some(()))
        .await;
    lock.batch_execute("ROLLBACK").await.unwrap();
    // A later start, which lands behind them, tells that the journal has come to them or has dropped them.
    start(&host, "serializable", "last").await;
    world.database.wait_for_end("last").await;
    let mut written = 0;
    for id in &ids {
        if world.database.run(id).await.is_some() {
            written += 1;
            assert_eq!(world.database.output(id).await, json!(1), "{id}");
            assert_eq!(world.effects(id).await, ["only"], "{id}");
        }
    }
    assert!(written > 0, "a start was being written when its client went away");
}

/// The host's lease is over by the database's clock, and the host does not know it.
async fn wait_until_lapsed(database: &Database) {
    let alive = "SELECT count(*) FROM dbos_host.executor WHERE lease_expires_at > clock_timestamp()";
    eventually("the lease is over", async || (database.count(alive, &[]).await == 0).then_some(())).await;
}

#[tokio::test]
async fn a_start_that_is_written_after_its_lease_is_driven_to_its_end() {
    let world = World::on(TestPostgres::shared()).await;
    // Either the start is written before the host has its new lease, or after.
    for is_renewed_first in [false, true] {
        let run = format!("renewed first: {is_renewed_first}");
        let (builder, hold) = world.host().lease(SHORT_LEASE).note_visits().hold_at("start.before_commit#1");
        let host = builder.start().await;
        let reply = tokio::spawn({
            let request = Request::post(host.url("/workflows/serializable"), &json!({ "run": run }));
            request.header("idempotency-key", &run).send()
        });
        hold.reached().await;
        host.signal(Signal::STOP);
        let looks = || builder.visits().iter().filter(|visit| visit.starts_with("recovery.after_page")).count();
        let looks_before = looks();
        wait_until_lapsed(&world.database).await;
        if !is_renewed_first {
            hold.release();
        }
        host.signal(Signal::CONT);
        if is_renewed_first {
            host.wait_for_log("its workflows are claimed anew").await;
            // It has looked for what it left in its old life, and has not found the start.
            eventually("the host looks for its own runs", async || (looks() > looks_before).then_some(())).await;
            hold.release();
        }
        assert_eq!(world.database.output(&run).await, json!(1), "{run}");
        let reply = reply.await.unwrap().unwrap();
        assert_eq!((reply.status, reply.json()), (200, json!(1)), "{run}: {reply:?}");
        assert_eq!(world.effects(&run).await, ["only"], "{run}");
    }
}

#[tokio::test]
async fn a_start_that_waits_for_longer_than_its_lease_is_driven_to_its_end() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().lease(SHORT_LEASE).start().await;
    let lock = world.database.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE dbos.workflow_status IN EXCLUSIVE MODE").await.unwrap();
    // With the table of leases as well, the host cannot renew its own.
    lock.batch_execute("LOCK TABLE dbos_host.executor IN EXCLUSIVE MODE").await.unwrap();
    let reply = tokio::spawn({
        let request = Request::post(host.url("/workflows/serializable"), &json!({ "run": "waits" }));
        request.header("idempotency-key", "waits").send()
    });
    wait_until_lapsed(&world.database).await;
    lock.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(world.database.output("waits").await, json!(1));
    let reply = reply.await.unwrap().unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!(1)), "{reply:?}");
    assert_eq!(world.effects("waits").await, ["only"]);
}

/// The guest `starts` on a fresh database that has its table.
async fn prepared() -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("starts").database(&database).migrations("tests/guests/starts/migrations");
    builder.migrate().await;
    (database, builder)
}

#[tokio::test]
async fn a_start_that_fails_and_is_caught_is_the_same_in_a_replay() {
    let (database, builder) = prepared().await;
    // Its child's id would be too long; that fails before there is anything to record.
    let id = "x".repeat(511);
    for (n, visit) in ["transaction.begun#2", "gate.before_answer#2", "finish.before_commit#1"].iter().enumerate() {
        let id = format!("{n}{}", &id[1..]);
        let text = format!("caught-{n}");
        let mut host = builder.clone().kill_at(visit).start().await;
        let reply = host.run_workflow("catch", &id, &json!({ "text": text })).await;
        if reply.is_ok() {
            panic!("{visit}: the host was not killed: {reply:?}");
        }
        host.wait_for_exit().await;
        let _host = builder.start().await;
        let told = database.output(&id).await;
        assert!(told.as_str().is_some_and(|told| told.starts_with("caught: ")), "{visit}: {told}");
        let rows = database.count("SELECT count(*) FROM written WHERE text = $1", &[&text]).await;
        assert_eq!(rows, 2, "{visit}");
    }
}

#[tokio::test]
async fn an_id_that_cannot_be_is_an_error_at_once() {
    let (_database, builder) = prepared().await;
    let host = builder.start().await;
    let at_once = async |request: Request| -> Reply {
        let reply = tokio::time::timeout(AT_ONCE, request.send()).await;
        reply.expect("an answer comes at once").expect("the host answers")
    };
    for request in [Request::get(host.url("/impossible")), Request::post(host.url("/workflows/impossible"), &json!({}))]
    {
        let reply = at_once(request).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let told: [String; 2] = serde_json::from_value(reply.json()).expect("two texts");
        assert!(told.iter().all(|told| told.starts_with("error: ")), "{told:?}");
    }
    let reply = at_once(Request::get(host.url("/workflows/zero%00byte"))).await;
    assert!([400, 404].contains(&reply.status), "{reply:?}");
}

#[tokio::test]
async fn one_key_of_two_different_requests_is_a_conflict() {
    let (database, builder) = prepared().await;
    let host = builder.start().await;
    let post = async |path: &str| {
        let request = Request::new("POST", host.url(path)).header("idempotency-key", "order-7");
        request.send().await.expect("the host answers")
    };
    let charged = post("/charge").await;
    assert_eq!((charged.status, charged.body.as_str()), (200, "charged"));
    let again = post("/charge").await;
    assert_eq!((again.status, again.body.as_str()), (200, "charged"));
    let refunded = post("/refund").await;
    assert!(refunded.status >= 400, "the refund was answered with what the charge returned: {refunded:?}");
    assert!(refunded.body.contains("order-7"), "{refunded:?}");
    let names = database.query("SELECT workflow_uuid, name FROM dbos.workflow_status", &[]).await;
    let names: Vec<(&str, &str)> = names.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(names, [("order-7-1", "temp:charge")]);
}

//! A host that does not own a run writes nothing for it, whatever it thinks and whenever it wakes up.

use std::time::Duration;

use dbos_host_tests::{Answer, Hold, Host, Outside, TestPostgres, eventually};
use rustix::process::Signal;
use serde_json::json;

use crate::small_steps::{World, arguments, start};

/// A lease that is over soon. Long enough for a busy machine to renew it in time: it is renewed three times as often.
const SHORT_LEASE: Duration = Duration::from_millis(1500);

/// What a loser says.
const NOT_OWNER: &str = "this host does not own the workflow any more";

const LEVELS: [&str; 3] = ["serializable", "repeatable_read", "read_committed"];

/// A claim is taken away while the host is held at a visit of a fail point; then the host goes on.
async fn lose_claim_at(world: &World, workflow: &str, visit: &str) -> String {
    let run = format!("{workflow} at {visit}");
    let (builder, hold) = world.host().heedless().hold_at(visit);
    let host = builder.start().await;
    let reply = tokio::spawn({
        let request = dbos_host_tests::Request::post(host.url(&format!("/workflows/{workflow}")), &arguments(&run));
        request.header("idempotency-key", &run).header("prefer", "respond-async").send()
    });
    hold.reached().await;
    world.take_away(&run).await;
    hold.release();
    host.wait_for_log(NOT_OWNER).await;
    reply.abort();
    run
}

#[tokio::test]
async fn a_claim_taken_away_in_a_transaction_leaves_nothing_of_the_loser() {
    let world = World::on(TestPostgres::shared()).await;
    for level in LEVELS {
        for visit in ["gate.before_effect#1", "transaction.begun#1", "transaction.before_flight#1"] {
            let run = lose_claim_at(&world, level, visit).await;
            assert_eq!(world.effects(&run).await, [""; 0], "{run}");
            assert_eq!(world.database.steps(&run).await, [], "{run}");
            assert_still_others(&world, &run).await;
        }
    }
}

#[tokio::test]
async fn a_claim_taken_away_after_a_transaction_leaves_no_outcome_of_the_loser() {
    let world = World::on(TestPostgres::shared()).await;
    for level in LEVELS {
        for visit in ["transaction.after_flight#1", "gate.before_answer#1", "finish.before_commit#1"] {
            let run = lose_claim_at(&world, level, visit).await;
            assert_eq!(world.effects(&run).await, ["only"], "{run}");
            assert_eq!(world.database.steps(&run).await.len(), 1, "{run}");
            assert_still_others(&world, &run).await;
        }
    }
}

#[tokio::test]
async fn a_claim_taken_away_before_a_record_or_a_childs_start_leaves_neither() {
    let world = World::on(TestPostgres::shared()).await;
    let run = lose_claim_at(&world, "write_tell_write", "record.before_commit#1").await;
    assert_eq!(world.effects(&run).await, ["before"]);
    assert_eq!(world.database.steps(&run).await.len(), 1, "the request is not recorded");
    assert_eq!(world.told(&run), 1);
    assert_still_others(&world, &run).await;

    // The first start is the parent's own.
    let run = lose_claim_at(&world, "parent", "start.before_commit#2").await;
    assert_eq!(world.database.steps(&run).await, []);
    assert_eq!(world.database.run(&format!("{run}-1")).await, None, "there is no child");
    assert_still_others(&world, &run).await;
}

async fn assert_still_others(world: &World, run: &str) {
    let row = world.database.run(run).await.expect("a run that was taken away is still there");
    assert_eq!((row.status.as_str(), row.executor.as_deref()), ("PENDING", Some("other")), "{run}");
    assert_eq!((row.output, row.error), (None, None), "{run}");
}

/// Two hosts of one database. The first is held, then stopped, until the second has taken over and finished its run.
async fn zombie(world: &World, visit: &str) -> (String, Host, Hold) {
    let run = format!("zombie at {visit}");
    let (sleeper, hold) = world.host().executor("sleeper").heedless().lease(SHORT_LEASE).hold_at(visit);
    let sleeper = sleeper.start().await;
    start(&sleeper, "write_tell_write", &run).await;
    hold.reached().await;
    sleeper.signal(Signal::STOP);
    let mut heir = world.host().executor("heir").lease(SHORT_LEASE).start().await;
    assert_eq!(world.database.output(&run).await, json!("\"heard\""));
    assert_eq!(world.database.run(&run).await.unwrap().executor.as_deref(), Some("heir"));
    heir.stop().await;
    (run, sleeper, hold)
}

#[tokio::test]
async fn a_stopped_host_that_wakes_up_after_a_take_over_writes_nothing() {
    let world = World::on(TestPostgres::shared()).await;
    for visit in [
        // Before and in a transaction.
        "gate.before_effect#1",
        "transaction.before_flight#1",
        // Before the record of a request, and before the outcome.
        "record.before_commit#1",
        "finish.before_commit#1",
    ] {
        let (run, sleeper, hold) = zombie(&world, visit).await;
        let requests = world.told(&run);
        // The one that was sent and not recorded is sent again by the heir; nothing else is.
        assert_eq!(requests, if visit.starts_with("record") { 2 } else { 1 }, "{run}");
        hold.release();
        sleeper.signal(Signal::CONT);
        sleeper.wait_for_log(NOT_OWNER).await;
        world.check_write_tell_write(&run, requests).await;
    }
}

#[tokio::test]
async fn a_stopped_host_that_wakes_up_does_not_send_what_the_heir_has_recorded() {
    let world = World::on(TestPostgres::shared()).await;
    // The next thing that it would do is to send a request.
    let (run, sleeper, hold) = zombie(&world, "gate.before_answer#1").await;
    assert_eq!(world.told(&run), 1);
    hold.release();
    sleeper.signal(Signal::CONT);
    sleeper.wait_for_log(NOT_OWNER).await;
    world.check_write_tell_write(&run, 1).await;
}

#[tokio::test]
async fn a_request_of_a_stopped_host_is_not_recorded_when_it_wakes_up() {
    // The first request is answered late, the heir's at once.
    let (world, gate) = World::with_a_late_answer().await;
    let sleeper = world.host().executor("sleeper").heedless().lease(SHORT_LEASE).start().await;
    start(&sleeper, "write_tell_write", "late").await;
    world.outside.wait_for(1).await;
    sleeper.signal(Signal::STOP);
    let _heir = world.host().executor("heir").lease(SHORT_LEASE).start().await;
    world.check_write_tell_write("late", 2).await;
    gate.open();
    sleeper.signal(Signal::CONT);
    sleeper.wait_for_log(NOT_OWNER).await;
    world.check_write_tell_write("late", 2).await;
}

#[tokio::test]
async fn another_host_takes_over_from_a_killed_one_when_its_lease_is_over() {
    let (world, _gate) = World::with_a_late_answer().await;
    let mut first = world.host().executor("first").lease(SHORT_LEASE).start().await;
    let _second = world.host().executor("second").lease(SHORT_LEASE).start().await;
    start(&first, "write_tell_write", "inherited").await;
    world.outside.wait_for(1).await;
    first.kill9().await;
    world.check_write_tell_write("inherited", 2).await;
    assert_eq!(world.database.run("inherited").await.unwrap().executor.as_deref(), Some("second"));
}

#[tokio::test]
async fn the_same_id_started_at_once_on_one_host_and_on_two_is_one_run() {
    let (outside, gate) = Outside::held(Answer::json(&json!("heard"))).await;
    let world = World::with(TestPostgres::shared(), outside).await;
    let one = world.host().executor("one").start().await;
    let two = world.host().executor("two").start().await;
    for (run, hosts) in [("one host", [&one, &one]), ("two hosts", [&one, &two])] {
        let arguments = arguments(run);
        let (first, second, ()) = tokio::join!(
            hosts[0].run_workflow("write_tell_write", run, &arguments),
            hosts[1].run_workflow("write_tell_write", run, &arguments),
            async {
                // Both are waiting for the one run when it gets its answer.
                eventually("a request arrives", async || (world.told(run) > 0).then_some(())).await;
                gate.open();
            },
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!((first.status, first.json()), (200, json!("\"heard\"")), "{run}: {first:?}");
        assert_eq!((second.status, second.json()), (200, json!("\"heard\"")), "{run}: {second:?}");
        world.check_write_tell_write(run, 1).await;
    }
}

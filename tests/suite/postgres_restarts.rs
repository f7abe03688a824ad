//! The database goes away in the middle, as in a crash, and comes back: runs wait and then end as if nothing had
//! happened. A failure of the database is never the outcome of a run.

use dbos_host_tests::TestPostgres;

use crate::small_steps::{World, start};

#[tokio::test]
async fn postgres_is_restarted_in_a_transaction_and_between_steps() {
    let server = TestPostgres::start();
    let world = World::on(&server).await;
    for visit in [
        // The guest's SQL has not begun; it has run and is not committed; it is committed.
        "transaction.begun#1",
        "transaction.before_flight#1",
        "transaction.after_flight#1",
        // Between two steps; before and after the record of a request; before and after the outcome.
        "gate.before_effect#2",
        "record.before_commit#1",
        "record.after_commit#1",
        "finish.before_commit#1",
        "finish.after_commit#1",
    ] {
        let (builder, hold) = world.host().hold_at(visit);
        let mut host = builder.start().await;
        start(&host, "write_tell_write", visit).await;
        hold.reached().await;
        server.restart_immediate().await;
        hold.release();
        world.check_write_tell_write(visit, 1).await;
        host.stop().await;
    }
}

#[tokio::test]
async fn a_start_waits_for_postgres() {
    let server = TestPostgres::start();
    let world = World::on(&server).await;
    let (builder, hold) = world.host().hold_at("start.before_commit#1");
    let host = builder.start().await;
    let arguments = crate::small_steps::arguments("patient");
    let (reply, ()) = tokio::join!(host.run_workflow("write_tell_write", "patient", &arguments), async {
        hold.reached().await;
        server.stop_immediate().await;
        hold.release();
        host.wait_for_log("cannot write the journal").await;
        server.start_again().await;
    });
    assert_eq!(reply.unwrap().status, 200);
    world.check_write_tell_write("patient", 1).await;
}

#[tokio::test]
async fn postgres_is_restarted_during_recovery() {
    let server = TestPostgres::start();
    let world = World::on(&server).await;
    for visit in [
        "recovery.before_page#1",
        "recovery.after_page#1",
        "attempt.before_count#1",
        "attempt.after_count#1",
        "attempt.before_instance#1",
    ] {
        let (builder, hold) = world.host().hold_at("gate.before_effect#2");
        let mut host = builder.start().await;
        start(&host, "write_tell_write", visit).await;
        hold.reached().await;
        host.kill9().await;

        let (builder, hold) = world.host().hold_at(visit);
        let mut host = builder.start().await;
        hold.reached().await;
        server.restart_immediate().await;
        hold.release();
        world.check_write_tell_write(visit, 1).await;
        host.stop().await;
    }
}

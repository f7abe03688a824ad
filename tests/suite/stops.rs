//! Stopping a host is nothing to its runs: not an attempt of theirs, and no reason to send a request twice.

use std::fs;
use std::time::Duration;

use dbos_host_tests::{Answer, Gate, Host, HostBuilder, Outside, TestPostgres, eventually};
use rustix::process::Signal;
use serde_json::json;

use crate::small_steps::{World, start};

/// A lease that is over soon. Long enough for a busy machine to renew it in time: it is renewed three times as often.
const SHORT_LEASE: Duration = Duration::from_millis(1500);

/// So many renewals by another host take longer than a lease.
const MORE_THAN_A_LEASE: usize = 5;

/// How often a host visited a fail point.
fn visits(builder: &HostBuilder, point: &str) -> usize {
    builder.visits().iter().filter(|visit| visit.starts_with(&format!("{point}#"))).count()
}

async fn terminate(host: &mut Host) {
    host.signal(Signal::TERM);
    let status = host.wait_for_exit().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn stops_are_not_attempts_of_a_run_that_sleeps() {
    let database = TestPostgres::shared().fresh_database().await;
    // With one instance, who sleeps gives it up for whoever wants to run.
    let builder = HostBuilder::new("many_steps").database(&database).config("limits: { workflows: 1 }");
    let clock = builder.folder().join("clock");
    fs::write(&clock, "0").unwrap();
    let builder = builder.environment("DBOS_HOST_TEST_CLOCK", &clock.display().to_string());

    let mut sleepers: Vec<String> = Vec::new();
    for life in 1..=5 {
        let mut host = builder.start().await;
        if life > 1 {
            host.wait_for_log("recovering ").await;
        }
        // This one comes after those of earlier lives: when it sleeps, they have had their turn.
        let sleeper = format!("sleeper-{life}");
        host.start_workflow("many_steps", &sleeper, &json!({ "steps": 1 })).await;
        database.wait_for_steps(&sleeper, 2).await;
        sleepers.push(sleeper);
        terminate(&mut host).await;
        for sleeper in &sleepers {
            let run = database.run(sleeper).await.unwrap();
            assert_eq!(run.status, "PENDING", "`{sleeper}`: {run:?}");
            assert!(run.attempts <= 1, "`{sleeper}` in life {life}: {run:?}");
        }
    }
    fs::write(&clock, "86400000").unwrap();
    let _host = builder.start().await;
    for sleeper in &sleepers {
        assert_eq!(database.output(sleeper).await, json!(1), "{sleeper}");
    }
}

/// A host with a request that is not answered yet, another host of the same database, and the gate to the answer.
async fn asking() -> (World, Host, Host, HostBuilder, Gate) {
    let (outside, gate) = Outside::held(Answer::json(&json!("heard"))).await;
    let world = World::with(TestPostgres::shared(), outside).await;
    let first = world.host().executor("first").lease(SHORT_LEASE).start().await;
    let second_builder = world.host().executor("second").lease(SHORT_LEASE).note_visits();
    let second = second_builder.start().await;
    start(&first, "write_tell_write", "asks").await;
    world.outside.wait_for(1).await;
    (world, first, second, second_builder, gate)
}

#[tokio::test]
async fn a_request_that_is_answered_while_its_host_stops_is_not_sent_again() {
    let (world, mut first, _second, second_builder, gate) = asking().await;
    first.signal(Signal::TERM);
    first.wait_for_log("stopping").await;
    let renewals = visits(&second_builder, "lease.before_renewal");
    eventually("more than a lease is over", async || {
        (visits(&second_builder, "lease.before_renewal") >= renewals + MORE_THAN_A_LEASE).then_some(())
    })
    .await;
    assert!(!first.has_ended(), "a call that runs has its time");
    assert_eq!(world.told("asks"), 1, "the second host has sent what the first one is still sending");
    gate.open();
    assert!(first.wait_for_exit().await.success());
    world.check_write_tell_write("asks", 1).await;
    assert_eq!(world.database.run("asks").await.unwrap().executor.as_deref(), Some("second"));
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_sent_by_the_next_host_when_the_first_has_ended() {
    let (world, mut first, _second, _second_builder, gate) = asking().await;
    first.signal(Signal::TERM);
    first.wait_for_log("stopping").await;
    // The second request can only come from the second host.
    world.outside.wait_for(2).await;
    assert!(first.ends_soon().await, "the second host has not waited for the first");
    gate.open();
    world.check_write_tell_write("asks", 2).await;
}

/// A host that was told to stop before it served anything ends well, and soon.
async fn ends_before_it_serves(mut host: Host, signal: Signal) {
    host.signal(signal);
    let status = host.wait_for_exit().await;
    assert!(status.success(), "{status}");
    let log = host.log();
    assert!(log.contains("stopped before anything was served") && !log.contains("listening"), "{log}");
}

#[tokio::test]
async fn a_signal_ends_a_host_whose_database_does_not_answer() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://me@{}/x", silent.local_addr().unwrap());
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let host = HostBuilder::new("many_steps").database_url(&url).launch();
        let (_connection, _) = silent.accept().await.unwrap();
        ends_before_it_serves(host, signal).await;
    }
}

#[tokio::test]
async fn a_signal_while_the_local_postgres_is_made_leaves_no_server() {
    let builder = HostBuilder::new("many_steps").own_state();
    let host = builder.launch();
    host.wait_for_log("creating a local Postgres").await;
    ends_before_it_serves(host, Signal::TERM).await;
    let home = builder.state().join("postgres");
    assert!(!home.join("data/postmaster.pid").exists(), "the server was stopped");
    assert!(home.join("data/PG_VERSION").exists(), "what was made is whole, for the next run");
}

#[tokio::test]
async fn a_closed_terminal_is_a_graceful_end() {
    let database = TestPostgres::shared().fresh_database().await;
    let mut host = HostBuilder::new("many_steps").database(&database).start().await;
    host.signal(Signal::HUP);
    assert!(host.wait_for_exit().await.success());
    assert!(host.log().contains("stopping: running calls have 5 s"), "{}", host.log());
}

#[tokio::test]
async fn a_second_signal_ends_a_host_that_waits_for_a_call() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let (_world, mut first, _second, _second_builder, _gate) = asking().await;
        first.signal(Signal::TERM);
        first.wait_for_log("stopping").await;
        first.signal(signal);
        assert_eq!(first.wait_for_exit().await.code(), Some(code));
    }
}

//! A workflow of one transaction is one commit: its start, the guest's SQL, the record and the outcome, or nothing of it.
//!
//! The host puts writes off for it: a start that nobody needs before the result is withheld until a transaction carries it,
//! and the guest sees the transaction's result while that is still open. Whatever comes in between must be as if it had not
//! done so.
//!
//! A host does this with a workflow whose last run was one transaction, so each test lets it run once before.

use std::time::Duration;

use dbos_host_tests::{Hold, Host, HostBuilder, Reply, Request, TestPostgres, WRITTEN_BY, eventually};
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::small_steps::{World, arguments};

/// A lease that is over soon. Long enough for a busy machine to renew it in time: it is renewed three times as often.
const SHORT_LEASE: Duration = Duration::from_millis(1500);

/// In how many transactions the rows of a run were written, those of the guest too.
fn commits() -> String {
    format!(
        "SELECT count(DISTINCT x) FROM ({WRITTEN_BY}
         UNION ALL SELECT xmin::text FROM effects WHERE run = $1) AS written"
    )
}

/// The world, and a host that has learnt what its workflows do and is held at a visit of a fail point.
async fn learnt(builder: &HostBuilder) -> Host {
    let host = builder.start().await;
    for workflow in ["serializable", "repeatable_read", "read_committed", "counted"] {
        let run = format!("learnt {workflow}");
        host.run_workflow(workflow, &run, &arguments(&run)).await.expect("an answer");
    }
    host
}

async fn held_at(world: &World, visit: &str) -> (Host, Hold) {
    let (builder, hold) = world.host().patient().hold_at(visit);
    (learnt(&builder).await, hold)
}

/// Starts a run in the background and waits for its result.
fn ask(host: &Host, workflow: &str, run: &str) -> JoinHandle<std::io::Result<Reply>> {
    host.ask(workflow, run, &arguments(run))
}

async fn told(reply: JoinHandle<std::io::Result<Reply>>) -> Reply {
    reply.await.expect("the request is not aborted").expect("an answer")
}

/// How often a result was shown ahead of its commit.
fn shown(builder: &HostBuilder) -> usize {
    builder.visits().iter().filter(|visit| visit.starts_with("transaction.shown")).count()
}

/// The run has happened once, with all that belongs to it.
async fn assert_once(world: &World, run: &str, effect: &str) {
    assert_eq!(world.effects(run).await, [effect], "{run}");
    assert_eq!(world.database.steps(run).await.len(), 1, "{run}");
    let row = world.database.run(run).await.expect("a row");
    assert_eq!((row.status.as_str(), row.attempts), ("SUCCESS", 1), "{run}: {row:?}");
}

#[tokio::test]
async fn start_sql_record_and_outcome_are_one_commit_at_each_level() {
    let world = World::on(TestPostgres::shared()).await;
    let host = learnt(&world.host().patient()).await;
    for level in ["serializable", "repeatable_read", "read_committed"] {
        for n in 1..=5 {
            let run = format!("{level} {n}");
            let reply = host.run_workflow(level, &run, &arguments(&run)).await.expect("an answer");
            assert_eq!((reply.status, reply.body.as_str()), (200, "1"), "{run}");
            assert_once(&world, &run, "only").await;
            assert_eq!(world.database.count(&commits(), &[&run]).await, 1, "{run}");
        }
    }
}

#[tokio::test]
async fn what_a_handler_waits_for_is_one_commit_too() {
    let world = World::on(TestPostgres::shared()).await;
    let host = learnt(&world.host().patient()).await;
    for path in ["direct", "one-step"] {
        let run = format!("{path}-run");
        let request = Request::new("POST", host.url(&format!("/{path}/{run}"))).header("idempotency-key", path);
        assert_eq!(request.send().await.expect("an answer").body, "1");
        assert_eq!(world.effects(&run).await, ["only"]);
        let id = format!("{path}-1");
        assert_eq!(world.database.status(&id).await.as_deref(), Some("SUCCESS"));
        let both = commits().replace("run = $1", "run = replace($1, '-1', '-run')");
        assert_eq!(world.database.count(&both, &[&id]).await, 1, "{path}");
    }
}

#[tokio::test]
async fn a_start_that_only_needs_its_acknowledgement_is_written_at_once() {
    let world = World::on(TestPostgres::shared()).await;
    let (host, hold) = held_at(&world, "transaction.begun#5").await;
    host.start_workflow("serializable", "acknowledged", &arguments("acknowledged")).await;
    hold.reached().await;
    assert_eq!(world.database.status("acknowledged").await.as_deref(), Some("PENDING"));
    hold.release();
    world.database.wait_for_end("acknowledged").await;
    assert_once(&world, "acknowledged", "only").await;
}

#[tokio::test]
async fn nothing_is_left_of_a_run_that_is_killed_before_its_commit() {
    let world = World::on(TestPostgres::shared()).await;
    for (n, visit) in ["start.withheld#1", "transaction.begun#5", "transaction.shown#1", "transaction.before_flight#5"]
        .into_iter()
        .enumerate()
    {
        let run = format!("killed {n}");
        let mut host = learnt(&world.host().patient().kill_at(visit)).await;
        host.run_workflow("serializable", &run, &arguments(&run)).await.expect_err("the host is killed");
        host.wait_for_exit().await;
        assert_eq!(world.database.run(&run).await, None, "{visit}");
        assert_eq!(world.effects(&run).await, [""; 0], "{visit}");
        // Nobody was told of it; whoever asks again has it done.
        let host = learnt(&world.host().patient()).await;
        let reply = host.run_workflow("serializable", &run, &arguments(&run)).await.expect("an answer");
        assert_eq!(reply.status, 200, "{visit}");
        assert_once(&world, &run, "only").await;
        world.database.execute("DELETE FROM effects WHERE run LIKE 'learnt%'").await;
        world.database.execute("DELETE FROM dbos.workflow_status WHERE workflow_uuid LIKE 'learnt%'").await;
        world.database.execute("DELETE FROM dbos.operation_outputs WHERE workflow_uuid LIKE 'learnt%'").await;
    }
}

#[tokio::test]
async fn everything_is_there_of_a_run_that_is_killed_after_its_commit() {
    let world = World::on(TestPostgres::shared()).await;
    let mut host = learnt(&world.host().patient().kill_at("transaction.after_flight#5")).await;
    host.run_workflow("serializable", "killed", &arguments("killed")).await.expect_err("the host is killed");
    host.wait_for_exit().await;
    assert_once(&world, "killed", "only").await;
    assert_eq!(world.database.output("killed").await, json!(1));
}

#[tokio::test]
async fn what_a_deleted_run_has_left_under_the_id_is_replaced() {
    let world = World::on(TestPostgres::shared()).await;
    let host = learnt(&world.host().patient()).await;
    let left = ["dbos.workflow_input", "dbos_host.operation_digest", "dbos.workflow_output", "dbos.operation_outputs"];
    for table in left {
        // The run before this one began again with a start of its own, which is no habit of the workflow.
        host.run_workflow("serializable", &format!("usual {table}"), &arguments("usual")).await.expect("an answer");
        let run = format!("deleted {table}");
        for effect in ["first", "second"] {
            let reply = host.run_workflow("serializable", &run, &json!({ "run": effect })).await.expect("an answer");
            assert_eq!((reply.status, reply.body.as_str()), (200, "1"), "{run}: {effect}");
            assert_eq!(world.effects(effect).await, ["only"], "{run}: {effect}");
            let others = left.iter().filter(|other| **other != table);
            for gone in ["dbos.workflow_status"].iter().chain(others) {
                let delete = format!("DELETE FROM {gone} WHERE workflow_uuid = '{run}'");
                world.database.execute(&delete).await;
            }
        }
        world.database.execute("DELETE FROM effects").await;
    }
}

#[tokio::test]
async fn a_conflict_behind_a_result_that_was_shown_runs_the_step_again() {
    let world = World::on(TestPostgres::shared()).await;
    let (builder, hold) = world.host().patient().note_visits().hold_at("transaction.shown#1");
    let host = learnt(&builder).await;
    let reply = ask(&host, "counted", "in conflict");
    hold.reached().await;
    // It has not counted this row, and this has not counted its: one of the two cannot have been first.
    let other = world.database.connect().await;
    let sql = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM effects;
               INSERT INTO effects (run, step) VALUES ('another', 'other'); COMMIT";
    other.batch_execute(sql).await.expect("the first to commit does");
    assert!(!host.log().contains("in conflict has counted"), "a line is not printed before what it tells is committed");
    hold.release();
    let reply = told(reply).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "2"), "it has counted anew");
    assert_once(&world, "in conflict", "counted").await;
    assert_eq!(shown(&builder), 1, "no result of the run is shown ahead of its commit any more");
    host.wait_for_log("in conflict has counted").await;
    assert_eq!(host.log().matches("in conflict has counted").count(), 1);
}

#[tokio::test]
async fn a_connection_that_is_lost_behind_a_result_that_was_shown_runs_the_step_again() {
    let world = World::on(TestPostgres::shared()).await;
    let (host, hold) = held_at(&world, "transaction.shown#1").await;
    let reply = ask(&host, "serializable", "cut off");
    hold.reached().await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND state = 'idle in transaction'";
    assert_eq!(world.database.count(cut, &[]).await, 1);
    hold.release();
    let reply = told(reply).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "1"));
    assert_once(&world, "cut off", "only").await;
}

#[tokio::test]
async fn a_deferred_constraint_is_the_steps_failure_before_its_result_is_shown() {
    let world = World::on(TestPostgres::shared()).await;
    let builder = world.host().patient().note_visits();
    let host = learnt(&builder).await;
    world
        .database
        .execute("ALTER TABLE effects ADD CONSTRAINT once UNIQUE (run, step) DEFERRABLE INITIALLY DEFERRED")
        .await;
    for (id, status) in [("first", 200), ("again", 500)] {
        let reply = host.run_workflow("serializable", id, &json!({ "run": "the same" })).await.expect("an answer");
        assert_eq!(reply.status, status, "{id}: {reply:?}");
    }
    assert_eq!(world.effects("the same").await, ["only"]);
    let again = world.database.run("again").await.expect("a row");
    assert_eq!((again.status.as_str(), again.attempts), ("ERROR", 1), "{again:?}");
    assert!(again.error.expect("an error").contains("23505"));
    assert_eq!(world.database.steps("again").await.len(), 1, "the failure is the step's result");
    assert_eq!(shown(&builder), 1, "only the first result was shown ahead of its commit");
}

#[tokio::test]
async fn a_run_whose_start_is_not_written_is_left_alone_by_those_who_look() {
    let (world, _never) = World::with_a_late_answer().await;
    let (host, hold) = held_at(&world, "transaction.shown#1").await;
    let reply = ask(&host, "serializable", "unseen");
    hold.reached().await;
    // What a client does to the row of another run is found by the next look at the rows of all.
    host.start_workflow("write_tell_write", "looked for", &arguments("looked for")).await;
    eventually("the run waits for its answer", async || (world.told("looked for") == 1).then_some(())).await;
    world
        .database
        .execute(
            "UPDATE dbos.workflow_status SET status = 'CANCELLED', owner_xid = NULL WHERE workflow_uuid = 'looked for'",
        )
        .await;
    host.wait_for_log("the workflow was ended or taken away").await;
    assert_eq!(world.database.run("unseen").await, None);
    hold.release();
    assert_eq!(told(reply).await.status, 200);
    assert_once(&world, "unseen", "only").await;
}

#[tokio::test]
async fn one_id_twice_in_one_host_is_one_run() {
    let world = World::on(TestPostgres::shared()).await;
    let (host, hold) = held_at(&world, "transaction.shown#1").await;
    let first = ask(&host, "serializable", "twice");
    hold.reached().await;
    let (same, other) = (ask(&host, "serializable", "twice"), ask(&host, "counted", "twice"));
    // Both have come to the host before this later request.
    assert_eq!(Request::get(host.url("/nowhere")).send().await.expect("an answer").status, 404);
    hold.release();
    assert_eq!(told(first).await.body, "1");
    assert_eq!(told(same).await.body, "1");
    assert_eq!(told(other).await.status, 409);
    assert_once(&world, "twice", "only").await;
    assert_eq!(world.database.count(&commits(), &[&"twice"]).await, 1);
}

#[tokio::test]
async fn one_id_in_two_hosts_is_one_run() {
    let world = World::on(TestPostgres::shared()).await;
    let (builder, hold) = world.host().patient().executor("one").hold_at("transaction.shown#1");
    let one = learnt(&builder).await;
    let two = world.host().executor("two").start().await;
    let first = ask(&one, "serializable", "contested");
    hold.reached().await;
    let second = two.run_workflow("serializable", "contested", &arguments("contested")).await.expect("an answer");
    assert_eq!((second.status, second.body.as_str()), (200, "1"));
    hold.release();
    let first = told(first).await;
    assert_eq!((first.status, first.body.as_str()), (200, "1"));
    assert_once(&world, "contested", "only").await;
    let row = world.database.run("contested").await.expect("a row");
    assert_eq!(row.executor.as_deref(), Some("two"), "the first to commit has it");
}

#[tokio::test]
async fn a_run_that_a_host_carries_over_the_end_of_its_lease_happens_once() {
    let world = World::on(TestPostgres::shared()).await;
    let (builder, hold) = world.host().patient().lease(SHORT_LEASE).hold_at("transaction.shown#1");
    let host = learnt(&builder).await;
    let incarnation = "SELECT count(DISTINCT incarnation) FROM dbos_host.executor WHERE incarnation = $1";
    let before = world.database.query("SELECT incarnation FROM dbos_host.executor", &[]).await;
    let before: String = before[0].get(0);
    let reply = ask(&host, "serializable", "slept");
    hold.reached().await;
    host.signal(Signal::STOP);
    let alive = "SELECT count(*) FROM dbos_host.executor WHERE lease_expires_at > clock_timestamp()";
    eventually("the lease is over", async || (world.database.count(alive, &[]).await == 0).then_some(())).await;
    host.signal(Signal::CONT);
    eventually("the host begins a new life", async || {
        (world.database.count(incarnation, &[&before]).await == 0).then_some(())
    })
    .await;
    hold.release();
    assert_eq!(told(reply).await.body, "1");
    assert_once(&world, "slept", "only").await;
}

#[tokio::test]
async fn a_run_that_has_another_transaction_than_its_last_one_commits_them_in_order() {
    let world = World::on(TestPostgres::shared()).await;
    for (kind, builder) in [("usual", world.host()), ("patient", world.host().patient())] {
        let host = builder.start().await;
        for n in 1..=5 {
            // One transaction, which is learnt; then two, of which the first was to be the last.
            for times in 1..=2 {
                let run = format!("{kind} {n} of {times}");
                let reply = host.run_workflow("write_times", &run, &json!({ "run": run, "times": times })).await;
                let reply = reply.expect("an answer");
                assert_eq!((reply.status, reply.body.as_str()), (200, &*times.to_string()), "{run}");
                assert_eq!(world.effects(&run).await, ["1", "2"][..times], "{run}");
                assert_eq!(world.database.steps(&run).await.len(), times, "{run}");
            }
        }
    }
}

#[tokio::test]
async fn a_transaction_that_waits_for_a_lock_keeps_nobody_from_the_acknowledgement() {
    let world = World::on(TestPostgres::shared()).await;
    let host = learnt(&world.host()).await;
    let other = world.database.connect().await;
    other.batch_execute("BEGIN; LOCK TABLE effects").await.expect("a lock");
    let request = Request::post(host.url("/workflows/serializable"), &arguments("impatient"));
    let request = request.header("idempotency-key", "impatient").header("prefer", "wait=1");
    let reply = request.send().await.expect("an answer");
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(world.database.status("impatient").await.as_deref(), Some("PENDING"));
    other.batch_execute("COMMIT").await.expect("the lock is free");
    world.database.wait_for_end("impatient").await;
    assert_once(&world, "impatient", "only").await;
}

/// Rounds that take seconds, on any machine.
const LONG: u64 = 10_000_000_000;

#[tokio::test]
async fn a_guest_that_computes_keeps_neither_its_start_nor_its_step_from_the_database() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    let ask = |run: &str, before: u64, after: u64| {
        let arguments = json!({ "run": run, "before": before, "after": after });
        host.ask("compute_write_compute", run, &arguments)
    };
    assert_eq!(told(ask("learnt", 0, 0)).await.body, "1");
    let waiting = ask("before", LONG, 0);
    eventually("the start is written", async || world.database.run("before").await).await;
    assert_eq!(world.database.status("before").await.as_deref(), Some("PENDING"));
    assert_eq!(world.effects("before").await, [""; 0]);
    let shown = ask("after", 0, LONG);
    eventually("the step is written", async || {
        (world.effects("after").await == ["only"] && world.database.steps("after").await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(world.database.status("after").await.as_deref(), Some("PENDING"));
    for reply in [waiting, shown] {
        reply.abort();
    }
}

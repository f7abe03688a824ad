//! Steps that run side by side: they are numbered by their starts, a replay runs only those that have no record, and what was
//! decided between them (a winner, a lost time limit) is decided once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dbos_host_tests::{Answer, Database, Gate, Host, HostBuilder, Outside, Request, TestPostgres, until};
use serde_json::{Value, json};

/// A gate for each step that a test names; all others are answered at once, with the name of the step.
struct Gates(Vec<(&'static str, Gate)>);

impl Gates {
    fn for_steps(steps: &[&'static str]) -> Self {
        Self(steps.iter().map(|step| (*step, Gate::closed())).collect())
    }

    async fn outside(&self) -> Outside {
        let gates = self.0.clone();
        Outside::answering(move |request, _| {
            let step = request.json()["step"].clone();
            let answer = Answer::Reply(200, step.as_str().unwrap_or_default().to_owned());
            match gates.iter().find(|(name, _)| step == *name) {
                Some((_, gate)) => answer.held_by(gate),
                None => answer,
            }
        })
        .await
    }

    fn open(&self, step: &str) {
        let (_, gate) = self.0.iter().find(|(name, _)| *name == step).expect("a gate for the step");
        gate.open();
    }
}

async fn world(held: &[&'static str]) -> (Database, Outside, HostBuilder, Gates) {
    let gates = Gates::for_steps(held);
    let outside = gates.outside().await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = builder(&database, &outside).await;
    (database, outside, builder, gates)
}

async fn builder(database: &Database, outside: &Outside) -> HostBuilder {
    let builder = HostBuilder::new("parallel").database(database).migrations("tests/guests/parallel/migrations");
    let builder = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
    builder.migrate().await;
    builder
}

fn sent(outside: &Outside, step: &str) -> usize {
    outside.count(|request| request.json()["step"] == step)
}

async fn until_sent(outside: &Outside, step: &str, times: usize) {
    until(&format!("{step} is sent {times} times"), async || sent(outside, step) >= times).await;
}

/// The numbers and names of what is recorded.
async fn recorded(database: &Database, run: &str) -> Vec<(i32, String)> {
    database.steps(run).await.into_iter().map(|step| (step.number, step.name)).collect()
}

fn rows(steps: &[(i32, &str)]) -> Vec<(i32, String)> {
    steps.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
}

async fn restart(mut host: Host, builder: &HostBuilder) -> Host {
    host.kill9().await;
    builder.start().await
}

#[tokio::test]
async fn started_steps_run_side_by_side_and_are_numbered_by_their_calls() {
    let (outside, gate) = Outside::held(Answer::Reply(200, "told".into())).await;
    let database = TestPostgres::shared().fresh_database().await;
    let host = builder(&database, &outside).await.start().await;
    host.start_workflow("fan_out", "a", &json!({ "run": "a", "many": 10 })).await;
    // Nobody is answered before all have asked.
    outside.wait_for(10).await;
    assert_eq!(database.steps("a").await.len(), 0);
    gate.open();
    assert_eq!(database.output("a").await, json!(vec!["told"; 10]));
    let expected: Vec<(i32, String)> = (1..=10).map(|number| (number, "tell".to_owned())).collect();
    assert_eq!(recorded(&database, "a").await, expected);
    assert_eq!(outside.received().len(), 10);
    for number in 1..=10 {
        let key = format!("a-{number}-1");
        assert_eq!(outside.count(|request| request.header("idempotency-key") == Some(&key)), 1, "{key}");
    }
}

/// Its first wait is longer than one keeps its instance; but a step that would have to begin anew does.
#[tokio::test]
async fn a_step_goes_on_while_its_run_waits_for_messages() {
    let (database, outside, builder, gates) = world(&["slow"]).await;
    let host = builder.start().await;
    host.start_workflow("listens", "a", &json!({ "run": "a" })).await;
    let go = host.url("/workflows/a/messages?topic=go");
    assert_eq!(Request::post(go, &json!("gone")).send().await.expect("an answer").status, 202);
    let waits = ["DBOS.recv", "DBOS.sleep", "DBOS.recv", "DBOS.sleep", "DBOS.send"];
    let records: Vec<(i32, &str)> = (2..).zip(waits).collect();
    until("it has heard", async || recorded(&database, "a").await == rows(&records)).await;
    assert_eq!(sent(&outside, "slow"), 1, "it was not begun anew");
    let _host = restart(host, &builder).await;
    until_sent(&outside, "slow", 2).await;
    gates.open("slow");
    assert_eq!(database.output("a").await, json!(["gone", "no_such_workflow", "slow"]));
    assert_eq!(database.steps("a").await.len(), 6);
    assert_eq!(sent(&outside, "slow"), 2, "it began anew once, in the replay");
}

#[tokio::test]
async fn a_replay_runs_only_the_started_steps_that_have_no_record() {
    let (database, outside, builder, gates) = world(&["two"]).await;
    let host = builder.start().await;
    host.start_workflow("crossed", "a", &json!({ "run": "a" })).await;
    let crashed = database.wait_for_steps("a", 3).await;
    assert_eq!(crashed.iter().map(|step| step.number).collect::<Vec<_>>(), [1, 3, 4]);
    until_sent(&outside, "two", 1).await;
    let _host = restart(host, &builder).await;
    until_sent(&outside, "two", 2).await;
    gates.open("two");
    assert_eq!(database.output("a").await, json!(["one", "1", "two"]));
    assert_eq!(recorded(&database, "a").await, rows(&[(1, "tell"), (2, "tell"), (3, "tell"), (4, "write")]));
    assert_eq!([sent(&outside, "one"), sent(&outside, "two"), sent(&outside, "three")], [1, 2, 1]);
    assert_eq!(database.count("SELECT count(*) FROM effects", &[]).await, 1);
}

#[tokio::test]
async fn the_outcome_waits_for_steps_that_nobody_joined() {
    let (database, outside, builder, gates) = world(&["forgotten"]).await;
    let host = builder.start().await;
    host.start_workflow("forgets", "a", &json!({ "run": "a" })).await;
    until_sent(&outside, "forgotten", 1).await;
    let _host = restart(host, &builder).await;
    until_sent(&outside, "forgotten", 2).await;
    assert_eq!(database.status("a").await.as_deref(), Some("PENDING"));
    gates.open("forgotten");
    assert_eq!(database.output("a").await, json!("done"));
    assert_eq!(recorded(&database, "a").await, rows(&[(1, "tell")]));
}

#[tokio::test]
async fn siblings_are_in_nobodys_way() {
    let (database, _outside, builder, _gates) = world(&[]).await;
    let host = builder.start().await;
    let reply = host.run_workflow("crowd", "a", &json!({ "run": "a", "many": 50 })).await.expect("an answer");
    assert_eq!((reply.status, reply.body.as_str()), (200, "50"));
    assert_eq!(database.count("SELECT count(*) FROM effects", &[]).await, 50);
    assert_eq!(database.steps("a").await.len(), 50);
    let run = database.run("a").await.expect("a row");
    assert_eq!(run.attempts, 1, "{run:?}");
}

#[tokio::test]
async fn a_run_bounds_its_steps() {
    let (outside, gate) = Outside::held(Answer::Reply(200, "told".into())).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = builder(&database, &outside).await.config("limits:\n  steps_per_run_at_once: 3").note_visits();
    let host = builder.start().await;
    host.start_workflow("fan_out", "a", &json!({ "run": "a", "many": 8 })).await;
    outside.wait_for(3).await;
    let begun = || builder.visits().iter().filter(|visit| visit.starts_with("parallel.before_effect")).count();
    assert_eq!(begun(), 3);
    gate.open();
    assert_eq!(database.output("a").await, json!(vec!["told"; 8]));
    assert_eq!(begun(), 8);
}

#[tokio::test]
async fn a_group_bounds_its_steps() {
    let (most, now) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (outside, gate) = Outside::held(Answer::Reply(200, "told".into())).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = builder(&database, &outside).await.note_visits();
    let host = builder.start().await;
    host.start_workflow("grouped", "a", &json!({ "run": "a", "many": 12, "at_once": 4 })).await;
    outside.wait_for(4).await;
    let begun = || builder.visits().iter().filter(|visit| visit.starts_with("parallel.before_effect")).count();
    assert_eq!(begun(), 4);
    gate.open();
    assert_eq!(database.output("a").await, json!(vec!["told"; 12]));
    for visit in builder.visits() {
        let running = match visit.split('#').next() {
            Some("parallel.before_effect") => now.fetch_add(1, Ordering::SeqCst) + 1,
            Some("parallel.after_effect") => now.fetch_sub(1, Ordering::SeqCst) - 1,
            _ => continue,
        };
        most.fetch_max(running, Ordering::SeqCst);
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn too_many_started_steps_are_an_error_of_the_workflow() {
    let (_database, _outside, builder, _gates) = world(&[]).await;
    let host = builder.start().await;
    let reply = host.run_workflow("floods", "a", &json!({ "many": 10_001 })).await.expect("an answer");
    assert_eq!((reply.status, reply.body.as_str()), (200, r#""10000: too_many_handles""#));
}

#[tokio::test]
async fn a_timed_out_transaction_leaves_no_row_and_says_so_in_every_replay() {
    let (database, _outside, builder, _gates) = world(&[]).await;
    let mut locker = database.connect().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE effects IN EXCLUSIVE MODE").await.unwrap();
    let host = builder.start().await;
    let reply = host.run_workflow("timed_write", "a", &json!({ "run": "a", "milliseconds": 200 })).await;
    assert_eq!(reply.expect("an answer").body, r#""step_timed_out""#);
    lock.rollback().await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM effects", &[]).await, 0);
    let expected = rows(&[(1, "write"), (2, "DBOS.sleep"), (3, "read_back")]);
    assert_eq!(recorded(&database, "a").await, expected);
    let error: Value = serde_json::from_str(&database.steps("a").await[0].error.clone().unwrap()).unwrap();
    assert_eq!((&error["name"], &error["code"]), (&json!("Timeout"), &json!("step_timed_out")));
}

#[tokio::test]
async fn a_step_that_ends_in_time_is_not_cancelled() {
    let (database, _outside, builder, _gates) = world(&[]).await;
    let host = builder.start().await;
    let arguments = json!({ "run": "a", "milliseconds": 60_000 });
    let reply = host.run_workflow("timed_request", "a", &arguments).await.expect("an answer");
    assert_eq!(reply.body, r#""timed""#);
    let expected = rows(&[(1, "tell"), (2, "DBOS.sleep"), (3, "read_back")]);
    assert_eq!(recorded(&database, "a").await, expected);
}

#[tokio::test]
async fn a_deadline_survives_a_crash_and_a_step_whose_time_is_over_is_not_begun_again() {
    let (database, outside, builder, _gates) = world(&["timed"]).await;
    // Killed when the time is over, before that is recorded.
    let mut host = builder.clone().kill_at("parallel.before_cancelled#1").start().await;
    host.start_workflow("timed_request", "a", &json!({ "run": "a", "milliseconds": 300 })).await;
    until("the host dies", async || host.has_ended()).await;
    let crashed = recorded(&database, "a").await;
    assert_eq!(crashed, rows(&[(2, "DBOS.sleep")]));
    let deadline = database.steps("a").await[0].output.clone();
    let _host = builder.start().await;
    assert_eq!(database.output("a").await, json!("step_timed_out"));
    assert_eq!(database.steps("a").await[1].output, deadline);
    assert_eq!(sent(&outside, "timed"), 1);
}

#[tokio::test]
async fn a_step_that_commits_as_its_time_ends_wins() {
    let (database, _outside, builder, _gates) = world(&[]).await;
    // The commit has landed, and the host does not go on with it before the time is over.
    let (held, hold) = builder.clone().hold_at("transaction.after_flight#1");
    let host = held.start().await;
    host.start_workflow("timed_write", "a", &json!({ "run": "a", "milliseconds": 500 })).await;
    hold.reached().await;
    assert_eq!(database.output("a").await, json!("1"));
    assert_eq!(database.count("SELECT count(*) FROM effects", &[]).await, 1);
    assert_eq!(database.steps("a").await[0].output.as_deref(), Some("1"));
}

#[tokio::test]
async fn the_winner_of_a_select_is_the_same_in_every_replay() {
    let (database, outside, builder, gates) = world(&["one", "two"]).await;
    let host = builder.start().await;
    host.start_workflow("first", "a", &json!({ "run": "a" })).await;
    until_sent(&outside, "one", 1).await;
    gates.open("two");
    database.wait_for_steps("a", 3).await;
    let _host = restart(host, &builder).await;
    gates.open("one");
    assert_eq!(database.output("a").await, json!(["two", "one"]));
    let expected = rows(&[(1, "tell"), (2, "tell"), (3, "DBOS.waitFirst"), (4, "read_back")]);
    assert_eq!(recorded(&database, "a").await, expected);
    assert_eq!(database.steps("a").await[2].output.as_deref(), Some("2"));
    assert_eq!(sent(&outside, "two"), 1);
}

#[tokio::test]
async fn a_select_whose_time_was_over_stays_so() {
    let (database, outside, builder, gates) = world(&["one"]).await;
    let host = builder.start().await;
    host.start_workflow("first_within", "a", &json!({ "run": "a", "milliseconds": 200 })).await;
    let steps = database.wait_for_steps("a", 3).await;
    assert_eq!(steps.iter().map(|step| step.number).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!((&steps[0].output, &steps[0].error), (&None, &None), "a time that is over is no value: {steps:?}");
    let _host = restart(host, &builder).await;
    until_sent(&outside, "one", 2).await;
    gates.open("one");
    assert_eq!(database.output("a").await, json!(["nobody", "one"]));
    let expected = rows(&[(1, "tell"), (2, "DBOS.waitFirst"), (3, "DBOS.sleep"), (4, "read_back")]);
    assert_eq!(recorded(&database, "a").await, expected);
}

#[tokio::test]
async fn a_race_cancels_those_who_lose() {
    let (database, outside, builder, gates) = world(&["one", "two", "three"]).await;
    let host = builder.start().await;
    host.start_workflow("raced", "a", &json!({ "run": "a" })).await;
    outside.wait_for(3).await;
    gates.open("two");
    assert_eq!(database.output("a").await, json!("two"));
    let steps = database.steps("a").await;
    let codes: Vec<Value> = steps
        .iter()
        .map(|step| step.error.as_deref().map_or(Value::Null, |error| serde_json::from_str(error).unwrap()))
        .map(|error| error["code"].clone())
        .collect();
    assert_eq!(codes, [json!("step_cancelled"), Value::Null, json!("step_cancelled"), Value::Null]);
}

#[tokio::test]
async fn a_cancelled_step_is_never_run_again() {
    let (database, outside, builder, _gates) = world(&["cancelled"]).await;
    let host = builder.start().await;
    host.start_workflow("cancels", "a", &json!({ "run": "a" })).await;
    assert_eq!(database.output("a").await, json!("called"));
    assert_eq!(recorded(&database, "a").await, rows(&[(1, "tell"), (2, "tell"), (3, "write")]));
    assert!(database.steps("a").await[0].error.as_deref().unwrap().contains("step_cancelled"));
    assert!(sent(&outside, "cancelled") <= 1);
    drop(host);
}

#[tokio::test]
async fn a_cancel_of_the_run_drops_every_started_step() {
    let (outside, gate) = Outside::held(Answer::Reply(200, "told".into())).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = builder(&database, &outside).await;
    let host = builder.start().await;
    host.start_workflow("fan_out", "a", &json!({ "run": "a", "many": 5 })).await;
    outside.wait_for(5).await;
    let cancelled = builder.output(&["workflow", "cancel", "a"]).await;
    assert!(cancelled.status.success(), "{cancelled:?}");
    host.wait_for_log("its instance is dropped").await;
    gate.open();
    outside.settle().await;
    assert_eq!(database.status("a").await.as_deref(), Some("CANCELLED"));
    assert_eq!(database.steps("a").await.len(), 0);
    // Their slots are free again.
    let reply = host.run_workflow("fan_out", "b", &json!({ "run": "b", "many": 5 })).await.expect("an answer");
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_sleeper_with_a_running_step_keeps_its_instance() {
    let (database, outside, builder, gates) = world(&["beside"]).await;
    let host = builder.start().await;
    host.start_workflow("sleeps_beside", "a", &json!({ "run": "a", "milliseconds": 1_500 })).await;
    until_sent(&outside, "beside", 1).await;
    database.wait_for_steps("a", 1).await;
    // Longer than a run without a running step keeps its instance.
    let slept = tokio::time::timeout(Duration::from_secs(2), until_sent(&outside, "beside", 2)).await;
    assert!(slept.is_err(), "the step was begun anew");
    gates.open("beside");
    assert_eq!(database.output("a").await, json!("beside"));
    assert_eq!(sent(&outside, "beside"), 1);
}

#[tokio::test]
async fn a_step_beside_a_recorded_sleep_goes_on_with_it() {
    let (database, outside, builder, _gates) = world(&["beside"]).await;
    let host = builder.start().await;
    host.start_workflow("sleeps_beside", "a", &json!({ "run": "a", "milliseconds": 3_600_000 })).await;
    until_sent(&outside, "beside", 1).await;
    database.wait_for_steps("a", 1).await;
    let _host = restart(host, &builder).await;
    // An hour before the sleep is over.
    until_sent(&outside, "beside", 2).await;
}

#[tokio::test]
async fn an_answered_wait_is_not_slept_through_after_a_crash() {
    let (database, _outside, builder, gates) = world(&["timed"]).await;
    gates.open("timed");
    // The first record is the time limit, the second one the step's.
    let mut host = builder.clone().kill_at("record.after_commit#2").start().await;
    let arguments = json!({ "run": "a", "milliseconds": 3_600_000 });
    let _killed = host.ask_to_start("timed_request", "a", &arguments).await;
    host.wait_for_exit().await;
    // An hour before the time limit.
    let _host = builder.start().await;
    database.wait_for_end("a").await;
    assert_eq!(database.status("a").await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn workflow_time_moves_at_the_join() {
    let (database, outside, builder, gates) = world(&["slow"]).await;
    let host = builder.start().await;
    host.start_workflow("clocked", "a", &json!({ "run": "a" })).await;
    database.wait_for_steps("a", 1).await;
    until_sent(&outside, "slow", 1).await;
    let _host = restart(host, &builder).await;
    until_sent(&outside, "slow", 2).await;
    gates.open("slow");
    assert_eq!(database.output("a").await, json!([true, true]));
}

#[tokio::test]
async fn a_line_is_not_printed_before_the_record_behind_it_because_a_sibling_acts() {
    let (database, outside, builder, gates) = world(&["slow"]).await;
    let (held, hold) = builder.hold_at("record.before_commit#1");
    let host = held.start().await;
    host.start_workflow("says", "a", &json!({ "run": "a" })).await;
    hold.reached().await;
    until_sent(&outside, "slow", 1).await;
    assert!(!host.log().contains("the quick one has ended"), "its record is not durable");
    hold.release();
    host.wait_for_log("the quick one has ended").await;
    gates.open("slow");
    assert_eq!(database.output("a").await, json!("slow"));
}

#[tokio::test]
async fn a_step_that_ends_while_the_host_stops_is_recorded() {
    let (database, outside, builder, gates) = world(&["two"]).await;
    let mut host = builder.start().await;
    host.start_workflow("first", "a", &json!({ "run": "a" })).await;
    until_sent(&outside, "two", 1).await;
    database.wait_for_steps("a", 2).await;
    host.signal(rustix::process::Signal::TERM);
    host.wait_for_log("stopping: running calls").await;
    gates.open("two");
    until("the host ends", async || host.has_ended()).await;
    assert_eq!(sent(&outside, "two"), 1);
    let _host = builder.start().await;
    assert_eq!(database.output("a").await, json!(["one", "two"]));
    assert_eq!(sent(&outside, "two"), 1, "it was recorded while the host stopped");
}

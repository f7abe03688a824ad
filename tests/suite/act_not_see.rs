//! A run may be ahead of the disk, and nobody may see that: what its steps compute is on its way to the journal while the
//! next one computes, but a request, a log line and an answer wait until everything behind them is durable.

use std::time::Duration;

use dbos_host_tests::{Answer, Database, Host, HostBuilder, Outside, Reply, TestPostgres, until};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The request of `draws_and_tells` has this much time, and nothing of it may pass while the database is slow.
const TIME_OF_A_REQUEST: Duration = Duration::from_millis(300);

async fn world() -> (Database, Outside, HostBuilder) {
    let outside = Outside::answering(|_, _| Answer::json(&json!("heard"))).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("thinks").database(&database);
    let builder = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
    builder.migrate().await;
    (database, outside, builder)
}

async fn told(reply: JoinHandle<std::io::Result<Reply>>) -> Reply {
    reply.await.expect("the request is not aborted").expect("an answer")
}

async fn until_visited(builder: &HostBuilder, visit: &str) {
    let what = format!("a visit of {visit}");
    until(&what, async || builder.visits().iter().any(|other| other == visit)).await;
}

/// A run `a` whose second draw was recorded by somebody else, while its own records were on their way.
struct Lost {
    database: Database,
    outside: Outside,
    _host: Host,
    reply: JoinHandle<std::io::Result<Reply>>,
}

impl Lost {
    /// The second draw is lost when the run has come to this visit.
    async fn new(workflow: &str, arguments: &Value, visit: &str) -> Self {
        loop {
            let (database, outside, builder) = world().await;
            let (builder, hold) = builder.note_visits().hold_at("record.before_commit#1");
            let host = builder.start().await;
            let reply = host.ask(workflow, "a", arguments);
            hold.reached().await;
            until_visited(&builder, visit).await;
            // On a busy machine the start may be in the same commit. A record without a start is nobody's, and goes with it.
            if database.status("a").await.is_none() {
                continue;
            }
            // As a commit would whose answer was lost: the second draw has come to something else.
            let other =
                "INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output, serialization)
                         VALUES ('a', 2, 'draw', '100', 'portable_json')";
            database.execute(other).await;
            hold.release();
            return Self { database, outside, _host: host, reply };
        }
    }
}

/// What the guest has said, in the order of the log.
fn said(host: &Host) -> Vec<String> {
    let words = ["drew 1", "drew 2", "drew 3", "the sum is 14", "telling 14"];
    let log = host.log();
    let mut said: Vec<(usize, String)> = Vec::new();
    for word in words {
        said.extend(log.match_indices(word).map(|(at, word)| (at, word.to_owned())));
    }
    said.sort();
    said.into_iter().map(|(_, word)| word).collect()
}

#[tokio::test]
async fn nothing_leaves_a_run_before_its_start_and_its_records_are_durable() {
    let arguments = json!({ "run": "a", "times": 3 });
    for visit in ["start.before_commit#1", "record.before_commit#1", "record.after_commit#1"] {
        let (database, outside, builder) = world().await;
        let (builder, hold) = builder.note_visits().hold_at(visit);
        let host = builder.start().await;
        let reply = host.ask("draws_and_tells", "a", &arguments);
        hold.reached().await;
        // All steps have begun, the one that sends the request too.
        until_visited(&builder, "communicator.before_attempt#4").await;
        let sent = tokio::time::timeout(2 * TIME_OF_A_REQUEST, outside.wait_for(1)).await;
        assert!(sent.is_err(), "{visit}: a request was sent before what is behind it is durable");
        assert_eq!(said(&host), [""; 0], "{visit}: a line was printed before what is behind it is durable");
        hold.release();
        let reply = told(reply).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, r#""\"heard\"""#), "{visit}: no time-out: {reply:?}");
        assert_eq!(outside.count(|request| request.json()["sum"] == 14), 1, "{visit}");
        assert_eq!(said(&host), ["drew 1", "drew 2", "drew 3", "the sum is 14", "telling 14"], "{visit}");
        let numbers: Vec<i32> = database.steps("a").await.iter().map(|step| step.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4], "{visit}");
    }
}

#[tokio::test]
async fn a_run_that_was_ahead_of_the_disk_when_its_host_was_killed_has_done_nothing() {
    let arguments = json!({ "run": "a", "times": 3 });
    for visit in ["start.before_commit#1", "record.before_commit#1"] {
        let (database, outside, builder) = world().await;
        let (held, hold) = builder.clone().note_visits().hold_at(visit);
        let mut host = held.start().await;
        let reply = host.ask("draws_and_tells", "a", &arguments);
        hold.reached().await;
        until_visited(&held, "communicator.before_attempt#4").await;
        host.kill9().await;
        reply.await.expect("the request is not aborted").expect_err("the host is killed");
        assert_eq!(outside.received().len(), 0, "{visit}");
        // Its start may have been in the commit before, or was to be in this one.
        let status = database.status("a").await;
        assert!(status.is_none() || status.as_deref() == Some("PENDING"), "{visit}: {status:?}");
        assert_eq!(database.steps("a").await.len(), 0, "{visit}");
        // It goes on by itself where it was written; elsewhere whoever asks again has it done.
        let host = builder.start().await;
        let reply = host.run_workflow("draws_and_tells", "a", &arguments).await.expect("an answer");
        assert_eq!((reply.status, reply.body.as_str()), (200, r#""\"heard\"""#), "{visit}");
        assert_eq!(outside.received().len(), 1, "{visit}");
    }
}

#[tokio::test]
async fn start_records_and_outcome_of_a_run_that_sends_nothing_are_one_commit_under_load() {
    let (database, _outside, builder) = world().await;
    let (builder, hold) = builder.note_visits().hold_at("start.before_commit#1");
    let host = builder.start().await;
    let first = host.ask("draws", "first", &json!({ "times": 3 }));
    hold.reached().await;
    let second = host.ask("draws", "second", &json!({ "times": 3 }));
    until_visited(&builder, "finish.before_append#2").await;
    hold.release();
    for (run, reply, commits) in [("first", first, 2), ("second", second, 1)] {
        let reply = told(reply).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "14"), "{run}");
        assert_eq!(database.commits(run).await, commits, "{run}");
        assert_eq!(database.steps(run).await.len(), 3, "{run}");
        let row = database.run(run).await.expect("a row");
        assert_eq!((row.status.as_str(), row.attempts), ("SUCCESS", 1), "{run}: {row:?}");
    }
}

#[tokio::test]
async fn a_start_that_finds_its_id_taken_has_done_nothing() {
    let (database, outside, builder) = world().await;
    let arguments = json!({ "run": "a", "times": 3 });
    for _host in 0..2 {
        let host = builder.start().await;
        for _request in 0..20 {
            let reply = host.run_workflow("draws_and_tells", "a", &arguments).await.expect("an answer");
            assert_eq!((reply.status, reply.body.as_str()), (200, r#""\"heard\"""#));
        }
        let other = host.run_workflow("draws_and_tells", "a", &json!({ "run": "b", "times": 3 })).await;
        assert_eq!(other.expect("an answer").status, 409);
    }
    assert_eq!(outside.received().len(), 1);
    assert_eq!(database.steps("a").await.len(), 4);
    assert_eq!(database.count("SELECT count(*) FROM dbos.workflow_status", &[]).await, 1);
}

#[tokio::test]
async fn a_record_that_another_has_written_first_stops_what_was_made_from_its_loser() {
    let lost = Lost::new("draws_and_tells", &json!({ "run": "a", "times": 3 }), "communicator.before_attempt#4").await;
    let reply = told(lost.reply).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let told = lost.outside.received();
    let sums: Vec<Value> = told.iter().map(|request| request.json()["sum"].clone()).collect();
    assert_eq!(sums, [json!(110)], "the first record wins, and nothing was sent that was made from another");
    let numbers: Vec<i32> = lost.database.steps("a").await.iter().map(|step| step.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_run_is_ahead_of_the_disk_by_so_much_and_no_more() {
    let (database, _outside, builder) = world().await;
    let (builder, hold) = builder.note_visits().hold_at("start.before_commit#1");
    let host = builder.start().await;
    let reply = host.ask("draws", "a", &json!({ "times": 200 }));
    hold.reached().await;
    until_visited(&builder, "communicator.before_attempt#64").await;
    let more = tokio::time::timeout(TIME_OF_A_REQUEST, until_visited(&builder, "communicator.before_attempt#65")).await;
    assert!(more.is_err(), "64 records are on their way, and a slow disk is waited for");
    hold.release();
    assert_eq!(told(reply).await.status, 200);
    assert_eq!(database.steps("a").await.len(), 200);
}

#[tokio::test]
async fn a_notice_of_a_transaction_that_only_reads_waits_for_what_is_behind_it() {
    let (database, _outside, builder) = world().await;
    let (builder, hold) = builder.note_visits().hold_at("record.before_commit#1");
    let host = builder.start().await;
    let mut heard = database.listen("said").await;
    let reply = host.ask("draws_and_shouts", "a", &json!({ "times": 3 }));
    hold.reached().await;
    until_visited(&builder, "transaction.begun#1").await;
    assert_eq!(heard.within(TIME_OF_A_REQUEST).await, None, "nothing is told before what it was made from is durable");
    hold.release();
    assert_eq!(told(reply).await.status, 200);
    assert_eq!(heard.within(Duration::from_secs(60)).await.as_deref(), Some("14"));
}

#[tokio::test]
async fn lines_are_printed_as_soon_as_everything_behind_them_is_durable() {
    let (outside, gate) = Outside::held(Answer::json(&json!("heard"))).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("thinks").database(&database);
    let host = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url()).start().await;
    let reply = host.ask("draws_thinks_and_asks", "a", &json!({ "run": "a" }));
    outside.wait_for(1).await;
    // The step goes on until it is answered; who looks at the log meanwhile sees how far the run has come.
    host.wait_for_log("drew 1").await;
    host.wait_for_log("thought of").await;
    host.wait_for_log("asking").await;
    gate.open();
    assert_eq!(told(reply).await.status, 200);
}

#[tokio::test]
async fn the_host_does_not_tell_of_a_failure_before_what_it_was_made_from_is_durable() {
    let (_database, _outside, builder) = world().await;
    let (builder, hold) = builder.note_visits().hold_at("record.before_commit#1");
    let host = builder.start().await;
    let reply = host.ask("draws_and_fails", "a", &json!({ "times": 3 }));
    hold.reached().await;
    until_visited(&builder, "communicator.after_failure#1").await;
    let told_early = tokio::time::timeout(TIME_OF_A_REQUEST, host.wait_for_log("no use for 14")).await;
    assert!(told_early.is_err(), "{}", host.log());
    hold.release();
    assert_eq!(told(reply).await.status, 500);
    host.wait_for_log("no use for 14").await;
}

#[tokio::test]
async fn an_outcome_that_was_made_from_a_losing_record_is_not_written() {
    let lost = Lost::new("draws", &json!({ "times": 3 }), "finish.before_append#1").await;
    let reply = told(lost.reply).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "110"), "the first record wins");
    assert_eq!(lost.database.output("a").await, json!(110));
    assert_eq!(lost.database.steps("a").await.len(), 3);
}

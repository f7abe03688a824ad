//! A run that continues with other arguments is the same run for everybody, and has none of its old records.

use std::collections::HashSet;

use dbos_host_tests::{Answer, Database, Host, HostBuilder, Outside, Request, TestPostgres, until};
use serde_json::{Value, json};

use crate::events::{Place, get};

const MARK: &str = "dbos-host:continued";

/// A host of the app `parallel`, and what its communicators tell.
async fn world() -> (Database, Outside, HostBuilder) {
    let outside = Outside::answering(|_, _| Answer::Reply(200, "told".into())).await;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("parallel").database(&database).migrations("tests/guests/parallel/migrations");
    let builder = builder.guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
    builder.migrate().await;
    (database, outside, builder)
}

async fn records(database: &Database, run: &str) -> Vec<(i32, String)> {
    database.steps(run).await.into_iter().map(|step| (step.number, step.name)).collect()
}

async fn send(host: &Host, to: &str, key: &str, value: &Value) {
    let request = Request::post(host.url(&format!("/workflows/{to}/messages")), value).header("idempotency-key", key);
    assert_eq!(request.send().await.expect("an answer").status, 202);
}

#[tokio::test]
async fn a_run_continues_under_its_id_without_its_records() {
    const ROUNDS: i32 = 30;
    let (database, outside, builder) = world().await;
    // The limit is one of a round.
    let host = builder.config("limits: { steps_per_run: 3 }").start().await;
    let arguments = json!({ "run": "a", "round": 1, "last": ROUNDS });
    let reply = host.run_workflow("rounds", "a", &arguments).await.expect("an answer");
    assert_eq!((reply.status, reply.json()), (200, json!(ROUNDS)), "{reply:?}");
    // Two steps and a mark have a number each.
    let mark = 3 * (ROUNDS - 1);
    let last = [(mark, MARK), (mark + 1, "write"), (mark + 2, "tell")];
    assert_eq!(records(&database, "a").await, last.map(|(number, name)| (number, name.to_owned())));
    assert_eq!(database.count("SELECT count(*) FROM dbos_host.operation_digest", &[]).await, 2);
    assert_eq!(database.count("SELECT count(*) FROM effects", &[]).await, i64::from(ROUNDS));
    let requests = outside.received();
    let keys: HashSet<&str> = requests.iter().filter_map(|request| request.header("idempotency-key")).collect();
    assert_eq!((requests.len(), keys.len()), (30, 30), "each request has a key that no other has");
    // Whoever sends the start again means this run, whatever its arguments are by now.
    let again = host.run_workflow("rounds", "a", &arguments).await.expect("an answer");
    assert_eq!((again.status, again.json()), (200, json!(ROUNDS)), "{again:?}");
    let other = host.run_workflow("fan_out", "a", &json!({ "run": "a", "many": 1 })).await.expect("an answer");
    assert_eq!(other.status, 409, "{other:?}");
}

#[tokio::test]
async fn a_kill_at_the_switch_leaves_the_old_round_or_the_new_one() {
    for (point, records_at_death) in [("continue.before_commit#2", 3), ("continue.after_commit#2", 1)] {
        let (database, outside, builder) = world().await;
        let mut host = builder.clone().kill_at(point).start().await;
        drop(host.ask_to_start("rounds", "a", &json!({ "run": "a", "round": 1, "last": 4 })).await);
        host.wait_for_exit().await;
        assert_eq!(records(&database, "a").await.len(), records_at_death, "{point}");
        let _host = builder.start().await;
        assert_eq!(database.output("a").await, json!(4), "{point}");
        assert_eq!(database.count("SELECT count(*) FROM effects", &[]).await, 4, "{point}");
        assert_eq!(outside.received().len(), 4, "{point}");
        let last = [(9, MARK), (10, "write"), (11, "tell")].map(|(number, name)| (number, name.to_owned()));
        assert_eq!(records(&database, "a").await, last, "{point}");
    }
}

#[tokio::test]
async fn messages_of_every_round_arrive_once_and_in_order() {
    let place = Place::new().await;
    let mut host = place.builder.clone().kill_at("continue.after_commit#3").start().await;
    host.start_workflow("read_in_rounds", "reads", &json!({ "read": [], "count": 6 })).await;
    for value in ["1", "2"] {
        let url = host.url("/workflows/reads/messages");
        assert_eq!(Request::post(url, &json!(value)).send().await.expect("an answer").status, 202);
    }
    place.database.execute("SELECT dbos.send_message('reads', '\"3\"', NULL)").await;
    host.wait_for_exit().await;
    let host = place.builder.start().await;
    for value in ["4", "4", "5"] {
        send(&host, "reads", value, &json!(value)).await;
    }
    let read = "SELECT count(*) FROM dbos.notifications WHERE message_uuid = '4::reads' AND consumed";
    until("the fourth is read", async || place.database.count(read, &[]).await == 1).await;
    for value in ["4", "5", "6"] {
        send(&host, "reads", value, &json!(value)).await;
    }
    assert_eq!(place.database.output("reads").await, json!(["1", "2", "3", "4", "5", "6"]));
    let kept = "SELECT count(*) FROM dbos.notifications WHERE message_uuid NOT LIKE '%::reads'";
    assert_eq!(place.database.count(kept, &[]).await, 0, "what was read, and has no key, is gone");
}

#[tokio::test]
async fn each_round_draws_its_own_and_the_same_in_a_replay() {
    let place = Place::new().await;
    let mut host = place.builder.start().await;
    host.start_workflow("draw_in_rounds", "draws", &json!({ "drawn": [], "count": 4 })).await;
    let sleeps = "SELECT count(*) FROM dbos.operation_outputs WHERE function_name = 'DBOS.sleep'";
    until("it sleeps", async || place.database.count(sleeps, &[]).await == 1).await;
    let kept = "SELECT count(*) FROM dbos.workflow_events_history";
    assert!(place.database.count(kept, &[]).await <= 2, "the last value before the round, and that of the round");
    host.kill9().await;
    place.next_day();
    let _host = place.builder.start().await;
    let drawn = place.database.output("draws").await;
    let different: HashSet<&str> = drawn.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(different.len(), 4, "{drawn}");
}

#[tokio::test]
async fn what_a_run_has_settled_and_closed_stays_so() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    host.start_workflow("ask_in_rounds", "asks", &json!({ "round": 1 })).await;
    let link = get(host.url("/workflows/asks/events/link?wait=60")).await.json();
    let link = link.as_str().expect("a link");
    for value in ["yes", "yes"] {
        let reply = Request::post(host.url(link), &json!(value)).send().await.expect("an answer");
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(place.database.output("asks").await, json!(["yes", "stream_closed"]));
    let reply = Request::post(host.url(link), &json!("no")).send().await.expect("an answer");
    assert_eq!(reply.status, 409, "{reply:?}");
}

#[tokio::test]
async fn a_run_that_has_continued_is_done_again_from_its_round() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    host.start_workflow("fail_in_rounds", "fails", &json!({ "round": 1 })).await;
    let error = place.database.wait_for_end("fails").await.error;
    assert!(error.as_ref().is_some_and(|error| error.contains("round 2")), "{error:?}");
    let expected = vec![(2, MARK.to_owned()), (3, "DBOS.setEvent".to_owned())];
    assert_eq!(records(&place.database, "fails").await, expected);
    // What came before the round is gone, so it is done again from its first step at most.
    let forked = place.builder.output(&["workflow", "fork", "fails", "--step", "1", "--id", "forked"]).await;
    assert!(forked.status.success(), "{forked:?}");
    assert_eq!(place.database.wait_for_end("forked").await.error, error);
    assert_eq!(records(&place.database, "forked").await, expected);
    let rewound = place.builder.output(&["workflow", "rewind", "fails", "--step", "1"]).await;
    assert!(rewound.status.success(), "{rewound:?}");
    assert_eq!(place.database.wait_for_end("fails").await.error, error);
    assert_eq!(records(&place.database, "fails").await, expected);
}

#[tokio::test]
async fn a_run_that_does_nothing_but_continue_keeps_nobody_busy() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    let reply = host.run_workflow("spin", "spins", &json!({ "left": 4 })).await.expect("an answer");
    assert_eq!(reply.json(), json!(0), "{reply:?}");
    let took = "SELECT completed_at - created_at FROM dbos.workflow_status WHERE workflow_uuid = 'spins'";
    let took = place.database.count(took, &[]).await;
    assert!(took >= 400, "four rounds of a tenth of a second took {took} ms");
    let reply = host.run_workflow("continue_as_another", "another", &json!({})).await.expect("an answer");
    assert_eq!(reply.json(), json!("not_itself"), "{reply:?}");
}

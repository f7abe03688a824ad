//! A promise is settled once, by whoever has its link, early or late.

use dbos_host_tests::{Host, Reply, Request, until};
use serde_json::{Value, json};

use crate::events::{Place, get, python};
use crate::rewinds::rewound;

/// The link that a run has made.
async fn link(host: &Host, run: &str) -> String {
    let reply = get(host.url(&format!("/workflows/{run}/events/link?wait=60"))).await;
    reply.json().as_str().unwrap_or_else(|| panic!("no link: {reply:?}")).to_owned()
}

async fn settle(host: &Host, link: &str, body: &Value) -> Reply {
    Request::post(host.url(link), body).send().await.expect("an answer")
}

/// The same link for a rejection.
fn rejecting(link: &str) -> String {
    link.replacen('?', "/reject?", 1)
}

async fn ask(host: &Host, run: &str) -> String {
    host.start_workflow("ask", run, &json!({ "milliseconds": 60_000_000 })).await;
    link(host, run).await
}

fn told(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_third_party_approves_by_its_link() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    // An id that a path has to escape.
    host.start_workflow("ask", "asks/1 2", &json!({ "milliseconds": 60_000_000 })).await;
    let link = link(&host, "asks%2F1%202").await;
    assert!(link.starts_with("/workflows/asks%2F1%202/promises/approval?signature="), "{link}");
    // As a webhook of another site sends it.
    let request = Request::post(host.url(&link), &json!({ "approved": 1.5 })).header("origin", "https://mail.example");
    let reply = request.send().await.unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!({ "settled": "approval" })));
    assert_eq!(place.database.output("asks/1 2").await, json!({ "approved": 1.5 }));
    let names: Vec<String> = place.names("asks/1 2").await;
    assert_eq!(names, ["DBOS.setEvent", "DBOS.recv", "DBOS.sleep"]);
}

#[tokio::test]
async fn the_first_settlement_stands() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    host.start_workflow("ask_and_rest", "asks", &json!({ "milliseconds": 60_000_000 })).await;
    let link = link(&host, "asks").await;
    assert_eq!(settle(&host, &link, &json!({ "a": 1, "b": 2 })).await.status, 200);
    let same = Request::post(host.url(&link), &json!(null)).body(r#"{ "b": 2, "a": 1 }"#);
    assert_eq!(same.send().await.unwrap().status, 200, "the same value is the same settlement");
    assert_eq!(told(&settle(&host, &link, &json!(2)).await), (409, "promise_settled".into()));
    assert_eq!(told(&settle(&host, &rejecting(&link), &json!({})).await), (409, "promise_settled".into()));
    host.start_workflow("decide", "decides", &json!({ "id": "asks", "approve": false })).await;
    assert_eq!(place.database.output("decides").await, json!(null));
    place.next_day();
    assert_eq!(place.database.output("asks").await, json!([{ "a": 1, "b": 2 }, { "a": 1, "b": 2 }]));
    assert_eq!(place.database.steps("asks").await.len(), 4, "the second wait takes no number");
    // Whoever is late hears what became of it, after the end too.
    assert_eq!(settle(&host, &link, &json!({ "a": 1, "b": 2 })).await.status, 200);
    assert_eq!(told(&settle(&host, &link, &json!(2)).await), (409, "promise_settled".into()));
}

#[tokio::test]
async fn an_early_one_is_kept_over_a_crash() {
    let place = Place::new().await;
    let mut host = place.builder.start().await;
    host.start_workflow("ask_and_rest", "asks", &json!({ "milliseconds": 1 })).await;
    let link = link(&host, "asks").await;
    place.database.wait_for_steps("asks", 4).await;
    // By a program of DBOS, between the two waits.
    let program = "from dbos import WorkflowSerializationFormat as F
client.send('asks', {'resolved': 'early'}, 'dbos-host.promise:approval', 'dbos-host.promise:approval', serialization_type=F.PORTABLE)";
    python(&place.database, program).await;
    host.kill9().await;
    let host = place.builder.start().await;
    assert_eq!(settle(&host, &link, &json!("early")).await.status, 200);
    place.next_day();
    assert_eq!(place.database.output("asks").await, json!([null, "early"]));
}

#[tokio::test]
async fn a_rejection_is_the_workflows_error() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    let by_http = ask(&host, "asks-1").await;
    let body = json!({ "name": "Refused", "message": "too dear", "code": "E7" });
    assert_eq!(settle(&host, &rejecting(&by_http), &body).await.status, 200);
    ask(&host, "asks-2").await;
    host.start_workflow("decide", "decides", &json!({ "id": "asks-2", "approve": false })).await;
    for run in ["asks-1", "asks-2"] {
        let ended = place.database.wait_for_end(run).await;
        let error: Value = serde_json::from_str(&ended.error.expect("an error")).expect("JSON");
        let told = (&error["name"], &error["message"], &error["code"]);
        assert_eq!((ended.status.as_str(), told), ("ERROR", (&json!("Refused"), &json!("too dear"), &json!("E7"))));
    }
}

#[tokio::test]
async fn a_link_of_another_promise_or_run_settles_nothing() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    let (mine, other) = (ask(&host, "asks").await, ask(&host, "others").await);
    let (path, signature) = mine.split_once('?').unwrap();
    let of_other = other.split_once('?').unwrap().1;
    for wrong in [
        path.to_owned(),
        format!("{path}?{of_other}"),
        format!("{path}?signature="),
        format!("{path}2?{signature}"),
        format!("/workflows/nobody/promises/approval?{signature}"),
        format!("/workflows/asks/promises/a%20b?{signature}"),
    ] {
        assert_eq!(told(&settle(&host, &wrong, &json!(1)).await), (403, "bad_signature".into()), "{wrong}");
    }
    // Nor does a letter, by its topic, or by its key in front of the settlement.
    let promise = "dbos-host.promise:approval";
    let letter = json!({ "resolved": 1 });
    let reply = settle(&host, &format!("/workflows/asks/messages?topic={promise}"), &letter).await;
    assert_eq!(told(&reply), (400, "invalid_topic".into()));
    let request = Request::post(host.url("/workflows/asks/messages"), &letter).header("idempotency-key", promise);
    assert_eq!(told(&request.send().await.unwrap()), (400, "invalid_id".into()));
    let text = Request::new("POST", host.url(&mine)).body("1").send().await.unwrap();
    assert_eq!(text.status, 415, "{text:?}");
    let wrong = settle(&host, &rejecting(&mine), &json!({ "message": 1 })).await;
    assert_eq!(told(&wrong), (400, "not_a_settlement".into()));
    assert_eq!(place.database.count("SELECT count(*) FROM dbos.notifications", &[]).await, 0);
    // Without a body it is settled with nothing.
    assert_eq!(Request::new("POST", host.url(&mine)).send().await.unwrap().status, 200);
    assert_eq!(place.database.output("asks").await, json!(null));
    host.start_workflow("refused_promises", "refused", &json!({})).await;
    assert_eq!(place.database.output("refused").await, json!(["invalid_name", "invalid_name", "wait_too_long"]));
}

#[tokio::test]
async fn a_timeout_stays_one_and_the_promise_can_still_be_settled() {
    let place = Place::new().await;
    let mut host = place.builder.start().await;
    host.start_workflow("ask_and_rest", "asks", &json!({ "milliseconds": 1 })).await;
    let link = link(&host, "asks").await;
    place.database.wait_for_steps("asks", 4).await;
    host.kill9().await;
    let host = place.builder.start().await;
    assert_eq!(settle(&host, &link, &json!("late")).await.status, 200);
    place.next_day();
    assert_eq!(place.database.output("asks").await, json!([null, "late"]));
    let numbers: Vec<i32> = place.database.steps("asks").await.iter().map(|step| step.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    // One that nobody has settled in time never is.
    host.start_workflow("ask", "ends", &json!({ "milliseconds": 1 })).await;
    let too_late = self::link(&host, "ends").await;
    place.database.wait_for_end("ends").await;
    assert_eq!(told(&settle(&host, &too_late, &json!(1)).await), (409, "workflow_ended".into()));
}

#[tokio::test]
async fn a_promise_stays_settled_when_its_run_is_done_again() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    let taken = ask(&host, "asks").await;
    assert_eq!(settle(&host, &taken, &json!("yes")).await.status, 200);
    assert_eq!(place.database.output("asks").await, json!("yes"));
    rewound(&place.builder, "asks", &["--step", "1"], 1).await;
    assert_eq!(place.database.output("asks").await, json!("yes"), "nobody was asked a second time");
    assert_eq!(settle(&host, &taken, &json!("yes")).await.status, 200);
    // One that nobody had taken yet.
    ask(&host, "cancelled").await;
    let cancelled = place.builder.output(&["workflow", "cancel", "cancelled"]).await;
    assert!(cancelled.status.success(), "{cancelled:?}");
    let settle_it = "INSERT INTO dbos.notifications (destination_uuid, topic, message, serialization, message_uuid)
        SELECT 'cancelled', topic, message, serialization, replace(message_uuid, 'asks', 'cancelled')
          FROM dbos.notifications WHERE destination_uuid = 'asks'";
    place.database.execute(settle_it).await;
    rewound(&place.builder, "cancelled", &["--step", "1"], 1).await;
    assert_eq!(place.database.output("cancelled").await, json!("yes"));
}

#[tokio::test]
async fn a_run_that_was_given_up_hears_of_its_promise_when_it_is_resumed() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    let (given_up, cancelled) = (ask(&host, "given-up").await, ask(&host, "cancelled").await);
    for (run, status) in [("given-up", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"), ("cancelled", "CANCELLED")] {
        let end = format!("UPDATE dbos.workflow_status SET status = '{status}' WHERE workflow_uuid = '{run}'");
        place.database.execute(&end).await;
    }
    assert_eq!(settle(&host, &given_up, &json!("yes")).await.status, 200);
    // Whoever approves what was cancelled is to know.
    assert_eq!(told(&settle(&host, &cancelled, &json!("yes")).await), (409, "workflow_ended".into()));
    let resumed = place.builder.output(&["workflow", "resume", "given-up"]).await;
    assert!(resumed.status.success(), "{resumed:?}");
    assert_eq!(place.database.output("given-up").await, json!("yes"));
}

#[tokio::test]
async fn a_settlement_whose_answer_is_lost_is_settled_once() {
    let place = Place::new().await;
    let mut host = place.builder.clone().kill_at("promise.before_answer#1").start().await;
    let link = ask(&host, "asks").await;
    let request = Request::post(host.url(&link), &json!("yes"));
    request.send().await.expect_err("the host is killed before it answers");
    host.wait_for_exit().await;
    let host = place.builder.start().await;
    assert_eq!(settle(&host, &link, &json!("yes")).await.status, 200);
    assert_eq!(place.database.output("asks").await, json!("yes"));
    let all = "SELECT count(*) FROM dbos.notifications";
    until("there is one message", async || place.database.count(all, &[]).await == 1).await;
}

//! A message is taken once, in its order, by the record that has it; whoever waits for one costs nothing and hears of it soon.

use dbos_host_tests::{Database, Host, Reply, Request, until};
use serde_json::{Value, json};

use crate::events::{Place, python};

async fn post(host: &Host, to: &str, query: &str, body: &Value) -> Reply {
    let url = host.url(&format!("/workflows/{to}/messages{query}"));
    Request::post(url, body).send().await.expect("an answer")
}

/// Starts a reader of `count` letters under a topic that waits for longer than any test.
async fn read(host: &Host, id: &str, topic: &str, count: usize) {
    let arguments = json!({ "topic": topic, "count": count, "milliseconds": 60_000_000 });
    host.start_workflow("read", id, &arguments).await;
}

/// Waits until a run has nothing but the deadline of its wait.
async fn waits(database: &Database, id: &str) {
    let steps = database.wait_for_steps(id, 1).await;
    assert_eq!((steps[0].number, steps[0].name.as_str()), (2, "DBOS.sleep"), "{steps:?}");
}

/// How many messages there are, and how many of them are taken.
async fn counts(database: &Database) -> (i64, i64) {
    let rows = database.query("SELECT count(*), count(*) FILTER (WHERE consumed) FROM dbos.notifications", &[]).await;
    (rows[0].get(0), rows[0].get(1))
}

#[tokio::test]
async fn messages_come_in_order_and_once() {
    const LETTERS: usize = 100;
    let place = Place::new().await;
    let host = place.builder.start().await;
    let values: Vec<usize> = (0..LETTERS).collect();
    // One reads while they come, the other when all are there; what is about something else is not theirs.
    read(&host, "early", "numbers", LETTERS).await;
    waits(&place.database, "early").await;
    host.start_workflow("read_tomorrow", "late", &json!({})).await;
    assert_eq!(post(&host, "early", "?topic=other", &json!("x")).await.status, 202);
    assert_eq!(post(&host, "early", "", &json!("y")).await.status, 202);
    host.start_workflow("write", "writes", &json!({ "to": "early", "topic": "numbers", "values": values })).await;
    host.start_workflow("write", "writes-too", &json!({ "to": "late", "topic": "", "values": values })).await;
    assert_eq!(place.database.output("early").await, json!(values));
    assert_eq!(place.database.output("writes-too").await, json!(LETTERS));
    place.next_day();
    assert_eq!(place.database.output("late").await, json!(values));
    let all = i64::try_from(LETTERS).unwrap();
    assert_eq!(counts(&place.database).await, (2 * all + 2, 2 * all));
    let wrong = "SELECT count(*) FROM dbos.notifications n LEFT JOIN dbos.operation_outputs o
                   ON o.workflow_uuid = n.destination_uuid AND o.function_id = n.consumed_by_function_id
                  WHERE consumed AND (o.function_name, o.output) IS DISTINCT FROM ('DBOS.recv', n.message)";
    assert_eq!(place.database.count(wrong, &[]).await, 0, "each is with the record that has it");
}

#[tokio::test]
async fn a_timeout_stays_one_though_a_message_came_later() {
    let place = Place::new().await;
    let mut host = place.builder.start().await;
    host.start_workflow("read_and_rest", "reads", &json!({ "milliseconds": 1 })).await;
    let steps = place.database.wait_for_steps("reads", 3).await;
    let first = &steps[0];
    assert_eq!((first.name.as_str(), &first.output, &first.error), ("DBOS.recv", &None, &None), "{steps:?}");
    host.kill9().await;
    let host = place.builder.start().await;
    assert_eq!(post(&host, "reads", "", &json!("late")).await.status, 202);
    place.next_day();
    assert_eq!(place.database.output("reads").await, json!(null));
    assert_eq!(counts(&place.database).await, (1, 0), "it is there for whoever asks next");
}

#[tokio::test]
async fn a_send_to_nobody_is_an_error_in_every_replay() {
    let place = Place::new().await;
    let mut host = place.builder.start().await;
    host.start_workflow("write_to_nobody", "writes", &json!({ "id": "reads" })).await;
    let steps = place.database.wait_for_steps("writes", 2).await;
    let error: Value = serde_json::from_str(steps[0].error.as_deref().expect("an error")).expect("JSON");
    assert_eq!((&error["name"], &error["code"]), (&json!("NonExistentWorkflow"), &json!("no_such_workflow")));
    host.kill9().await;
    let host = place.builder.start().await;
    host.start_workflow("read_tomorrow", "reads", &json!({})).await;
    place.next_day();
    assert_eq!(place.database.output("writes").await, json!("no_such_workflow"));
    assert_eq!(counts(&place.database).await, (0, 0));
    let reply = post(&host, "nobody", "", &json!(1)).await;
    assert_eq!((reply.status, &reply.json()["code"]), (404, &json!("no_such_workflow")), "{reply:?}");
}

#[tokio::test]
async fn a_key_makes_two_sends_one() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    host.start_workflow("read_tomorrow", "reads", &json!({})).await;
    // The same key by two runs, by HTTP with the same message and with others, and by the real client.
    for run in ["first", "second"] {
        host.start_workflow("write_once", run, &json!({ "to": "reads", "value": run, "key": "once" })).await;
        place.database.wait_for_end(run).await;
    }
    let sent =
        [("reads/messages", "first", 202), ("reads/messages", "third", 409), ("reads/messages?topic=t", "first", 409)];
    for (path, body, status) in sent {
        let request = Request::post(host.url(&format!("/workflows/{path}")), &json!(body));
        let reply = request.header("idempotency-key", "once").send().await.expect("an answer");
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(status == 202 || reply.json()["code"] == json!("message_conflict"), "{reply:?}");
    }
    python(&place.database, "client.send('reads', 'fifth', idempotency_key='once')").await;
    // A handler's messages are known by its request, and a key is one request for each route.
    for path in ["/write/reads", "/write/reads", "/write_too/reads"] {
        let request = Request::post(host.url(path), &json!({})).header("idempotency-key", "request");
        assert_eq!(request.send().await.expect("an answer").status, 204);
    }
    place.next_day();
    let read = json!(["first", "by a handler", "by a handler again", "by another handler"]);
    assert_eq!(place.database.output("reads").await, read);
    assert_eq!(counts(&place.database).await, (4, 4));
}

#[tokio::test]
async fn an_unreadable_message_is_an_error_of_its_receiver() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    read(&host, "reads", "", 1).await;
    waits(&place.database, "reads").await;
    python(&place.database, "client.send('reads', {1, 2})").await;
    let run = place.database.wait_for_end("reads").await;
    let error: Value = serde_json::from_str(&run.error.expect("an error")).expect("JSON");
    assert_eq!((run.status.as_str(), &error["code"]), ("ERROR", &json!("unreadable_record")));
    assert_eq!(counts(&place.database).await, (1, 1));
}

#[tokio::test]
async fn a_message_null_is_a_message() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    read(&host, "reads", "", 1).await;
    waits(&place.database, "reads").await;
    assert_eq!(post(&host, "reads", "", &json!(null)).await.status, 202);
    assert_eq!(place.database.output("reads").await, json!([null]));
    assert_eq!(place.database.steps("reads").await[0].output.as_deref(), Some("null"));
}

#[tokio::test]
async fn a_thousand_receivers_hold_no_instance_and_are_all_woken_after_a_crash() {
    const READERS: usize = 1000;
    let place = Place::new().await;
    let builder = place.builder.clone().config("limits: { workflows: 1 }");
    let mut host = builder.start().await;
    for n in 0..READERS {
        read(&host, &format!("reads-{n}"), "", 1).await;
    }
    let waiting = "SELECT count(*) FROM dbos.operation_outputs WHERE function_name = 'DBOS.sleep'";
    let all = i64::try_from(READERS).unwrap();
    until("all wait", async || place.database.count(waiting, &[]).await == all).await;
    // There is one place for an instance, and it is free.
    host.start_workflow("show", "shows", &json!({ "values": [1] })).await;
    assert_eq!(place.database.output("shows").await, json!(1));
    host.kill9().await;
    // Long before the deadlines, which are all that they have recorded.
    let host = builder.start().await;
    for n in 0..READERS {
        assert_eq!(post(&host, &format!("reads-{n}"), "", &json!(n)).await.status, 202);
    }
    for n in 0..READERS {
        assert_eq!(place.database.output(&format!("reads-{n}")).await, json!([n]));
    }
}

#[tokio::test]
async fn a_sender_on_another_host_wakes_within_a_second() {
    let place = Place::new().await;
    let reads = place.builder.clone().executor("reads").start().await;
    let writes = place.builder.clone().executor("writes").start().await;
    let mut took = Vec::new();
    // A machine that is busy with other things may hold one of them up.
    for n in 0..5 {
        let reader = format!("reads-{n}");
        read(&reads, &reader, "", 1).await;
        waits(&place.database, &reader).await;
        assert_eq!(post(&writes, &reader, "", &json!(n)).await.status, 202);
        assert_eq!(place.database.output(&reader).await, json!([n]));
        let ended = "SELECT s.completed_at - n.created_at_epoch_ms FROM dbos.workflow_status s
                       JOIN dbos.notifications n ON n.destination_uuid = s.workflow_uuid WHERE s.workflow_uuid = $1";
        took.push(place.database.count(ended, &[&reader]).await);
    }
    assert!(took.iter().any(|ms| *ms < 1000), "in milliseconds: {took:?}");
}

#[tokio::test]
async fn dbos_clients_send_and_are_heard() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    read(&host, "reads", "", 2).await;
    waits(&place.database, "reads").await;
    let program = "from dbos import WorkflowSerializationFormat as F
client.send('reads', {'of': 'python'}, serialization_type=F.PORTABLE)";
    python(&place.database, program).await;
    place.database.wait_for_steps("reads", 3).await;
    place.database.query("SELECT dbos.send_message('reads', '[\"of SQL\"]')", &[]).await;
    assert_eq!(place.database.output("reads").await, json!([{ "of": "python" }, ["of SQL"]]));
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_takes_no_number() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    host.start_workflow("refused_letters", "refused", &json!({})).await;
    let codes = json!(["invalid_topic", "invalid_id", "invalid_id", "invalid_topic", "wait_too_long"]);
    assert_eq!(place.database.output("refused").await, codes);
    assert_eq!(place.database.steps("refused").await.len(), 0);
    let reply = post(&host, "refused", "?topic=", &json!(1)).await;
    assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("invalid_topic")), "{reply:?}");
    let text = Request::new("POST", host.url("/workflows/refused/messages")).body("1").send().await.unwrap();
    assert_eq!(text.status, 415, "{text:?}");
    let page = Request::new("POST", host.url("/workflows/refused/messages")).header("origin", "http://evil.example");
    assert_eq!(page.send().await.unwrap().status, 403);
    assert_eq!(counts(&place.database).await, (0, 0));
}

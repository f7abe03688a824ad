//! Whoever asks what an unfinished run does is told what it waits for: by its own host, by another one, and by the command line.

use std::time::Duration;

use dbos_host_tests::{Answer, Database, Gate, Host, HostBuilder, Outside, Request, TestPostgres, eventually, until};
use serde_json::{Value, json};

struct Place {
    database: Database,
    builder: HostBuilder,
    gate: Gate,
    _outside: Outside,
}

impl Place {
    async fn new() -> Self {
        let gate = Gate::closed();
        let held = gate.clone();
        let outside = Outside::answering(move |request, _| match request.path.as_str() {
            "/failing" => Answer::Reply(503, String::new()),
            _ => Answer::Reply(200, "told".into()).held_by(&held),
        })
        .await;
        let database = TestPostgres::shared().fresh_database().await;
        let builder = HostBuilder::new("waits").database(&database).allow(&outside.url());
        let builder = builder.guest_env("OUTSIDE_URL", &outside.url());
        Self { database, builder, gate, _outside: outside }
    }

    fn owner(&self) -> HostBuilder {
        self.builder.clone().executor("owner")
    }

    async fn reader(&self) -> Host {
        self.builder.clone().executor("reader").start().await
    }
}

/// What a run waits for, without its times, which must be there where a time belongs.
fn timeless(waiting: &Value) -> Value {
    let mut waiting = waiting.clone();
    if let Some(members) = waiting.as_object_mut() {
        assert!(members.remove("since").is_some_and(|since| since.is_i64()), "{members:?}");
        if let Some(until) = members.get_mut("until") {
            assert!(until.is_i64(), "{until}");
            *until = json!(true);
        }
    }
    waiting
}

async fn over_http(host: &Host, run: &str) -> Value {
    let reply = Request::get(host.url(&format!("/workflows/{run}"))).send().await.expect("an answer");
    timeless(&reply.json()["waiting"])
}

async fn by_the_admin_server(host: &Host, run: &str) -> Value {
    let reply = Request::get(host.admin_url(&format!("/workflows/{run}"))).send().await.expect("an answer");
    timeless(&reply.json()["Waiting"])
}

async fn told(what: &str, expected: &Value, mut look: impl AsyncFnMut() -> Value) {
    let mut last = Value::Null;
    let comes = async {
        eventually(what, async || {
            last = look().await;
            (last == *expected).then_some(())
        })
        .await;
    };
    let patience = Duration::from_secs(30);
    let comes = tokio::time::timeout(patience, comes).await;
    assert!(comes.is_ok(), "{what}: {last}, not {expected}");
}

/// The run waits for this, whoever is asked.
async fn everybody_is_told(place: &Place, hosts: [&Host; 2], (run, expected): (&str, Value)) {
    for (who, host) in ["its own host", "another host"].iter().zip(hosts) {
        told(&format!("{run} by {who}"), &expected, async || over_http(host, run).await).await;
        assert_eq!(by_the_admin_server(host, run).await, expected, "{run} by the admin server of {who}");
    }
    let output = place.owner().output(&["workflow", "get", run, "--json"]).await;
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(timeless(&shown["waiting"]), expected, "{run} on the command line");
}

#[tokio::test]
async fn everybody_is_told_what_a_run_waits_for() {
    let place = Place::new().await;
    let (owner, reader) = (place.owner().start().await, place.reader().await);
    let cases = [
        ("sleeps", "time", json!({ "for": "sleep", "until": true })),
        ("receives", "message", json!({ "for": "message", "topic": "go", "until": true })),
        ("promised", "promise", json!({ "for": "promise", "name": "paid", "until": true })),
        ("looks", "event", json!({ "for": "event", "id": "sleeps", "key": "shown", "until": true })),
        ("reads", "stream", json!({ "for": "stream", "id": "sleeps", "key": "out", "offset": 0 })),
        ("joins", "workflow", json!({ "for": "workflow", "id": "sleeps" })),
        ("asks", "step", json!({ "for": "steps", "steps": [1] })),
        ("asks-twice", "steps", json!({ "for": "steps", "steps": [1] })),
        ("tries", "retry", json!({ "for": "retry", "step": 1, "until": true })),
        ("beside", "message beside a step", json!({ "for": "message", "topic": "go", "until": true })),
    ];
    for (run, what, _) in &cases {
        owner.start_workflow("wait_for", run, &json!({ "what": what })).await;
    }
    for (run, _, expected) in cases {
        everybody_is_told(&place, [&owner, &reader], (run, expected)).await;
    }
    let list = String::from_utf8(place.owner().output(&["workflow", "list"]).await.stdout).expect("text");
    for shown in ["WAITS", "message go", "promise paid", "event shown", "stream out", "workflow sleeps", "retry of 1"] {
        assert!(list.contains(shown), "{shown}: {list}");
    }
    let get = String::from_utf8(place.owner().output(&["workflow", "get", "receives"]).await.stdout).expect("text");
    assert!(get.contains("a message under `go` until 20"), "{get}");
    // What comes to its end waits for nothing, and nothing of it is left.
    place.gate.open();
    for run in ["asks", "asks-twice"] {
        place.database.wait_for_end(run).await;
        assert_eq!(over_http(&reader, run).await, Value::Null);
    }
    let left = "SELECT count(*) FROM dbos_host.waiting WHERE starts_with(workflow_uuid, 'asks')";
    until("what was told of them is removed", async || place.database.count(left, &[]).await == 0).await;
}

#[tokio::test]
async fn a_run_that_waits_for_its_turn_or_another_attempt_says_so() {
    let place = Place::new().await;
    let owner = place.owner().config("limits: { workflows: 1 }").start().await;
    let reader = place.reader().await;
    owner.start_workflow("wait_for", "fails", &json!({ "what": "another attempt" })).await;
    let attempts = async || {
        let mut waiting = over_http(&reader, "fails").await;
        waiting.as_object_mut().map(|members| members.remove("attempts"));
        waiting
    };
    told("fails", &json!({ "for": "attempt", "until": true }), attempts).await;
    // The one slot is that of a run whose step does not end.
    owner.start_workflow("wait_for", "asks", &json!({ "what": "step" })).await;
    told("asks", &json!({ "for": "steps", "steps": [1] }), async || over_http(&owner, "asks").await).await;
    owner.start_workflow("wait_for", "waits", &json!({ "what": "time" })).await;
    everybody_is_told(&place, [&owner, &reader], ("waits", json!({ "for": "slot" }))).await;
}

#[tokio::test]
async fn a_run_whose_row_is_locked_waits_for_the_database() {
    let place = Place::new().await;
    let (owner, reader) = (place.owner().start().await, place.reader().await);
    owner.start_workflow("wait_for", "asks", &json!({ "what": "message beside a step" })).await;
    told("asks", &json!({ "for": "message", "topic": "go", "until": true }), async || over_http(&owner, "asks").await)
        .await;
    let locks = place.database.connect().await;
    locks
        .batch_execute("BEGIN; SELECT FROM dbos.workflow_status WHERE workflow_uuid = 'asks' FOR NO KEY UPDATE")
        .await
        .unwrap();
    let sent = Request::post(owner.url("/workflows/asks/messages?topic=go"), &json!(1));
    let sent = tokio::spawn(sent.send());
    place.gate.open();
    everybody_is_told(&place, [&owner, &reader], ("asks", json!({ "for": "database" }))).await;
    locks.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(sent.await.unwrap().unwrap().status, 202);
    assert_eq!(place.database.output("asks").await, json!("done"));
}

#[tokio::test]
async fn what_a_crash_of_the_server_takes_is_told_again_and_what_a_dead_host_told_is_not_believed() {
    let place = Place::new().await;
    let mut owner = place.owner().start().await;
    owner.start_workflow("wait_for", "receives", &json!({ "what": "message" })).await;
    let message = json!({ "for": "message", "topic": "go", "until": true });
    let reader = place.reader().await;
    told("receives", &message, async || over_http(&reader, "receives").await).await;
    // As a crash of the server does: the table is empty, and nobody is told.
    place.database.execute("TRUNCATE dbos_host.waiting").await;
    told("receives again", &message, async || over_http(&reader, "receives").await).await;
    owner.kill9().await;
    place.database.execute("UPDATE dbos.workflow_status SET owner_xid = 'somebody else'").await;
    assert_eq!(over_http(&reader, "receives").await, Value::Null);
}

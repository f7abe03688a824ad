//! Children are started on terms, asked about and changed by their ids, and what a workflow was told once, it is told in every
//! replay.

use std::fs;
use std::path::PathBuf;

use dbos_host_tests::{Database, Host, HostBuilder, Request, TestPostgres};
use serde_json::{Value, json};

const HOUR: u64 = 3_600_000;

/// A host with the family on a clock that the test moves.
pub(crate) struct Family {
    pub(crate) database: Database,
    pub(crate) builder: HostBuilder,
    clock: PathBuf,
}

impl Family {
    pub(crate) async fn new() -> Self {
        Self::running("family").await
    }

    pub(crate) async fn running(guest: &str) -> Self {
        let database = TestPostgres::shared().fresh_database().await;
        let builder = HostBuilder::new(guest).database(&database).executor("family");
        let clock = builder.folder().join("clock");
        let builder = builder.environment("DBOS_HOST_TEST_CLOCK", &clock.display().to_string());
        let family = Self { database, builder, clock };
        family.move_clock(0);
        family
    }

    /// The clock shows so many milliseconds more than the machine's.
    pub(crate) fn move_clock(&self, by: u64) {
        fs::write(&self.clock, by.to_string()).unwrap();
    }
}

async fn get(host: &Host, path: &str) -> Value {
    let reply = Request::get(host.url(path)).send().await.unwrap();
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

async fn post(host: &Host, path: &str, body: &Value) -> dbos_host_tests::Reply {
    Request::post(host.url(path), body).send().await.unwrap()
}

#[tokio::test]
async fn a_child_has_its_terms_and_tells_them() {
    let family = Family::new().await;
    let host = family.builder.start().await;
    let terms = json!({ "id": "mine", "timeout": HOUR, "attributes": { "tenant": "acme", "n": [1, 2.5] } });
    let reply = host.run_workflow("start_on", "p", &json!({ "terms": terms, "milliseconds": 20 })).await.unwrap();
    let before = json!({
        "id": "mine", "status": "Pending", "name": "late_child", "parent": "p", "ended": false, "deadline": HOUR,
        "attributes": { "n": [1, 2.5], "tenant": "acme" }, "app": "family",
    });
    let mut after = before.clone();
    (after["status"], after["ended"]) = (json!("Success"), json!(true));
    assert_eq!(reply.json(), json!([before, 20, after]), "{reply:?}");
    let names: Vec<String> = family.database.steps("p").await.into_iter().map(|step| step.name).collect();
    assert_eq!(names, ["late_child", "DBOS.getStatus", "DBOS.getResult", "DBOS.getStatus"]);
}

#[tokio::test]
async fn terms_that_cannot_be_are_refused_and_take_no_number() {
    let family = Family::new().await;
    let host = family.builder.start().await;
    let all = json!([
        { "timeout": 0 }, { "timeout": u64::MAX }, { "attributes": [1] }, { "attributes": { "dbos.x": 1 } },
        { "attributes": { "zero": "\0" } }, { "attributes": { "long": "x".repeat(16 * 1024) } }, { "id": "" },
    ]);
    let reply = host.run_workflow("start_on_wrong_terms", "p", &json!({ "all": all })).await.unwrap();
    let bad = "bad_attributes";
    assert_eq!(reply.json(), json!(["bad_timeout", "bad_timeout", bad, bad, bad, bad, "invalid_id"]), "{reply:?}");
    let steps = family.database.steps("p").await;
    assert_eq!(steps.iter().map(|step| step.number).collect::<Vec<_>>(), [1], "{steps:?}");
}

#[tokio::test]
async fn a_wait_for_a_child_ends_at_its_time_and_stays_so_in_every_replay() {
    let family = Family::new().await;
    let mut host = family.builder.start().await;
    let arguments = json!({ "child": 2 * HOUR, "within": HOUR });
    host.start_workflow("wait_twice", "p", &arguments).await;
    family.database.wait_for_steps("p", 2).await;
    // Killed in the first wait: its time goes on.
    host.kill9().await;
    let mut host = family.builder.start().await;
    family.move_clock(HOUR + HOUR / 2);
    let steps = family.database.wait_for_steps("p", 3).await;
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["late_child", "DBOS.getResult", "DBOS.sleep"]);
    assert_eq!((&steps[1].output, &steps[1].child), (&None, &Some("p-1".to_owned())), "there was no result then");
    host.kill9().await;
    // In the next life the child's result is there first, and the answer of the first wait stays.
    family.move_clock(3 * HOUR);
    let _host = family.builder.start().await;
    assert_eq!(family.database.output("p").await, json!([null, 2 * HOUR]));
}

#[tokio::test]
async fn a_wait_for_a_child_has_its_result_when_that_comes_first() {
    let family = Family::new().await;
    let host = family.builder.start().await;
    let arguments = json!({ "child": 800, "within": HOUR });
    // Longer than an instance is kept: the run is parked, and woken by the child's end.
    let reply = host.run_workflow("wait_twice", "p", &arguments).await.unwrap();
    assert_eq!(reply.json(), json!([800, 800]), "{reply:?}");
    let reply = host.run_workflow("wait_for_those_who_ended", "q", &json!({})).await.unwrap();
    assert_eq!(reply.json(), json!([["Unlucky", "no luck"], "no_such_workflow", "wait_too_long", true]), "{reply:?}");
}

#[tokio::test]
async fn a_wait_survives_kills_at_each_of_its_boundaries() {
    for visit in ["pair.before_wait#1", "record.before_commit#1", "record.after_commit#1", "record.after_commit#2"] {
        let family = Family::new().await;
        let mut host = family.builder.clone().kill_at(visit).launch();
        assert!(host.listens().await);
        let _killed = host.ask_to_start("wait_twice", "p", &json!({ "child": 700, "within": 1 })).await;
        host.wait_for_exit().await;
        let _host = family.builder.start().await;
        assert_eq!(family.database.output("p").await[1], 700, "{visit}");
    }
}

#[tokio::test]
async fn workflows_cancel_and_resume_others_and_hear_what_came_of_it_in_every_replay() {
    let family = Family::new().await;
    let mut host = family.builder.start().await;
    host.start_workflow("patient_grandparent", "g", &json!({ "milliseconds": HOUR })).await;
    family.database.wait_for_steps("g-1-1", 1).await;
    let change = async |host: &Host, id: &str, what: &str, of: &str| {
        host.run_workflow("change", id, &json!({ "what": what, "id": of })).await.unwrap().json()
    };
    assert_eq!(change(&host, "a", "cancel", "g").await, "Cancelled");
    assert_eq!(family.database.status("g-1").await.as_deref(), Some("PENDING"), "children go on");
    assert_eq!(change(&host, "b", "resume", "g").await, "Enqueued");
    family.database.wait_for_steps("g", 1).await;
    assert_eq!(change(&host, "c", "cancel all", "g").await, "Cancelled");
    assert_eq!(family.database.status("g-1").await.as_deref(), Some("CANCELLED"));
    assert_eq!(family.database.status("g-1-1").await.as_deref(), Some("CANCELLED"));
    assert_eq!(change(&host, "d", "cancel", "a").await, "Success", "it had ended");
    assert_eq!(change(&host, "e", "cancel", "nobody").await, "no_such_workflow");
    assert_eq!(change(&host, "f", "resume", "nobody").await, "no_such_workflow");
    let names = async |id: &str| family.database.steps(id).await.into_iter().map(|step| step.name).collect::<Vec<_>>();
    assert_eq!(names("c").await, ["grow", "DBOS.cancelWorkflow", "DBOS.getStatus"]);
    assert_eq!(names("b").await, ["grow", "DBOS.resumeWorkflow", "DBOS.getStatus"]);
    host.kill9().await;
}

#[tokio::test]
async fn a_cancel_that_is_killed_before_its_record_is_done_again() {
    for visit in ["cancel.before_commit#1", "cancel.after_commit#1", "record.before_commit#2", "record.after_commit#2"]
    {
        let family = Family::new().await;
        let mut host = family.builder.clone().kill_at(visit).launch();
        assert!(host.listens().await);
        host.start_workflow("late_child", "victim", &json!({ "milliseconds": HOUR })).await;
        // The first record is the victim's sleep.
        family.database.wait_for_steps("victim", 1).await;
        let arguments = json!({ "what": "cancel", "id": "victim" });
        let _killed = host.ask_to_start("change", "p", &arguments).await;
        host.wait_for_exit().await;
        let _host = family.builder.start().await;
        assert_eq!(family.database.output("p").await, json!("Cancelled"), "{visit}");
        assert_eq!(family.database.status("victim").await.as_deref(), Some("CANCELLED"), "{visit}");
    }
}

#[tokio::test]
async fn a_run_that_cancels_itself_ends_there() {
    let family = Family::new().await;
    let host = family.builder.start().await;
    let reply = host.run_workflow("change", "p", &json!({ "what": "cancel", "id": "p" })).await.unwrap();
    assert_eq!(reply.json()["error"]["code"], "cancelled", "{reply:?}");
    assert_eq!(family.database.steps("p").await.len(), 1, "nothing is recorded behind it");
}

#[tokio::test]
async fn a_run_that_resumes_itself_goes_on() {
    let family = Family::new().await;
    let host = family.builder.start().await;
    let reply = host.run_workflow("change", "p", &json!({ "what": "resume", "id": "p" })).await.unwrap();
    assert_eq!(reply.json(), "Pending", "{reply:?}");
    host.start_workflow("late_child", "s", &json!({ "milliseconds": HOUR })).await;
    family.database.wait_for_steps("s", 1).await;
    let owner = "SELECT owner_xid FROM dbos.workflow_status WHERE workflow_uuid = 's'";
    let before: String = family.database.query(owner, &[]).await[0].get(0);
    let reply = host.run_workflow("change", "q", &json!({ "what": "resume", "id": "s" })).await.unwrap();
    assert_eq!(reply.json(), "Pending", "{reply:?}");
    assert_eq!(family.database.query(owner, &[]).await[0].get::<_, String>(0), before, "nobody has taken it anew");
}

#[tokio::test]
async fn a_run_of_another_app_is_nobodys_to_change() {
    let family = Family::new().await;
    let host = family.builder.start().await;
    host.start_workflow("patient_parent", "p", &json!({ "milliseconds": HOUR })).await;
    family.database.wait_for_steps("p-1", 1).await;
    let others = "UPDATE dbos.workflow_status SET application_name = 'other' WHERE workflow_uuid LIKE 'p%' RETURNING 1";
    assert_eq!(family.database.query(others, &[]).await.len(), 2);
    for what in ["cancel", "cancel all", "resume"] {
        let reply = host.run_workflow("change", what, &json!({ "what": what, "id": "p" })).await.unwrap();
        assert_eq!(reply.json(), "no_such_workflow", "{what}: {reply:?}");
        let reply = post(&host, &format!("/runs/p/{}", what.replace(' ', "%20")), &json!({})).await;
        assert_eq!(reply.json(), "no_such_workflow", "{what}: {reply:?}");
    }
    let running = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'PENDING' AND workflow_uuid LIKE 'p%'";
    assert_eq!(family.database.count(running, &[]).await, 2);
}

#[tokio::test]
async fn handlers_ask_about_runs_and_change_them() {
    let family = Family::new().await;
    let host = family.builder.start().await;
    let terms = json!({ "id": "mine", "timeout": 5 * HOUR, "attributes": { "tenant": "acme" } });
    let reply = post(&host, "/start", &terms).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "mine"), "{reply:?}");
    // Its sleep is recorded.
    family.database.wait_for_steps("mine", 1).await;
    let told = get(&host, "/runs/mine").await;
    assert_eq!((&told["status"], &told["deadline"]), (&json!("Pending"), &json!(5 * HOUR)), "{told}");
    assert_eq!((&told["parent"], &told["attributes"]), (&Value::Null, &json!({ "tenant": "acme" })), "{told}");
    assert_eq!(get(&host, "/runs/nobody").await, Value::Null);
    assert_eq!(get(&host, "/runs/mine/within/1").await, Value::Null);
    assert_eq!(post(&host, "/runs/mine/cancel", &json!({})).await.json(), "Cancelled");
    assert_eq!(post(&host, "/runs/mine/resume", &json!({})).await.json(), "Enqueued");
    family.move_clock(2 * HOUR);
    assert_eq!(family.database.output("mine").await, json!(HOUR), "a run that was resumed has its time anew");
    assert_eq!(get(&host, "/runs/mine/within/60000").await, json!(HOUR));
}

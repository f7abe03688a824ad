//! What a run shows under a name is there for everybody, and whoever waits for it costs nothing and hears of it soon.

use std::fs;
use std::path::PathBuf;

use dbos_host_tests::{Database, HostBuilder, Reply, Request, TestPostgres, programs, until};
use serde_json::{Value, json};

/// Tomorrow, in milliseconds.
const NEXT_DAY: &str = "86400000";

/// A host whose clock stands in a file.
pub(crate) struct Place {
    pub(crate) database: Database,
    pub(crate) builder: HostBuilder,
    clock: PathBuf,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::of("letters").await
    }

    /// With another program.
    pub(crate) async fn of(guest: &str) -> Self {
        let database = TestPostgres::shared().fresh_database().await;
        let builder = HostBuilder::new(guest).database(&database).executor(guest);
        let clock = builder.folder().join("clock");
        fs::write(&clock, "0").unwrap();
        let builder = builder.environment("DBOS_HOST_TEST_CLOCK", &clock.display().to_string());
        Self { database, builder, clock }
    }

    pub(crate) fn next_day(&self) {
        fs::write(&self.clock, NEXT_DAY).unwrap();
    }

    /// The names of a run's records, in the order of their numbers.
    pub(crate) async fn names(&self, run: &str) -> Vec<String> {
        self.database.steps(run).await.into_iter().map(|step| step.name).collect()
    }
}

/// Runs a program of the real `dbos` package's client on a database; returns what it printed.
pub(crate) async fn python(database: &Database, program: &str) -> String {
    let program = format!(
        "import sys, json\nfrom dbos import DBOSClient\n\
         client = DBOSClient(system_database_url=sys.argv[1], use_listen_notify=True)\n{program}\nclient.destroy()"
    );
    let mut command = tokio::process::Command::new(programs::python());
    let output = command.args(["-c", &program, database.url()]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) async fn get(url: String) -> Reply {
    Request::get(url).send().await.expect("an answer")
}

#[tokio::test]
async fn the_last_value_is_read_and_every_value_is_kept() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    host.start_workflow("show", "shows", &json!({ "values": [1, { "of": "two" }, null] })).await;
    assert_eq!(place.database.output("shows").await, json!(3));
    let steps = place.database.steps("shows").await;
    assert!(steps.iter().all(|step| step.name == "DBOS.setEvent" && step.output.is_none() && step.error.is_none()));
    let values = "SELECT function_id, key, value, serialization FROM dbos.workflow_events_history ORDER BY 1";
    let rows = place.database.query(values, &[]).await;
    let rows: Vec<(i32, String, String, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let row = |step, value: &str| (step, "value".to_owned(), value.to_owned(), "portable_json".to_owned());
    assert_eq!(rows, [row(1, "1"), row(2, r#"{"of":"two"}"#), row(3, "null")]);
    // For a workflow, a handler, and a client.
    host.start_workflow("look", "looks", &json!({ "id": "shows", "milliseconds": 0 })).await;
    assert_eq!(place.database.output("looks").await, json!(null));
    assert_eq!(place.database.steps("looks").await[0].output.as_deref(), Some("null"), "a value, and not none");
    assert_eq!(get(host.url("/look/shows/0")).await.json(), json!(null));
    let reply = get(host.url("/workflows/shows/events/value")).await;
    assert_eq!((reply.status, reply.json()), (200, json!(null)));
}

#[tokio::test]
async fn a_reader_in_a_workflow_reads_the_same_in_a_replay() {
    let place = Place::new().await;
    let mut host = place.builder.start().await;
    host.start_workflow("show", "shows", &json!({ "values": ["first"] })).await;
    place.database.wait_for_end("shows").await;
    host.start_workflow("look_and_rest", "looks", &json!({ "id": "shows", "milliseconds": 60_000 })).await;
    place.database.wait_for_steps("looks", 3).await;
    assert_eq!(place.names("looks").await, ["DBOS.getEvent", "DBOS.sleep", "DBOS.sleep"]);
    host.kill9().await;
    place.database.execute("UPDATE dbos.workflow_events SET value = '\"second\"'").await;
    place.next_day();
    let _host = place.builder.start().await;
    assert_eq!(place.database.output("looks").await, json!("first"));
}

#[tokio::test]
async fn a_timeout_stays_a_timeout_though_the_event_came_later() {
    let place = Place::new().await;
    let mut host = place.builder.start().await;
    host.start_workflow("look_and_rest", "looks", &json!({ "id": "shows", "milliseconds": 1 })).await;
    let steps = place.database.wait_for_steps("looks", 3).await;
    assert_eq!((&steps[0].output, &steps[0].error), (&None, &None), "{steps:?}");
    host.kill9().await;
    let host = place.builder.start().await;
    host.start_workflow("show", "shows", &json!({ "values": ["late"] })).await;
    place.database.wait_for_end("shows").await;
    place.next_day();
    assert_eq!(place.database.output("looks").await, json!(null));
}

#[tokio::test]
async fn a_deadline_survives_a_crash_in_the_middle_of_the_wait() {
    let place = Place::new().await;
    let held = place.builder.clone().kill_at("pair.before_wait#1");
    let mut host = held.start().await;
    let asked = host.ask_to_start("look_at_the_clock", "waits", &json!({ "milliseconds": 80_000_000 })).await;
    drop(asked);
    host.wait_for_exit().await;
    let before = place.database.steps("waits").await;
    assert_eq!(place.names("waits").await, ["DBOS.sleep"], "the deadline is there before the answer");
    let _host = place.builder.start().await;
    place.next_day();
    let now = place.database.output("waits").await.as_u64().expect("milliseconds");
    let steps = place.database.steps("waits").await;
    assert_eq!(steps[1], before[0], "the deadline is the one that was recorded");
    // In seconds with three decimals.
    let deadline = steps[1].output.as_deref().expect("a time").replace('.', "");
    assert_eq!(now.to_string(), deadline, "the workflow's clock shows when the wait was over");
}

#[tokio::test]
async fn waiting_readers_hold_no_instance_and_are_all_woken() {
    const READERS: usize = 20;
    let place = Place::new().await;
    let builder = place.builder.clone().config("limits: { workflows: 1 }");
    let mut host = builder.start().await;
    for n in 0..READERS {
        let arguments = json!({ "id": "shows", "milliseconds": 60_000_000 });
        host.start_workflow("look", &format!("looks-{n}"), &arguments).await;
    }
    let waiting = "SELECT count(*) FROM dbos.operation_outputs WHERE function_name = 'DBOS.sleep'";
    let all = i64::try_from(READERS).unwrap();
    until("all wait", async || place.database.count(waiting, &[]).await == all).await;
    // Those that were taken over wait as those that were not.
    host.kill9().await;
    let host = builder.start().await;
    host.start_workflow("show", "shows", &json!({ "values": ["seen"] })).await;
    for n in 0..READERS {
        assert_eq!(place.database.output(&format!("looks-{n}")).await, json!("seen"));
    }
}

#[tokio::test]
async fn a_reader_on_another_host_is_woken_within_a_second() {
    let place = Place::new().await;
    let reads = place.builder.clone().executor("reads").start().await;
    let shows = place.builder.clone().executor("shows").start().await;
    let mut took = Vec::new();
    // A machine that is busy with other things may hold one of them up.
    for n in 0..5 {
        let (reader, writer) = (format!("looks-{n}"), format!("shows-{n}"));
        let arguments = json!({ "id": writer, "milliseconds": 60_000 });
        reads.start_workflow("look", &reader, &arguments).await;
        place.database.wait_for_steps(&reader, 1).await;
        shows.start_workflow("show", &writer, &json!({ "values": [n] })).await;
        assert_eq!(place.database.output(&reader).await, json!(n));
        place.database.wait_for_end(&writer).await;
        let ended = "SELECT r.completed_at - w.completed_at FROM dbos.workflow_status r, dbos.workflow_status w
                      WHERE r.workflow_uuid = $1 AND w.workflow_uuid = $2";
        took.push(place.database.count(ended, &[&reader, &writer]).await);
    }
    assert!(took.iter().any(|ms| *ms < 1000), "in milliseconds: {took:?}");
}

#[tokio::test]
async fn a_client_waits_by_http() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    let at = |run: &str, wait: &str| host.url(&format!("/workflows/{run}/events/value?wait={wait}"));
    let nobody = get(at("nobody", "0")).await;
    assert_eq!((nobody.status, &nobody.json()["code"]), (404, &json!("no_such_workflow")));
    host.start_workflow("show_tomorrow", "shows", &json!({ "value": [1] })).await;
    let none = get(at("shows", "0")).await;
    assert_eq!((none.status, none.body.as_str()), (204, ""));
    let wrong = get(host.url("/workflows/shows/events/a%0Ab")).await;
    assert_eq!((wrong.status, &wrong.json()["code"]), (400, &json!("invalid_key")));
    let waits = tokio::spawn(get(at("shows", "60")));
    place.next_day();
    let reply = waits.await.unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!([1])), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn an_operator_reads_what_a_run_shows() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    host.start_workflow("show", "shows", &json!({ "values": [1, { "of": "two" }] })).await;
    place.database.wait_for_end("shows").await;
    let other = "INSERT INTO dbos.workflow_events (workflow_uuid, key, value, serialization)
                   VALUES ('shows', 'other', 'gASV', 'py_pickle')";
    place.database.execute(other).await;
    let shown = place.builder.output(&["workflow", "events", "shows"]).await;
    assert_eq!(
        String::from_utf8_lossy(&shown.stdout),
        "KEY    VALUE\nother  gASV\nvalue  {\"of\":\"two\"}\n",
        "{shown:?}"
    );
    let shown = place.builder.output(&["workflow", "events", "shows", "--json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown, json!({ "other": "gASV", "value": { "of": "two" } }));
    // By the admin server as its other payloads: the text that is stored.
    let told = get(host.admin_url("/workflows/shows/events")).await;
    assert_eq!((told.status, told.json()), (200, json!({ "other": "gASV", "value": "{\"of\":\"two\"}" })));
    let page = get(host.admin_url("/workflows/shows/events?limit=1")).await;
    assert_eq!(page.json(), json!({ "other": "gASV" }));
    let nobody = get(host.admin_url("/workflows/nobody/events")).await;
    assert_eq!((nobody.status, &nobody.json()["code"]), (404, &json!("no_such_workflow")));
}

#[tokio::test]
async fn what_is_no_event_is_refused_and_takes_no_number() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    host.start_workflow("refused", "refused", &json!({})).await;
    let codes = json!(["invalid_key", "invalid_key", "invalid_key", "invalid_id", "wait_too_long"]);
    assert_eq!(place.database.output("refused").await, codes);
    assert_eq!(place.database.steps("refused").await.len(), 0);
}

/// A value that another SDK has written in a form that only itself can read.
#[tokio::test]
async fn an_unreadable_value_is_an_error_of_its_reader() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    host.start_workflow("show", "shows", &json!({ "values": [1] })).await;
    place.database.wait_for_end("shows").await;
    place.database.execute("UPDATE dbos.workflow_events SET value = 'gASV', serialization = 'py_pickle'").await;
    host.start_workflow("look", "looks", &json!({ "id": "shows", "milliseconds": 0 })).await;
    let run = place.database.wait_for_end("looks").await;
    let error: Value = serde_json::from_str(&run.error.expect("an error")).expect("JSON");
    assert_eq!((run.status.as_str(), &error["code"]), ("ERROR", &json!("unreadable_record")));
    let reply = get(host.url("/workflows/shows/events/value")).await;
    assert_eq!((reply.status, &reply.json()["code"]), (500, &json!("unreadable_record")));
}

#[tokio::test]
async fn a_dbos_client_reads_and_awaits_events() {
    let place = Place::new().await;
    let host = place.builder.start().await;
    host.start_workflow("show", "shows", &json!({ "values": [1, { "of": "two" }] })).await;
    place.database.wait_for_end("shows").await;
    host.start_workflow("show_tomorrow", "later", &json!({ "value": "late" })).await;
    place.database.wait_for_steps("later", 1).await;
    // It says that it waits before it does, and looks by itself only once a minute.
    let program = "print(json.dumps(client.get_event('shows', 'value', 0)), flush=True)
print(json.dumps(client.get_event('later', 'value', 50)))";
    let waits = python(&place.database, program);
    let listens =
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let show = async {
        until("the client listens", async || place.database.query(listens, &[]).await[0].get(0)).await;
        place.next_day();
    };
    let (told, ()) = tokio::join!(waits, show);
    assert_eq!(told, "{\"of\": \"two\"}\n\"late\"\n");
}

#[tokio::test]
async fn a_run_finds_what_it_has_just_set() {
    let database = TestPostgres::shared().fresh_database().await;
    // The event would be on its way for long if nobody waited for it.
    let host = HostBuilder::new("anything").database(&database).patient().start().await;
    let get = json!({ "get_event": { "of": null, "key": "own", "milliseconds": 0 } });
    let program = json!([{ "set_event": { "key": "own", "value": "first" } }, get]);
    let reply = host.run_workflow("anything", "finds", &json!({ "run": "finds", "program": program })).await.unwrap();
    assert_eq!(reply.json(), json!(["set", "first"]), "{reply:?}");
}

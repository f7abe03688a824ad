//! A fork goes on from one of its origin's steps, with everything that the steps before have left and nothing else; it
//! draws what its origin drew up to there. So do the forks that DBOS's clients make.

use std::process::Output;

use dbos_host_tests::{Answer, Database, HostBuilder, Outside, Request, TestPostgres};
use serde_json::{Value, json};

use crate::events::Place;
use crate::resume::{python, row};
use crate::small_steps::{World, start};

async fn fork(builder: &HostBuilder, words: &[&str]) -> Output {
    builder.output(&[&["workflow", "fork"], words].concat()).await
}

/// Forks a run under the id `fork_id`, which goes on from `step`.
async fn forked(builder: &HostBuilder, run: &str, fork_id: &str, from: &[&str], step: i32) {
    let output = fork(builder, &[&[run, "--id", fork_id], from].concat()).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said == format!("{fork_id}  goes on from step {step}\n"), "{output:?}");
}

#[tokio::test]
async fn a_fork_goes_on_from_its_step_and_its_origin_stays_as_it_is() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "o").await;
    world.check_write_tell_write("o", 1).await;
    let (before, origin) = (row(&world.database, "o").await, world.database.steps("o").await);
    forked(&world.host(), "o", "f", &["--step", "2"], 2).await;
    assert_eq!(world.database.output("f").await, json!("\"heard\""));
    // What it was started with says whose effects they are.
    assert_eq!(world.effects("o").await, ["before", "after", "after"]);
    assert_eq!(world.told("o"), 2);
    let steps = world.database.steps("f").await;
    assert_eq!((steps.len(), &steps[0]), (3, &origin[0]), "the copied step has its digest too");
    assert_eq!(world.database.steps("o").await, origin);
    let mut after = row(&world.database, "o").await;
    assert_eq!(after["was_forked_from"], json!(true));
    after["was_forked_from"] = json!(false);
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_fork_from_the_failed_step_tries_it_again() {
    let outside = Outside::answering(|_, earlier| match earlier.len() {
        0 => Answer::Reply(500, "not now".into()),
        _ => Answer::json(&json!("heard")),
    })
    .await;
    let world = World::with(TestPostgres::shared(), outside).await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "o").await;
    assert_eq!(world.database.wait_for_end("o").await.status, "ERROR");
    let body = json!({ "start_step": "failed", "new_workflow_id": "f" }).to_string();
    let reply = Request::new("POST", host.admin_url("/workflows/o/fork")).body(body).send().await.unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!({ "workflow_id": "f", "start_step": 2 })));
    assert_eq!(world.database.output("f").await, json!("\"heard\""));
    assert_eq!(world.effects("o").await, ["before", "after"], "the first step is not run again");
    // From the beginning, as DBOS's admin servers do it.
    let reply = Request::new("POST", host.admin_url("/workflows/o/restart")).send().await.unwrap();
    let restarted = reply.json()["workflow_id"].as_str().expect("an id").to_owned();
    assert_eq!(world.database.output(&restarted).await, json!("\"heard\""));
    assert_eq!(world.effects("o").await, ["before", "after", "before", "after"]);
    let reply = Request::new("POST", host.admin_url("/workflows/o/fork")).body("{\"step\": 2}").send().await.unwrap();
    assert_eq!((reply.status, reply.json()["code"].clone()), (400, json!("bad_request")));
}

#[tokio::test]
async fn what_cannot_be_forked_is_told() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    start(&host, "serializable", "done").await;
    world.database.wait_for_end("done").await;
    let other = "0".repeat(64);
    let cases: [(&[&str], i32, &str); 6] = [
        (&["nobody", "--step", "1"], 6, "no_such_workflow"),
        (&["done", "--failed"], 7, "not_failed"),
        (&["done", "--step", "1", "--id", "done"], 7, "workflow_exists"),
        (&["done", "--step", "1", "--app-version", &other], 7, "unknown_version"),
        (&["done", "--step", "0"], 2, "usage"),
        (&["done"], 2, "usage"),
    ];
    for (words, code, error) in cases {
        let output = fork(&world.host(), words).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(error == "usage" || said.starts_with(&format!("error[{error}]: failed to")), "{words:?}: {said}");
    }
    assert_eq!(world.database.count("SELECT count(*) FROM dbos.workflow_status", &[]).await, 1);
}

/// A run of another program's making, with something in each table that a fork copies.
pub(crate) const ORIGIN: &str = r#"
    INSERT INTO dbos.workflow_status
        (workflow_uuid, status, name, class_name, config_name, application_version, application_id, application_name,
         authenticated_user, authenticated_roles, assumed_role, serialization, attributes, queue_name, executor_id, priority,
         workflow_timeout_ms, workflow_deadline_epoch_ms, parent_workflow_id, recovery_attempts, queue_partition_key,
         created_at, updated_at, completed_at, started_at_epoch_ms, schedule_name)
      VALUES ('o', 'SUCCESS', 'child', 'class', 'config', 'v', 'id', 'family', 'ann', '["a"]', 'role', 'portable_json',
              '{"a": 1}', 'q', 'gone', 3, 4, 5, 'p', 6, 'part', 7, 8, 9, 10, 'cron');
    INSERT INTO dbos.workflow_input (workflow_uuid, inputs) VALUES ('o', '{"positionalArgs":["Ann"],"namedArgs":{}}');
    INSERT INTO dbos.workflow_output (workflow_uuid, output) VALUES ('o', '"done"');
    INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output, error, child_workflow_id,
                                        started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name)
      SELECT 'o', n, 'step' || n, CASE WHEN n <> 2 THEN n::text END, CASE WHEN n = 2 THEN '{"name":"E","message":"m"}' END,
             CASE WHEN n = 3 THEN 'child' END, n * 10, n * 10 + 5, 'portable_json', 'family' FROM generate_series(1, 6) n;
    INSERT INTO dbos_host.operation_digest
      SELECT 'o', n, decode('00000000000000' || '0' || n, 'hex') FROM generate_series(1, 6) n WHERE n <> 3;
    INSERT INTO dbos.workflow_events_history (workflow_uuid, function_id, key, value, serialization)
      VALUES ('o', 1, 'twice', '1', 'portable_json'), ('o', 3, 'twice', '3', NULL), ('o', 5, 'twice', '5', 'portable_json'),
             ('o', 2, 'early', '2', 'portable_json'), ('o', 6, 'late', '6', 'portable_json');
    INSERT INTO dbos.workflow_events (workflow_uuid, key, value, serialization)
      VALUES ('o', 'twice', '5', 'portable_json'), ('o', 'early', '2', 'portable_json'), ('o', 'late', '6', 'portable_json');
    INSERT INTO dbos.streams (workflow_uuid, key, value, "offset", function_id, serialization)
      VALUES ('o', 's', '1', 0, 1, 'portable_json'), ('o', 's', '5', 1, 5, 'portable_json'),
             ('o', 's', '"__DBOS_STREAM_CLOSED__"', 2, 6, 'portable_json'),
             ('o', 't', '"__DBOS_STREAM_CLOSED__"', 0, 2, 'portable_json');
    INSERT INTO dbos.notifications (message_uuid, destination_uuid, topic, message, consumed, consumed_by_function_id)
      VALUES ('m1', 'o', 't', '1', true, 1), ('m2', 'o', 't', '2', true, 5), ('m3', 'o', 't', '3', false, NULL);
"#;

/// What is stored under a run's id in DBOS's tables, its own row apart.
pub(crate) async fn stored(database: &Database, run: &str) -> Value {
    let tables = [
        ("workflow_input", "workflow_uuid", "inputs"),
        ("workflow_output", "workflow_uuid", "output"),
        ("operation_outputs", "workflow_uuid", "function_id"),
        ("workflow_events", "workflow_uuid", "key"),
        ("workflow_events_history", "workflow_uuid", "key, function_id"),
        ("streams", "workflow_uuid", "key, \"offset\""),
        ("notifications", "destination_uuid", "message"),
    ];
    let mut all = serde_json::Map::new();
    for (table, key, order) in tables {
        let rows = format!(
            "SELECT coalesce(jsonb_agg(to_jsonb(t) - '{{{key},retention_timestamp,message_uuid,created_at_epoch_ms}}'::text[]
                             ORDER BY {order}), '[]')::text FROM dbos.{table} t WHERE {key} = $1"
        );
        let rows = database.query(&rows, &[&run]).await;
        all.insert(table.into(), serde_json::from_str(rows[0].get(0)).expect("JSON"));
    }
    all.into()
}

pub(crate) async fn digests(database: &Database, run: &str) -> Vec<i32> {
    let digests = "SELECT function_id FROM dbos_host.operation_digest WHERE workflow_uuid = $1 ORDER BY 1";
    database.query(digests, &[&run]).await.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_fork_has_what_the_fork_of_a_dbos_client_has() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database);
    builder.migrate().await;
    database.connect().await.batch_execute(ORIGIN).await.unwrap();
    for (step, with_digest) in
        [(1, vec![]), (3, vec![1, 2]), (5, vec![1, 2, 4]), (7, vec![1, 2, 4, 5, 6]), (9, vec![1, 2, 4, 5, 6])]
    {
        let (ours, theirs) = (format!("ours {step}"), format!("theirs {step}"));
        // Left by a run of the same id that a client has deleted.
        let stale = format!(
            "INSERT INTO dbos_host.operation_digest SELECT '{ours}', n, '12345678' FROM generate_series(1, 9) n;
             INSERT INTO dbos_host.origin VALUES ('{ours}', 'x', 1, 1, '{{1}}', '{{x}}');
             INSERT INTO dbos.workflow_input (workflow_uuid, inputs) VALUES ('{ours}', '1')"
        );
        database.connect().await.batch_execute(&stale).await.unwrap();
        forked(&builder, "o", &ours, &["--step", &step.to_string()], step).await;
        let program = format!(
            "from dbos import SetWorkflowID\nwith SetWorkflowID('{theirs}'):\n    client.fork_workflow('o', {step}, application_version='v')"
        );
        python(&database, &program).await;
        assert_eq!(row(&database, &ours).await, row(&database, &theirs).await, "step {step}");
        assert_eq!(stored(&database, &ours).await, stored(&database, &theirs).await, "step {step}");
        assert_eq!(digests(&database, &ours).await, with_digest, "step {step}");
    }
}

#[tokio::test]
async fn what_was_shown_below_the_cut_is_shown_by_the_fork_and_by_the_rewound_run() {
    let place = Place::new().await;
    let mut host = place.builder.start().await;
    host.run_workflow("show", "o", &json!({ "values": [1, 2, 3] })).await.unwrap();
    host.stop().await;
    forked(&place.builder, "o", "f", &["--step", "3"], 3).await;
    let rewound = place.builder.output(&["workflow", "rewind", "o", "--step", "2"]).await;
    assert!(rewound.status.success(), "{rewound:?}");
    let shown = async |run: &str| {
        let event = "SELECT value::int8 FROM dbos.workflow_events WHERE workflow_uuid = $1 AND key = 'value'";
        let history = "SELECT count(*) FROM dbos.workflow_events_history WHERE workflow_uuid = $1";
        (place.database.count(event, &[&run]).await, place.database.count(history, &[&run]).await)
    };
    assert_eq!((shown("f").await, shown("o").await), ((2, 2), (1, 1)));
    let _host = place.builder.start().await;
    for run in ["f", "o"] {
        assert_eq!(place.database.output(run).await, json!(3));
        assert_eq!(shown(run).await, (3, 3), "{run}");
    }
}

#[tokio::test]
async fn forks_of_a_dbos_client_run() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "o").await;
    world.check_write_tell_write("o", 1).await;
    let program = "
from dbos import SetWorkflowID
with SetWorkflowID('f'):
    handle = client.fork_workflow('o', 3)
print(handle.get_result())
";
    assert_eq!(python(&world.database, program).await, "\"heard\"\n");
    assert_eq!(world.effects("o").await, ["before", "after", "after"]);
    assert_eq!(world.told("o"), 1, "the request is copied");
    let same = "SELECT count(DISTINCT application_version) FROM dbos.workflow_status";
    assert_eq!(world.database.count(same, &[]).await, 1, "it goes on with the component of its origin");
}

/// What a run has seen each time it looked around, and that its last replay saw the same.
async fn seen(database: &Database, run: &str) -> Vec<Value> {
    let result: Vec<String> = serde_json::from_value(database.output(run).await).expect("a list of texts");
    let notes = database.steps(run).await.into_iter().filter(|step| step.name == "note");
    let recorded: Vec<String> =
        notes.map(|note| serde_json::from_str(&note.output.expect("an output")).expect("a text")).collect();
    assert_eq!(result, recorded, "{run}: the last replay saw something else than what was recorded");
    recorded.iter().map(|text| serde_json::from_str(text).expect("a note is JSON")).collect()
}

/// That nothing of what was drawn at two places is the same.
fn drawn_apart(one: &Value, other: &Value) {
    for what in ["random", "number", "uuid"] {
        assert_ne!(one[what], other[what], "`{what}`: {one} {other}");
    }
}

#[tokio::test]
async fn a_fork_draws_what_its_origin_drew_up_to_the_cut_and_its_own_after() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("deterministic").database(&database).jumping_clock();
    let mut host = builder.start().await;
    // It looks, notes (1), sleeps (2), looks, notes (3), looks, notes (4).
    host.run_workflow("look_around", "o", &json!({})).await.unwrap();
    let origin = seen(&database, "o").await;
    host.stop().await;
    let forks = "
from dbos import SetWorkflowID
def fork(origin, id, step):
    with SetWorkflowID(id):
        client.fork_workflow(origin, step)
fork('o', 'theirs', 3)
fork('theirs', 'theirs again', 2)
";
    python(&database, forks).await;
    forked(&builder, "o", "ours", &["--step", "3"], 3).await;
    forked(&builder, "o", "all of it", &["--step", "1"], 1).await;
    builder.clone().kill_at("record.after_commit#2").launch().wait_for_exit().await;
    let host = builder.start().await;
    for fork in ["ours", "theirs", "theirs again"] {
        let fork = seen(&database, fork).await;
        assert_eq!(fork[0], origin[0], "time and order included");
        (1..3).for_each(|look| drawn_apart(&fork[look], &origin[look]));
    }
    drawn_apart(&seen(&database, "all of it").await[0], &origin[0]);
    // A fork of a fork draws from the oldest as far as that was copied, and then from the fork.
    forked(&builder, "ours", "of ours", &["--step", "4"], 4).await;
    forked(&builder, "ours", "of o", &["--step", "2"], 2).await;
    let (ours, of_ours, of_o) =
        (seen(&database, "ours").await, seen(&database, "of ours").await, seen(&database, "of o").await);
    assert_eq!((&of_ours[..2], &of_o[0]), (&ours[..2], &origin[0]));
    drawn_apart(&of_ours[2], &ours[2]);
    drawn_apart(&of_o[1], &ours[1]);
    drop(host);
}

#[tokio::test]
async fn a_command_that_is_killed_has_forked_or_not_and_nothing_between() {
    let world = World::on(TestPostgres::shared()).await;
    let mut host = world.host().start().await;
    start(&host, "write_tell_write", "o").await;
    world.check_write_tell_write("o", 1).await;
    host.kill9().await;
    for (visit, expected) in [("fork.before_commit#1", None), ("fork.after_commit#1", Some("ENQUEUED"))] {
        let output = fork(&world.host().kill_at(visit), &["o", "--step", "3", "--id", "f"]).await;
        assert_eq!(output.status.code(), None, "{visit}: it is killed: {output:?}");
        assert_eq!(world.database.status("f").await.as_deref(), expected, "{visit}");
        assert_eq!(world.database.steps("f").await.len(), expected.map_or(0, |_| 2), "{visit}");
    }
    let _host = world.host().start().await;
    assert_eq!(world.database.output("f").await, json!("\"heard\""));
    assert_eq!(world.effects("o").await, ["before", "after", "after"]);
    assert_eq!(world.database.run("f").await.unwrap().attempts, 1);
}

#[tokio::test]
async fn a_fork_that_is_cut_in_the_middle_of_a_wait_goes_on_and_is_replayed() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("anything").database(&database).migrations("tests/guests/anything/migrations");
    builder.migrate().await;
    let host = builder.start().await;
    // The wait has the numbers 1 and 2; the sleep is long enough for the run to be parked, so it is replayed.
    let compute = |tag: &str| json!({ "step": { "kind": "compute", "tag": tag } });
    let receive = json!({ "receive": { "topic": "", "milliseconds": 0 } });
    let program = json!([receive, compute("one"), { "sleep": 700 }, compute("two")]);
    host.start_workflow("anything", "o", &json!({ "run": "o", "program": program })).await;
    let told = database.output("o").await;
    forked(&builder, "o", "f", &["--step", "2"], 2).await;
    assert_eq!(database.output("f").await, told);
    let client = "print(client.fork_workflow('o', 2).get_result())";
    python(&database, client).await;
    let numbers = |steps: Vec<dbos_host_tests::Step>| steps.iter().map(|step| step.number).collect::<Vec<_>>();
    assert_eq!(numbers(database.steps("f").await), [1, 3, 4, 5], "the deadline is not written again");
}

#[tokio::test]
async fn a_fork_of_a_rewound_run_has_streams_without_holes() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("anything").database(&database).migrations("tests/guests/anything/migrations");
    builder.migrate().await;
    let host = builder.start().await;
    let write = |value: &str| json!({ "write_stream": { "key": "out", "value": value } });
    let program = json!([write("one"), write("two"), write("three")]);
    host.start_workflow("anything", "o", &json!({ "run": "o", "program": program })).await;
    database.output("o").await;
    let output = builder.output(&["workflow", "rewind", "o", "--step", "2"]).await;
    assert!(output.status.success(), "{output:?}");
    database.output("o").await;
    forked(&builder, "o", "f", &["--step", "3"], 3).await;
    database.output("f").await;
    let offsets = "SELECT coalesce(json_agg(value ORDER BY \"offset\")::text, ''), max(\"offset\")
                     FROM dbos.streams WHERE workflow_uuid = 'f'";
    let rows = database.query(offsets, &[]).await;
    let values = [r#""one""#, r#""two""#, r#""two""#, r#""three""#];
    assert_eq!(
        (rows[0].get::<_, String>(0), rows[0].get::<_, i32>(1)),
        (json!(values).to_string().replace(",", ", "), 3)
    );
}

//! A run that has ended is rewound: it goes on from one of its steps under its own id, and what it had told since is taken
//! back.

use std::process::Output;

use dbos_host_tests::{Answer, HostBuilder, Outside, Request, TestPostgres};
use serde_json::json;

use crate::forks::{ORIGIN, digests, stored};
use crate::resume::{python, row};
use crate::small_steps::{World, start};

async fn rewind(builder: &HostBuilder, words: &[&str]) -> Output {
    builder.output(&[&["workflow", "rewind"], words].concat()).await
}

pub(crate) async fn rewound(builder: &HostBuilder, run: &str, from: &[&str], step: i32) {
    let output = rewind(builder, &[&[run], from].concat()).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said == format!("{run}  goes on from step {step}\n"), "{output:?}");
}

#[tokio::test]
async fn a_rewound_run_goes_on_from_its_step_under_its_own_id() {
    let outside = Outside::answering(|_, earlier| match earlier.len() {
        0 => Answer::Reply(500, "not now".into()),
        _ => Answer::json(&json!("heard")),
    })
    .await;
    let world = World::with(TestPostgres::shared(), outside).await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "r").await;
    assert_eq!(world.database.wait_for_end("r").await.status, "ERROR");
    rewound(&world.host(), "r", &["--failed"], 2).await;
    world.check_write_tell_write("r", 2).await;
    let body = json!({ "start_step": 3 }).to_string();
    let reply = Request::new("POST", host.admin_url("/workflows/r/rewind")).body(body).send().await.unwrap();
    assert_eq!(reply.status, 204, "{reply:?}");
    assert_eq!(world.database.output("r").await, json!("\"heard\""));
    assert_eq!(world.effects("r").await, ["before", "after", "after"]);
    assert_eq!(world.database.steps("r").await.len(), 3);
}

#[tokio::test]
async fn a_rewind_leaves_what_the_rewind_of_a_dbos_client_leaves() {
    for step in [1, 3, 5, 6, 7] {
        let [ours, theirs] = [TestPostgres::shared(), TestPostgres::shared()];
        let (ours, theirs) = (ours.fresh_database().await, theirs.fresh_database().await);
        for database in [&ours, &theirs] {
            HostBuilder::new("family").database(database).migrate().await;
            database.connect().await.batch_execute(ORIGIN).await.unwrap();
        }
        let more = "INSERT INTO dbos_host.attempt VALUES ('o', 6)";
        ours.execute(more).await;
        rewound(&HostBuilder::new("family").database(&ours), "o", &["--step", &step.to_string()], step).await;
        python(&theirs, &format!("client.rewind_workflow('o', start_step={step})")).await;
        assert_eq!(row(&ours, "o").await, row(&theirs, "o").await, "step {step}");
        assert_eq!(stored(&ours, "o").await, stored(&theirs, "o").await, "step {step}");
        let kept: Vec<i32> = [1, 2, 4, 5, 6].into_iter().filter(|number| *number < step).collect();
        assert_eq!(digests(&ours, "o").await, kept);
        assert_eq!(ours.count("SELECT count(*) FROM dbos_host.attempt", &[]).await, 0);
    }
}

#[tokio::test]
async fn a_run_that_a_dbos_client_rewinds_goes_on() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "r").await;
    world.check_write_tell_write("r", 1).await;
    let told = python(
        &world.database,
        "client.rewind_workflow('r', start_step=2)\nprint(client.retrieve_workflow('r').get_result())",
    );
    assert_eq!(told.await, "\"heard\"\n");
    assert_eq!(world.effects("r").await, ["before", "after", "after"]);
    assert_eq!(world.told("r"), 2);
    let digests = "SELECT count(*) FROM dbos_host.operation_digest WHERE workflow_uuid = 'r'";
    assert_eq!(world.database.count(digests, &[]).await, 3);
}

#[tokio::test]
async fn only_a_run_that_has_ended_is_rewound() {
    let (world, gate) = World::with_a_late_answer().await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "runs").await;
    world.outside.wait_for(1).await;
    for (run, from, code, error) in
        [("runs", ["--step", "1"], 7, "not_ended"), ("nobody", ["--step", "1"], 6, "no_such_workflow")]
    {
        let output = rewind(&world.host(), &[&[run], &from[..]].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.starts_with(&format!("error[{error}]: failed to")), "{said}");
    }
    let reply = Request::new("POST", host.admin_url("/workflows/runs/rewind")).body("{\"start_step\":1}").send().await;
    let reply = reply.unwrap();
    assert_eq!((reply.status, &reply.json()["workflowStatus"]), (409, &json!("PENDING")), "{reply:?}");
    gate.open();
    assert_eq!(world.database.output("runs").await, json!("\"late\""));
    assert_eq!(world.effects("runs").await, ["before", "after"], "nothing was changed");
}

#[tokio::test]
async fn a_command_that_is_killed_has_rewound_or_not_and_nothing_between() {
    let world = World::on(TestPostgres::shared()).await;
    let mut host = world.host().start().await;
    start(&host, "write_tell_write", "r").await;
    world.check_write_tell_write("r", 1).await;
    host.kill9().await;
    for (visit, status, steps) in [("rewind.before_commit#1", "SUCCESS", 3), ("rewind.after_commit#1", "ENQUEUED", 1)] {
        let output = rewind(&world.host().kill_at(visit), &["r", "--step", "2"]).await;
        assert_eq!(output.status.code(), None, "{visit}: it is killed: {output:?}");
        assert_eq!(world.database.status("r").await.as_deref(), Some(status), "{visit}");
        assert_eq!(world.database.steps("r").await.len(), steps, "{visit}");
    }
    let _host = world.host().start().await;
    assert_eq!(world.database.output("r").await, json!("\"heard\""));
    assert_eq!(world.effects("r").await, ["before", "after", "after"]);
}

#[tokio::test]
async fn what_other_code_has_left_behind_the_cut_of_a_dbos_client_is_nobodys() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("anything").database(&database).migrations("tests/guests/anything/migrations");
    builder.migrate().await;
    let host = builder.start().await;
    let program = json!([{ "receive": { "topic": "", "milliseconds": 0 } }, { "sleep": 700 }]);
    host.start_workflow("anything", "r", &json!({ "run": "r", "program": program })).await;
    let told = database.output("r").await;
    // The client leaves digests where they are; those of a step that is a deadline now would make it another step.
    let left = "INSERT INTO dbos_host.operation_digest SELECT workflow_uuid, 2, digest FROM dbos_host.operation_digest
                 WHERE workflow_uuid = 'r' AND function_id = 1";
    database.execute(left).await;
    python(&database, "client.rewind_workflow('r', start_step=1)").await;
    let ended = "SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid = 'r'";
    dbos_host_tests::until("it was done again", async || database.count(ended, &[]).await == 3).await;
    assert_eq!(database.output("r").await, told);
}

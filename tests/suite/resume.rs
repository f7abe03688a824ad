//! A resumed run goes on behind its records, whoever resumed it; and what a DBOS client leaves in the internal queue is run,
//! once and by the host that serves it.

use std::process::Output;

use dbos_host_tests::{Database, HostBuilder, TestPostgres, eventually, programs};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::cancel::cancelled;
use crate::small_steps::{World, start};

/// A lease that is over soon, as in the tests of fencing.
const SHORT_LEASE: std::time::Duration = std::time::Duration::from_millis(1500);

async fn resume(builder: &HostBuilder, words: &[&str]) -> Output {
    builder.output(&[&["workflow", "resume"], words].concat()).await
}

/// Resumes a run that has not ended for good.
pub(crate) async fn resumed(builder: &HostBuilder, run: &str) {
    let output = resume(builder, &[run]).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said == format!("{run}  resumed\n"), "{output:?}");
}

/// Runs a program of the real `dbos` package's client on a database; returns what it printed.
pub(crate) async fn python(database: &Database, program: &str) -> String {
    let program = format!(
        "import sys, json\nfrom dbos import DBOSClient\nclient = DBOSClient(system_database_url=sys.argv[1])\n{program}"
    );
    let output = Command::new(programs::python()).args(["-c", &program, database.url()]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn a_cancelled_run_that_is_resumed_goes_on_behind_its_records() {
    let (world, _gate) = World::with_a_late_answer().await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "again").await;
    world.outside.wait_for(1).await;
    cancelled(&world.host(), "again").await;
    resumed(&world.host(), "again").await;
    world.check_write_tell_write("again", 2).await;
}

#[tokio::test]
async fn a_run_is_resumed_while_no_host_runs() {
    let (world, gate) = World::with_a_late_answer().await;
    let mut host = world.host().start().await;
    start(&host, "write_tell_write", "later").await;
    world.outside.wait_for(1).await;
    host.kill9().await;
    cancelled(&world.host(), "later").await;
    resumed(&world.host(), "later").await;
    assert_eq!(world.database.status("later").await.as_deref(), Some("ENQUEUED"));
    gate.open();
    let _host = world.host().start().await;
    world.check_write_tell_write("later", 2).await;
}

#[tokio::test]
async fn a_run_that_was_given_up_is_resumed_with_a_fresh_count() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("hostile").database(&database).config("limits: { attempts: 1, memory_mib: 64 }");
    let builder = builder.jumping_clock();
    let host = builder.start().await;
    host.start_workflow("bad_workflow", "eats", &json!({ "how": "memory" })).await;
    for _ in 0..2 {
        let run = database.wait_for_end("eats").await;
        assert_eq!((run.status.as_str(), run.attempts), ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 3), "{run:?}");
        assert!(run.error.is_some(), "it says why");
        let notes = "SELECT updated_at FROM dbos.workflow_status WHERE workflow_uuid = 'eats'";
        let before = database.count(notes, &[]).await;
        resumed(&builder, "eats").await;
        eventually("it is given up again", async || {
            let is_over = database.run("eats").await.is_some_and(|run| run.has_ended());
            (is_over && database.count(notes, &[]).await > before).then_some(())
        })
        .await;
    }
    assert_eq!(database.steps("eats").await.len(), 1, "its first step is not run again");
}

#[tokio::test]
async fn what_cannot_be_resumed_is_told() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    start(&host, "serializable", "done").await;
    world.database.wait_for_end("done").await;
    let output = resume(&world.host(), &["nobody", "done", "--json"]).await;
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected = json!([
        { "id": "nobody", "result": "unknown", "status": null },
        { "id": "done", "result": "ended", "status": "SUCCESS" },
    ]);
    assert_eq!((output.status.code(), told), (Some(7), expected));
    assert_eq!(resume(&world.host(), &["nobody"]).await.status.code(), Some(6));
    assert_eq!(world.database.status("done").await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn a_run_that_sleeps_goes_on_sleeping_when_it_is_resumed() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("many_steps").database(&database);
    let clock = builder.folder().join("clock");
    std::fs::write(&clock, "0").unwrap();
    let moved = builder.clone().environment("DBOS_HOST_TEST_CLOCK", &clock.display().to_string());
    let host = moved.start().await;
    host.start_workflow("many_steps", "sleeper", &json!({ "steps": 1 })).await;
    let before = database.wait_for_steps("sleeper", 2).await;
    cancelled(&builder, "sleeper").await;
    resumed(&builder, "sleeper").await;
    let taken = async || (database.status("sleeper").await.as_deref() == Some("PENDING")).then_some(());
    eventually("the run is taken", taken).await;
    std::fs::write(&clock, "86400000").unwrap();
    assert_eq!(database.output("sleeper").await, json!(1));
    assert_eq!(database.steps("sleeper").await[..2], before, "the wake time is the recorded one");
}

/// A host is stopped in the middle of a request, another one takes the resumed run over, and the first one wakes up.
#[tokio::test]
async fn the_claim_before_a_resume_writes_nothing() {
    let (world, gate) = World::with_a_late_answer().await;
    // It does not look: what keeps it from writing is the fence.
    let sleeper = world.host().executor("sleeper").heedless().start().await;
    start(&sleeper, "write_tell_write", "taken").await;
    world.outside.wait_for(1).await;
    sleeper.signal(Signal::STOP);
    cancelled(&world.host(), "taken").await;
    resumed(&world.host(), "taken").await;
    let heir = world.host().executor("heir").start().await;
    world.check_write_tell_write("taken", 2).await;
    assert_eq!(world.database.run("taken").await.unwrap().executor.as_deref(), Some("heir"));
    gate.open();
    sleeper.signal(Signal::CONT);
    // It works again, and what it had to say of the run has been refused or dropped.
    start(&sleeper, "serializable", "other").await;
    world.database.wait_for_end("other").await;
    world.check_write_tell_write("taken", 2).await;
    drop(heir);
}

#[tokio::test]
async fn a_running_run_that_is_resumed_is_begun_again_from_its_records() {
    let (world, gate) = World::with_a_late_answer().await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "runs").await;
    world.outside.wait_for(1).await;
    resumed(&world.host(), "runs").await;
    world.check_write_tell_write("runs", 2).await;
    gate.open();
    assert!(host.log().contains("its instance is dropped"), "the first instance is told to go");
}

#[tokio::test]
async fn a_dbos_client_cancels_and_resumes() {
    let (world, _gate) = World::with_a_late_answer().await;
    let host = world.host().start().await;
    start(&host, "write_tell_write", "theirs").await;
    world.outside.wait_for(1).await;
    python(&world.database, "client.cancel_workflow('theirs')").await;
    host.wait_for_log("its instance is dropped").await;
    assert_eq!(world.database.status("theirs").await.as_deref(), Some("CANCELLED"));
    let told = python(&world.database, "print(client.resume_workflow('theirs').get_result())").await;
    assert_eq!(told, "\"heard\"\n");
    world.check_write_tell_write("theirs", 2).await;
}

/// What the columns of a run's row hold, but for those that differ in every run.
pub(crate) async fn row(database: &Database, run: &str) -> Value {
    let columns = "SELECT (to_jsonb(s) - '{workflow_uuid,created_at,creator_xid,updated_at,completed_at}'::text[]
                     || jsonb_build_object('completed', completed_at IS NOT NULL, 'updated', updated_at > created_at))::text
                     FROM dbos.workflow_status s WHERE workflow_uuid = $1";
    let rows = database.query(columns, &[&run]).await;
    serde_json::from_str(rows[0].get(0)).expect("JSON")
}

#[tokio::test]
async fn cancels_and_resumes_leave_the_row_that_dbos_leaves() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database);
    builder.migrate().await;
    let states = ["ENQUEUED", "DELAYED", "PENDING", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"];
    for status in states {
        for what in ["cancel", "resume"] {
            let ids = ["ours", "theirs"].map(|who| format!("{who} {what} {status}"));
            for id in &ids {
                let insert = "INSERT INTO dbos.workflow_status
                    (workflow_uuid, status, name, queue_name, deduplication_id, owner_xid, started_at_epoch_ms, priority,
                     workflow_deadline_epoch_ms, workflow_timeout_ms, recovery_attempts, executor_id, application_name,
                     application_version, delay_until_epoch_ms, created_at, updated_at, completed_at)
                    VALUES ($1, $2, 'child', 'q', $1, 'token', 5, 3, 6, 7, 8, 'gone', 'family', 'v', 9, 10, 10, 11)";
                database.query(insert, &[id, &status]).await;
            }
            // Dead-lettered runs are refused by our cancel: they have ended. All else is the same.
            if (what, status) == ("cancel", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
                || (what, status) == ("cancel", "CANCELLED")
            {
                continue;
            }
            let output = builder.output(&["workflow", what, &ids[0]]).await;
            assert!(output.status.success(), "{output:?}");
            python(&database, &format!("client.{what}_workflow('{}')", ids[1])).await;
            let (mut ours, mut theirs) = (row(&database, &ids[0]).await, row(&database, &ids[1]).await);
            // The key that differs is the one under which the row was inserted.
            for row in [&mut ours, &mut theirs] {
                assert_eq!(row["deduplication_id"], Value::Null, "{what} of {status}");
            }
            assert_eq!(ours, theirs, "{what} of {status}");
        }
    }
}

#[tokio::test]
async fn what_a_dbos_client_enqueues_is_run() {
    let database = TestPostgres::shared().fresh_database().await;
    let _host = HostBuilder::new("family").database(&database).start().await;
    let program = "
def enqueue(id, name, **more):
    options = {'workflow_name': name, 'queue_name': '_dbos_internal_queue', 'workflow_id': id,
               'serialization_type': 'portable', **more}
    return client.enqueue(options, 'Ann')

enqueue('another-name', 'nothing_of_ours')
enqueue('another-app', 'child', application_name='other')
enqueue('another-version', 'child', app_version='1.0')
handles = [enqueue('plain', 'child'), enqueue('named', 'child', application_name='family', deduplication_id='d'),
           enqueue('timed', 'parent', workflow_timeout=3600)]
print(json.dumps([handle.get_result() for handle in handles]))
";
    let told: Value = serde_json::from_str(&python(&database, program).await).expect("JSON");
    assert_eq!(told, json!(["Ann has grown", "Ann has grown", "the child of Ann has grown"]));
    for foreign in ["another-name", "another-app", "another-version"] {
        assert_eq!(database.status(foreign).await.as_deref(), Some("ENQUEUED"), "{foreign} is not ours");
    }
    let claimed = "SELECT count(*) FROM dbos.workflow_status
        WHERE workflow_uuid IN ('plain', 'named', 'timed') AND application_name = 'family' AND recovery_attempts = 1
          AND application_version IN (SELECT digest FROM dbos_host.component) AND started_at_epoch_ms IS NOT NULL
          AND workflow_deadline_epoch_ms IS NOT DISTINCT FROM
              CASE WHEN workflow_uuid = 'timed' THEN started_at_epoch_ms + 3600000 END";
    assert_eq!(database.count(claimed, &[]).await, 3);
}

#[tokio::test]
async fn input_that_this_host_cannot_read_ends_the_run_with_an_error() {
    let database = TestPostgres::shared().fresh_database().await;
    let _host = HostBuilder::new("family").database(&database).start().await;
    let program = "
options = {'workflow_name': 'child', 'queue_name': '_dbos_internal_queue', 'workflow_id': 'pickled'}
try:
    print(client.enqueue(options, 'Ann').get_result())
except Exception as error:
    print(type(error).__name__, error)
";
    let told = python(&database, program).await;
    assert!(told.contains("which this host cannot read"), "the client hears why: {told}");
    let run = database.wait_for_end("pickled").await;
    let error: Value = serde_json::from_str(&run.error.expect("an error")).expect("JSON");
    assert_eq!((run.status.as_str(), &error["code"]), ("ERROR", &json!("bad_arguments")), "{error}");
}

#[tokio::test]
async fn two_hosts_share_the_queue_and_run_everything_once() {
    let world = World::on(TestPostgres::shared()).await;
    let insert = "INSERT INTO dbos.workflow_status (workflow_uuid, status, name, queue_name, serialization)
                  SELECT 'r' || n, 'ENQUEUED', 'serializable', '_dbos_internal_queue', 'portable_json'
                    FROM generate_series(1, 250) n";
    let inputs = "INSERT INTO dbos.workflow_input (workflow_uuid, inputs)
                  SELECT 'r' || n, json_build_object('namedArgs', json_build_object('run', 'r' || n))::text
                    FROM generate_series(1, 250) n";
    world.database.execute(inputs).await;
    world.database.execute(insert).await;
    let _one = world.host().executor("one").start().await;
    let _two = world.host().executor("two").start().await;
    let ended = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'";
    eventually("all runs end", async || (world.database.count(ended, &[]).await == 250).then_some(())).await;
    assert_eq!(world.database.count("SELECT count(*) FROM effects", &[]).await, 250);
    assert_eq!(world.database.count("SELECT count(DISTINCT run) FROM effects", &[]).await, 250);
}

#[tokio::test]
async fn a_host_that_is_killed_while_it_takes_a_resumed_run_leaves_it_to_the_next() {
    for visit in
        ["dequeue.before_page#1", "dequeue.after_page#1", "attempt.before_count#1", "attempt.before_instance#1"]
    {
        let (world, gate) = World::with_a_late_answer().await;
        let mut host = world.host().start().await;
        start(&host, "write_tell_write", "resumed").await;
        world.outside.wait_for(1).await;
        host.kill9().await;
        cancelled(&world.host(), "resumed").await;
        resumed(&world.host(), "resumed").await;
        gate.open();
        let mut killed = world.host().kill_at(visit).launch();
        assert!(!killed.wait_for_exit().await.success(), "{visit}");
        let _host = world.host().start().await;
        world.check_write_tell_write("resumed", 2).await;
    }
}

#[tokio::test]
async fn a_command_that_is_killed_has_resumed_or_not_and_nothing_between() {
    let (world, gate) = World::with_a_late_answer().await;
    let mut host = world.host().start().await;
    start(&host, "write_tell_write", "killed").await;
    world.outside.wait_for(1).await;
    host.kill9().await;
    gate.open();
    cancelled(&world.host(), "killed").await;
    for (visit, expected) in [("resume.before_commit#1", "CANCELLED"), ("resume.after_commit#1", "ENQUEUED")] {
        let output = resume(&world.host().kill_at(visit), &["killed"]).await;
        assert_eq!(output.status.code(), None, "{visit}: it is killed: {output:?}");
        assert_eq!(world.database.status("killed").await.as_deref(), Some(expected), "{visit}");
    }
    let _host = world.host().start().await;
    world.check_write_tell_write("killed", 2).await;
}

#[tokio::test]
async fn an_attempt_that_could_not_be_given_back_is_given_back_later() {
    let (world, gate) = World::with_a_late_answer().await;
    let builder = world.host().lease(SHORT_LEASE);
    let host = builder.start().await;
    start(&host, "write_tell_write", "lapsed").await;
    world.outside.wait_for(1).await;
    // The first try to give an attempt back fails; a sequence counts also what is rolled back.
    world.database.execute("CREATE SEQUENCE public.tries").await;
    let refuse = "CREATE FUNCTION public.refuse_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('public.tries') = 1 THEN RAISE EXCEPTION 'not now'; END IF; RETURN NEW; END $$";
    world.database.execute(refuse).await;
    let trigger = "CREATE TRIGGER refuse_once BEFORE UPDATE ON dbos.workflow_status FOR EACH ROW
        WHEN (NEW.recovery_attempts < OLD.recovery_attempts) EXECUTE FUNCTION public.refuse_once()";
    world.database.execute(trigger).await;
    host.signal(Signal::STOP);
    let alive = "SELECT count(*) FROM dbos_host.executor WHERE lease_expires_at > clock_timestamp()";
    eventually("the lease is over", async || (world.database.count(alive, &[]).await == 0).then_some(())).await;
    host.signal(Signal::CONT);
    host.wait_for_log("its workflows are claimed anew").await;
    world.check_write_tell_write("lapsed", 2).await;
    gate.open();
    let tries: i64 = world.database.count("SELECT last_value FROM public.tries", &[]).await;
    assert_eq!(tries, 2, "the attempt was given back at the second try");
}

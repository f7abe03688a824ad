//! Runs that wait cost next to nothing, also when ten thousand of them are due at once, and so does their recovery.

use std::fs;
use std::path::PathBuf;

use dbos_host_tests::{Database, HostBuilder, TestPostgres, eventually, wait::until};
use serde_json::json;

/// When every sleeper of these tests has slept long enough, in milliseconds.
const NEXT_DAY: &str = "86400000";

/// A host whose clock stands in a file, with one run that sleeps until tomorrow.
struct Place {
    database: Database,
    builder: HostBuilder,
    clock: PathBuf,
}

impl Place {
    /// One sleeper, which has been left by its host, and its copies.
    async fn with_sleepers(count: i32, config: &str) -> Self {
        let database = TestPostgres::shared().fresh_database().await;
        let builder = HostBuilder::new("many_steps").database(&database).executor("sleepers").config(config);
        let clock = builder.folder().join("clock");
        fs::write(&clock, "0").unwrap();
        let builder = builder.environment("DBOS_HOST_TEST_CLOCK", &clock.display().to_string());
        let mut host = builder.start().await;
        host.start_workflow("many_steps", "s-0", &json!({ "steps": 1 })).await;
        database.wait_for_steps("s-0", 2).await;
        host.kill9().await;
        let place = Self { database, builder, clock };
        place.copy("s-0", count).await;
        place
    }

    /// Copies a run with all that is recorded of it, as often as it takes to have `count` of them.
    async fn copy(&self, run: &str, count: i32) {
        for (table, key) in [
            ("dbos.workflow_status", "workflow_uuid"),
            ("dbos.workflow_input", "workflow_uuid"),
            ("dbos.operation_outputs", "workflow_uuid"),
            ("dbos_host.operation_digest", "workflow_uuid"),
            ("dbos_host.attempt", "workflow_uuid"),
        ] {
            let columns = "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
                            WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attname <> $2
                              AND attgenerated = '' AND attidentity = ''";
            let columns: String = self.database.query(columns, &[&table, &key]).await[0].get(0);
            let copy = format!(
                "INSERT INTO {table} ({key}, {columns})
                 SELECT 's-' || n, {columns} FROM {table}, generate_series(1, $2) n WHERE {key} = $1"
            );
            self.database.query(&copy, &[&run, &(count - 1)]).await;
        }
    }

    async fn ended(&self) -> i64 {
        let ended =
            "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS' AND starts_with(workflow_uuid, 's-')";
        self.database.count(ended, &[]).await
    }

    /// Waits until the host that runs now owns all of them.
    async fn taken(&self, before: &str) {
        let old = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'PENDING' AND owner_xid = $1";
        until("every run has been taken over", async || self.database.count(old, &[&before]).await == 0).await;
    }

    /// The token of the host that was killed.
    async fn owner(&self) -> String {
        let owner = "SELECT owner_xid FROM dbos.workflow_status WHERE workflow_uuid = 's-0'";
        self.database.query(owner, &[]).await[0].get(0)
    }

    fn wake_all(&self) {
        fs::write(&self.clock, NEXT_DAY).unwrap();
    }
}

fn visits(builder: &HostBuilder, point: &str) -> usize {
    builder.visits().iter().filter(|visit| visit.starts_with(&format!("{point}#"))).count()
}

#[tokio::test]
async fn a_page_of_sleepers_makes_no_instance_before_it_is_due() {
    let place = Place::with_sleepers(1_500, "").await;
    let before = place.owner().await;
    let builder = place.builder.clone().note_visits();
    let host = builder.start().await;
    place.taken(&before).await;
    // Whatever was to be done for those that were taken first is done before what comes later.
    host.start_workflow("many_steps", "later", &json!({ "steps": 1 })).await;
    place.database.wait_for_steps("later", 2).await;
    assert_eq!(visits(&builder, "attempt.before_count"), 0, "no attempt is counted");
    assert_eq!(visits(&builder, "attempt.before_instance"), 1, "there is no instance but that of the later run");
    place.wake_all();
    until("all have ended", async || place.ended().await == 1_500).await;
    let again = "SELECT count(*) FROM dbos.workflow_status WHERE recovery_attempts <> 1";
    assert_eq!(place.database.count(again, &[]).await, 0, "each needed one attempt");
}

#[tokio::test]
async fn attempts_before_its_last_record_do_not_make_a_sleeper_late() {
    let place = Place::with_sleepers(1, "").await;
    // Each of them was before the sleep, or there would be no sleep.
    place.database.query("UPDATE dbos.workflow_status SET recovery_attempts = 14", &[]).await;
    let _host = place.builder.start().await;
    place.wake_all();
    until("it has ended", async || place.ended().await == 1).await;
}

/// A parent whose child lasts longer than four lives of its host. It is replayed in each of them, and finds that it has to
/// wait: nothing that it could be blamed for.
#[tokio::test]
async fn a_parent_that_waits_over_many_kills_is_not_given_up() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database).executor("family").config("limits: { attempts: 3 }");
    let clock = builder.folder().join("clock");
    fs::write(&clock, "0").unwrap();
    let builder = builder.environment("DBOS_HOST_TEST_CLOCK", &clock.display().to_string()).note_visits();
    let mut host = builder.start().await;
    host.start_workflow("patient_parent", "p", &json!({ "milliseconds": 86_400_000 })).await;
    database.wait_for_steps("p", 1).await;
    database.wait_for_steps("p-1", 1).await;
    for kill in 1..=4 {
        host.kill9().await;
        host = builder.start().await;
        until("the parent has been replayed", async || visits(&builder, "attempt.before_instance") == 2 + kill).await;
        let attempts = "SELECT recovery_attempts FROM dbos.workflow_status WHERE workflow_uuid = 'p'";
        until("its attempt counts no more", async || database.count(attempts, &[]).await == 1).await;
    }
    fs::write(&clock, NEXT_DAY).unwrap();
    assert_eq!(database.output("p").await, json!(86_400_000));
}

/// Runs that wait for the same run, all of which are replayed when their host is back.
#[tokio::test]
async fn thousands_that_wait_for_others_keep_no_instance_and_are_all_woken() {
    const PARENTS: i32 = 3_000;
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database).executor("family");
    let clock = builder.folder().join("clock");
    fs::write(&clock, "0").unwrap();
    let builder = builder.environment("DBOS_HOST_TEST_CLOCK", &clock.display().to_string());
    let mut host = builder.start().await;
    host.start_workflow("patient_parent", "s-0", &json!({ "milliseconds": 86_400_000 })).await;
    database.wait_for_steps("s-0", 1).await;
    database.wait_for_steps("s-0-1", 1).await;
    host.kill9().await;
    let place = Place { database, builder, clock };
    place.copy("s-0", PARENTS).await;
    let host = place.builder.start().await;
    let counted = "SELECT count(*) FROM dbos_host.attempt";
    let counted = async || place.database.count(counted, &[]).await;
    until("each has been replayed", async || counted().await == i64::from(PARENTS)).await;
    // Nothing that they keep keeps others from a slot.
    host.start_workflow("child", "later", &json!({ "name": "later" })).await;
    place.database.wait_for_end("later").await;
    place.wake_all();
    // The child of all of them is one of those that are counted.
    until("all have ended", async || place.ended().await == i64::from(PARENTS) + 1).await;
}

#[tokio::test]
async fn ten_thousand_due_at_once_are_all_done_and_fresh_runs_are_not_starved() {
    let place = Place::with_sleepers(10_000, "").await;
    let before = place.owner().await;
    let host = place.builder.start().await;
    place.taken(&before).await;
    place.wake_all();
    // Sleepers are ending, and thousands are due before the fresh run comes.
    until("the first have ended", async || place.ended().await > 0).await;
    host.start_workflow("many_steps", "fresh", &json!({ "steps": 3 })).await;
    place.database.wait_for_steps("fresh", 4).await;
    let ended = place.ended().await;
    assert!(ended < 9_000, "the fresh run has come as far as its sleep when {ended} of 10,000 had ended");
    eventually("all have ended", async || (place.ended().await == 10_000).then_some(())).await;
    let failed =
        "SELECT count(*) FROM dbos.workflow_status WHERE status <> 'SUCCESS' AND starts_with(workflow_uuid, 's-')";
    assert_eq!(place.database.count(failed, &[]).await, 0);
}

#[tokio::test]
async fn a_locked_row_holds_up_its_own_run_only_in_recovery_too() {
    // More rows are locked than there are slots.
    let place = Place::with_sleepers(60, "limits: { workflows: 2 }").await;
    place.wake_all();
    let mut other = place.database.connect().await;
    let lock = other.transaction().await.unwrap();
    let few =
        "SELECT 1 FROM dbos.workflow_status WHERE workflow_uuid IN ('s-1', 's-2', 's-3', 's-4', 's-5') FOR UPDATE";
    lock.query(few, &[]).await.unwrap();
    let host = place.builder.start().await;
    until("all but the locked ones have ended", async || place.ended().await == 55).await;
    host.wait_for_log("somebody else has locked unfinished workflows").await;
    lock.rollback().await.unwrap();
    until("the locked ones have ended too", async || place.ended().await == 60).await;
}

#[tokio::test]
async fn a_row_that_is_locked_when_its_run_wakes_up_holds_up_nobody_else() {
    let place = Place::with_sleepers(60, "limits: { workflows: 2 }").await;
    let before = place.owner().await;
    let host = place.builder.start().await;
    place.taken(&before).await;
    let mut other = place.database.connect().await;
    let lock = other.transaction().await.unwrap();
    let few =
        "SELECT 1 FROM dbos.workflow_status WHERE workflow_uuid IN ('s-1', 's-2', 's-3', 's-4', 's-5') FOR UPDATE";
    lock.query(few, &[]).await.unwrap();
    place.wake_all();
    until("all but the locked ones have ended", async || place.ended().await == 55).await;
    host.wait_for_log("somebody else has locked its row").await;
    lock.rollback().await.unwrap();
    until("the locked ones have ended too", async || place.ended().await == 60).await;
}

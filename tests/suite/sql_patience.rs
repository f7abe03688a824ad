//! SQL that takes too long is ended, whatever the guest has done to the limits of its session, and its locks are free.

use dbos_host_tests::{Database, Host, HostBuilder, TestPostgres, eventually};
use serde_json::json;

const NARROW: &str = "limits: { statement_ms: 700, transaction_ms: 3000 }";

/// Here the statement is what takes too long, with all that is tried to end it.
const NARROW_STATEMENT: &str = "limits: { statement_ms: 700, transaction_ms: 30000 }";

async fn started(limits: &str) -> (Database, Host) {
    let database = TestPostgres::shared().fresh_database().await;
    let host = HostBuilder::new("burglar").database(&database).config(limits).start().await;
    (database, host)
}

/// What comes of these statements in one transaction.
async fn together(host: &Host, run: &str, statements: &[&str]) -> String {
    let reply = host.run_workflow("burgle_together", run, &json!({ "statements": statements })).await.unwrap();
    assert_eq!(reply.status, 200, "{statements:?}: {reply:?}");
    reply.json().as_str().expect("a text").to_owned()
}

/// Waits until no session of the app's login does anything at the server.
async fn nothing_goes_on(database: &Database) {
    let role = format!("dbos_{}:burglar", database.name());
    let active = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state <> 'idle'";
    eventually("the app's sessions are idle", async || (database.count(active, &[&role]).await == 0).then_some(()))
        .await;
}

/// A statement that catches its own cancellation, again and again.
const DEAF: &str =
    "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$";

/// What comes of it behind these statements. A cancellation that comes before its loop has begun, on a machine that is busy for
/// so long, ends it like any other, which another test checks: then it is tried again.
async fn deaf(host: &Host, run: &str, before: &[&str]) -> String {
    let statements = [before, &[DEAF]].concat();
    for attempt in 1..10 {
        let told = together(host, &format!("{run} {attempt}"), &statements).await;
        if !told.starts_with("57014: ") {
            return told;
        }
    }
    panic!("ten cancellations came before the loop");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_cancelled_by_the_server() {
    let (database, host) = started(NARROW).await;
    for (run, statement) in
        [("sleeps", "SELECT pg_sleep(3600)"), ("counts", "SELECT count(*) FROM generate_series(1, 1e12)")]
    {
        let told = together(&host, run, &[statement]).await;
        assert_eq!(told, "57014: canceling statement due to statement timeout", "{statement}");
    }
    let told = together(&host, "loops", &["DO $$ BEGIN LOOP NULL; END LOOP; END $$"]).await;
    assert_eq!(told, "57014: canceling statement due to statement timeout");
    nothing_goes_on(&database).await;
}

#[tokio::test]
async fn a_guest_cannot_lift_the_limit() {
    let (database, host) = started(NARROW).await;
    let ways = [
        "SET statement_timeout = 0",
        "SET LOCAL statement_timeout = 0",
        "SELECT set_config('statement_timeout', '0', false)",
        "DO $$ BEGIN PERFORM set_config('statement_timeout', '0', false); END $$",
        "SET statement_timeout TO DEFAULT",
        "RESET ALL",
    ];
    for way in ways {
        let told = together(&host, way, &[way, "SELECT pg_sleep(3600)"]).await;
        assert_eq!(told, "57014: canceling statement due to user request", "{way}");
    }
    nothing_goes_on(&database).await;
    // Nor for those that come after it, in any session of its role.
    let role = "ALTER ROLE CURRENT_USER SET statement_timeout = 0";
    assert_eq!(together(&host, "for the role", &[role]).await, "committed");
    let told = together(&host, "after", &["SELECT pg_sleep(3600)"]).await;
    assert_eq!(told, "57014: canceling statement due to statement timeout");
}

#[tokio::test]
async fn a_statement_that_outlives_its_cancellation_is_ended_with_its_process() {
    let (database, host) = started(NARROW_STATEMENT).await;
    database.execute("CREATE TABLE public.wanted (n int)").await;
    database.execute("GRANT ALL ON public.wanted TO public").await;
    let told = deaf(&host, "deaf", &["LOCK TABLE public.wanted", "SET statement_timeout = 0"]).await;
    assert!(
        told.starts_with("statement_timeout: the statement took longer than the limit of 700ms and did not"),
        "{told}"
    );
    nothing_goes_on(&database).await;
    assert_eq!(together(&host, "after", &["INSERT INTO public.wanted VALUES (1)"]).await, "committed");
    let [step] = &database.steps("deaf 1").await[..] else { panic!("there is one step") };
    assert!(step.error.is_some(), "it is the step's failure, and it was run once: {step:?}");
}

/// The server's own limit does not end it either, and nothing was asked of the session before.
#[tokio::test]
async fn the_first_statement_is_ended_with_its_process_too() {
    let (database, host) = started(NARROW_STATEMENT).await;
    let told = deaf(&host, "deaf", &[]).await;
    assert!(told.starts_with("statement_timeout: "), "{told}");
    nothing_goes_on(&database).await;
}

/// The process is found again whatever the role has as its way to write numbers.
#[tokio::test]
async fn a_role_that_writes_short_numbers_does_not_hide_its_processes() {
    let (database, host) = started(NARROW_STATEMENT).await;
    let short = "ALTER ROLE CURRENT_USER SET extra_float_digits = -15";
    assert_eq!(together(&host, "short", &[short]).await, "committed");
    // The first one ends the session that is older than the setting.
    for run in ["deaf", "deaf again"] {
        let told = deaf(&host, run, &["SET statement_timeout = 0"]).await;
        assert!(told.starts_with("statement_timeout: "), "{told}");
        nothing_goes_on(&database).await;
    }
}

/// Nor is it safe behind a password that the host does not know.
#[tokio::test]
async fn a_role_that_has_locked_its_host_out_keeps_no_process() {
    let (database, host) = started(NARROW_STATEMENT).await;
    assert_eq!(together(&host, "locks out", &["ALTER ROLE CURRENT_USER PASSWORD 'x'"]).await, "committed");
    // In the session that is there already.
    let told = deaf(&host, "deaf", &["SET statement_timeout = 0"]).await;
    assert!(told.starts_with("statement_timeout: "), "{told}");
    nothing_goes_on(&database).await;
}

#[tokio::test]
async fn a_table_that_a_guest_locks_is_free_again() {
    let (database, host) = started(NARROW).await;
    database.execute("CREATE TABLE public.wanted (n int)").await;
    database.execute("GRANT ALL ON public.wanted TO public").await;
    host.start_workflow("lock", "locks", &json!({ "table": "public.wanted" })).await;
    let locked =
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'public.wanted'::regclass";
    eventually("the table is locked", async || (database.count(locked, &[]).await == 1).then_some(())).await;
    // Whoever waits for it waits no longer than a statement may take.
    let told = together(&host, "waits", &["INSERT INTO public.wanted VALUES (1)"]).await;
    assert_eq!(told, "57014: canceling statement due to statement timeout");
    let expected = json!("timeout: the transaction took longer than the limit of 3s");
    assert_eq!(database.output("locks").await, expected);
    eventually("the lock is free", async || (database.count(locked, &[]).await == 0).then_some(())).await;
    assert_eq!(together(&host, "after", &["INSERT INTO public.wanted VALUES (1)"]).await, "committed");
}

#[tokio::test]
async fn a_deferred_constraint_that_sleeps_is_the_steps_failure() {
    let (database, host) = started(NARROW).await;
    let statements = [
        "CREATE TABLE public.slow (n int)",
        "CREATE FUNCTION public.doze() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3600); RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER doze AFTER INSERT ON public.slow DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION public.doze()",
        "INSERT INTO public.slow VALUES (1)",
    ];
    let told = together(&host, "deferred", &statements).await;
    assert_eq!(told, "57014: canceling statement due to statement timeout");
    nothing_goes_on(&database).await;
}

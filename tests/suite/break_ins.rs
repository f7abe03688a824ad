//! What guest SQL leaves behind in a database must not run with anybody else's rights, nor stand between a step and its
//! record.
//!
//! A guest's role may make things in schema `public`, which is where a login with ordinary settings looks for operators,
//! and it shares its sessions with the last statements of its own steps.

use std::time::Duration;

use dbos_host_tests::{Database, Host, HostBuilder, TestPostgres, eventually};
use serde_json::{Value, json};

/// Renewed often, so that a test soon sees all statements of a lease.
const SHORT_LEASE: Duration = Duration::from_millis(1500);

/// Of everything that the host keeps at once, in KiB; it needs less than 200 MiB when nothing happens.
const MAX_RESIDENT: u64 = 400 * 1024;

/// Operators in `public` for every pair of common types that has none in `pg_catalog`: they fit exactly, so a statement
/// that mixes these types finds them before it thinks of a conversion. Each notes who runs it and tries to make the
/// guest mighty.
const OPERATORS: &str = r"
DO $guest$
DECLARE
    types CONSTANT regtype[] := '{int4, int8, numeric, float8, text, timestamptz, interval}';
    left_type regtype; right_type regtype; operator text; result regtype; made int := 0;
BEGIN
    FOREACH left_type IN ARRAY types LOOP
    FOREACH right_type IN ARRAY types LOOP
    FOREACH operator IN ARRAY '{+, -, *, /, =, <>, <, >, <=, >=, ||}'::text[] LOOP
        CONTINUE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_operator
            WHERE oprname = operator AND oprleft = left_type AND oprright = right_type);
        result := CASE WHEN operator IN ('=', '<>', '<', '>', '<=', '>=') THEN 'bool'::regtype ELSE left_type END;
        EXECUTE format($f$
            CREATE FUNCTION public.spy_%5$s(%1$s, %2$s) RETURNS %3$s LANGUAGE plpgsql AS $spy$
            BEGIN
                INSERT INTO public.seen VALUES (current_user);
                BEGIN
                    ALTER ROLE %4$I SUPERUSER;
                EXCEPTION WHEN insufficient_privilege THEN NULL;
                END;
                RETURN %6$s;
            END $spy$ $f$, left_type, right_type, result, current_user, made,
            CASE result WHEN left_type THEN '$1' ELSE 'true' END);
        EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.spy_%s)',
            operator, left_type, right_type, made);
        made := made + 1;
    END LOOP; END LOOP; END LOOP;
END $guest$";

/// Looks for the host's prepared statement and puts another of its name in its place, which takes what it is given.
const IMPOSTOR: &str = r"
DO $guest$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT name, parameter_types::text[] AS types FROM pg_prepared_statements
                 WHERE statement LIKE '%end_transaction%' AND parameter_types <> '{}' LOOP
        EXECUTE format('DEALLOCATE %I', found.name);
        EXECUTE format('PREPARE %I (%s) AS INSERT INTO public.loot VALUES ($2::text)', found.name,
                       array_to_string(found.types, ', '));
    END LOOP;
END $guest$";

fn burglar(database: &Database) -> HostBuilder {
    HostBuilder::new("burglar").database(database)
}

/// Runs SQL in a guest, each statement in a transaction of its own; returns what came of each.
async fn burgle(database: &Database, host: &Host, run: &str, statements: &[&str]) -> Vec<String> {
    host.start_workflow("burgle", run, &json!({ "statements": statements })).await;
    serde_json::from_value(database.output(run).await).expect("a list of texts")
}

#[tokio::test]
async fn operators_of_a_guest_are_not_run_by_the_host() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = burglar(&database).executor("burgled").lease(SHORT_LEASE).note_visits();
    let mut host = builder.start().await;
    let told = burgle(&database, &host, "break-in", &["CREATE TABLE public.seen (who text)", OPERATORS]).await;
    assert_eq!(told, ["[]", "[]"]);
    let made = "SELECT count(*) FROM pg_operator WHERE oprnamespace = 'public'::regnamespace";
    assert!(database.count(made, &[]).await > 100, "the burglar's tools are there");
    // They work where they are looked for: in the guest's own session.
    let told = burgle(&database, &host, "own use", &["SELECT 2::numeric * 3::int AS n"]).await;
    assert_eq!(told, [r#"[{"n":"2"}]"#]);

    // What the host does all day: starts, records, outcomes, renewals, a take-over, and the look of an operator.
    for n in 1..=3 {
        burgle(&database, &host, &format!("ordinary {n}"), &["SELECT 1 AS n"]).await;
    }
    let renewals = || builder.visits().iter().filter(|visit| visit.starts_with("lease.before_renewal")).count();
    eventually("the lease is renewed", async || (renewals() >= 2).then_some(())).await;
    host.kill9().await;
    builder.migrate().await;
    assert!(builder.output(&["workflow", "list"]).await.status.success());
    let host = builder.start().await;
    burgle(&database, &host, "after", &["SELECT 1 AS n"]).await;

    let guest = format!("dbos_{}:burglar", database.name());
    let rows = database.query("SELECT DISTINCT who FROM public.seen", &[]).await;
    let seen: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(seen, [guest.as_str()], "somebody else has run the guest's code");
    let mighty = database.query("SELECT rolsuper FROM pg_roles WHERE rolname = $1", &[&guest]).await;
    assert!(!mighty[0].get::<_, bool>(0), "the guest has made itself a superuser");
}

#[tokio::test]
async fn a_trap_on_a_table_catches_nobody_but_the_app_in_a_migration() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = burglar(&database);
    let folder = builder.folder().join("migrations");
    std::fs::create_dir(&folder).expect("a folder");
    let write = |name: &str, sql: &str| std::fs::write(folder.join(name), sql).expect("write a migration");
    write("001_bait.sql", "CREATE TABLE bait (n int); INSERT INTO bait VALUES (1);");
    builder.migrate().await;
    let host = builder.start().await;
    let trap = "CREATE FUNCTION public.trap() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    PERFORM set_config('role', 'none', true);
                    INSERT INTO public.seen VALUES (current_user, session_user);
                    RETURN NEW;
                END $$";
    let statements = [
        "CREATE TABLE public.seen (who text, session text)",
        trap,
        "CREATE TRIGGER at_once BEFORE UPDATE ON bait FOR EACH ROW EXECUTE FUNCTION public.trap()",
        "CREATE CONSTRAINT TRIGGER at_the_end AFTER UPDATE ON bait DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.trap()",
    ];
    assert_eq!(burgle(&database, &host, "trap", &statements).await, ["[]"; 4]);

    write("002_update.sql", "UPDATE bait SET n = n + 1;");
    builder.migrate().await;
    let guest = format!("dbos_{}:burglar", database.name());
    let rows = database.query("SELECT who, session FROM public.seen", &[]).await;
    let seen: Vec<(&str, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(seen, [(guest.as_str(), guest.as_str()); 2], "somebody else has run the guest's code");
    assert_eq!(database.count("SELECT n::bigint FROM bait", &[]).await, 2);
}

#[tokio::test]
async fn a_statement_of_the_host_cannot_be_replaced_in_the_guests_session() {
    let database = TestPostgres::shared().fresh_database().await;
    let host = burglar(&database).start().await;
    let statements =
        ["CREATE TABLE public.loot (token text)", IMPOSTOR, "SELECT 1 AS n", IMPOSTOR, IMPOSTOR, "SELECT 2 AS n"];
    let told = burgle(&database, &host, "impostor", &statements).await;
    assert_eq!(told, ["[]", "[]", r#"[{"n":1}]"#, "[]", "[]", r#"[{"n":2}]"#]);
    let rows = database.query("SELECT token FROM public.loot", &[]).await;
    let loot: Vec<Option<&str>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(loot, [None; 0], "the guest has got hold of what the host sends with a record");
    let numbers: Vec<i32> = database.steps("impostor").await.iter().map(|step| step.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6], "each step that took effect has its record");
}

#[tokio::test]
async fn a_statement_whose_result_is_refused_is_not_committed() {
    let database = TestPostgres::shared().fresh_database().await;
    let host = burglar(&database).start().await;
    burgle(&database, &host, "table", &["CREATE TABLE public.effects (n int)"]).await;
    // 30 MB, far more than a result may have; the statement itself is in order.
    let statement = "INSERT INTO public.effects SELECT n FROM generate_series(1, 300) AS n
                     RETURNING n, repeat('x', 100000) AS text";
    let reply = host.run_workflow("burgle_and_ignore", "large", &json!({ "statement": statement })).await.unwrap();
    let told = reply.json();
    assert!(told.as_str().is_some_and(|told| told.starts_with("failed: ")), "{told}");
    assert_eq!(database.count("SELECT count(*) FROM public.effects", &[]).await, 0, "an error came, and rows stayed");
    let [step] = &database.steps("large").await[..] else { panic!("there is one step") };
    assert_eq!((step.output.as_deref(), step.error.is_some()), (None, true), "{step:?}");
    // The host and the session live on.
    let told: Value = json!(burgle(&database, &host, "after", &["SELECT 1 AS n"]).await);
    assert_eq!(told, json!([r#"[{"n":1}]"#]));
}

#[tokio::test]
async fn a_value_of_hundreds_of_megabytes_is_not_taken_into_the_hosts_memory() {
    let database = TestPostgres::shared().fresh_database().await;
    let host = burglar(&database).start().await;
    let statements = [
        "SELECT repeat('x', 500000000) AS text",
        "DO $$ BEGIN RAISE NOTICE '%', repeat('x', 300000000); END $$",
        "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 300000000); END $$",
        "SELECT 1 AS n",
    ];
    let told = burgle(&database, &host, "giant", &statements).await;
    let limit = "bytes, more than the limit of 17825792";
    assert!(told[0].starts_with("result_too_large: ") && told[0].contains(limit), "{}", told[0]);
    assert_eq!(told[1], "[]");
    assert!(told[2].starts_with("result_too_large: ") && told[2].contains(limit), "{}", told[2]);
    assert_eq!(told[3], r#"[{"n":1}]"#);
    let most = host.most_resident_kib();
    assert!(most < MAX_RESIDENT, "the host needed {} MiB for what a server sent", most / 1024);
}

#[tokio::test]
async fn what_a_guest_may_not_do_is_told_with_its_code() {
    let database = TestPostgres::shared().fresh_database().await;
    let host = burglar(&database).start().await;
    let cases = [
        ("COMMIT", "statement_refused"),
        ("; /* x */ COMMIT", "statement_refused"),
        ("ROLLBACK", "statement_refused"),
        ("PREPARE TRANSACTION 'x'", "statement_refused"),
        ("COPY (SELECT 1) TO STDOUT", "statement_refused"),
        ("LISTEN anybody", "statement_refused"),
        ("SET TRANSACTION READ ONLY", "statement_refused"),
        ("DO $$ BEGIN COMMIT; END $$", "2D000"),
        ("DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''id'''; END $$", "42501"),
        ("SET ROLE postgres", "42501"),
        ("SET SESSION AUTHORIZATION postgres", "42501"),
        ("SELECT * FROM dbos.workflow_status", "42501"),
        ("DELETE FROM dbos_host.executor", "42501"),
        ("ALTER ROLE CURRENT_USER SUPERUSER", "42501"),
        ("CREATE ROLE another", "42501"),
        ("SELECT pg_read_file('/etc/passwd')", "42501"),
        ("SELECT lo_import('/etc/passwd')", "42501"),
        ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user", "42501"),
        ("SELECT pg_reload_conf()", "42501"),
        ("VACUUM", "25001"),
        ("SELECT 1; SELECT 2", "42601"),
    ];
    let statements: Vec<&str> = cases.iter().map(|(statement, _)| *statement).collect();
    let told = burgle(&database, &host, "forbidden", &statements).await;
    for ((statement, code), told) in cases.iter().zip(&told) {
        assert!(told.starts_with(&format!("{code}: ")), "{statement}: {told}");
    }
}

#[tokio::test]
async fn nothing_of_a_session_is_left_for_the_next_transaction() {
    let database = TestPostgres::shared().fresh_database().await;
    let host = burglar(&database).config("limits: { steps: 1 }").start().await;
    let statements = [
        "DECLARE held CURSOR WITH HOLD FOR SELECT 1",
        "FETCH 1 FROM held",
        "SELECT pg_advisory_lock(7)::text AS locked",
        "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND objid = 7",
        "CREATE TEMPORARY TABLE mine (n int)",
        "SELECT * FROM mine",
        "SET application_name = 'somebody else'",
        "SELECT current_setting('application_name') AS name",
    ];
    let told = burgle(&database, &host, "left", &statements).await;
    assert!(told[1].starts_with("34000: "), "{}", told[1]);
    assert_eq!(told[3], r#"[{"n":0}]"#);
    assert!(told[5].starts_with("42P01: "), "{}", told[5]);
    assert_eq!(told[7], r#"[{"name":"dbos-host"}]"#);
}

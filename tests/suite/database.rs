//! The system database: the schema that DBOS has, whoever made it; and guests that cannot reach it.

use dbos_host_tests::{Database, HostBuilder, TestPostgres, programs, schema};
use serde_json::json;
use tokio::process::Command;

/// Lets the real `dbos` package make its tables.
async fn migrate_with_python(database: &Database) {
    let mut command = Command::new(programs::python().with_file_name("dbos"));
    let output = command.args(["migrate", "--sys-db-url", database.url()]).output().await.expect("`dbos` runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn fresh_database() -> Database {
    TestPostgres::shared().fresh_database().await
}

#[tokio::test]
async fn the_schema_is_the_one_of_dbos() {
    let (ours, theirs) = (fresh_database().await, fresh_database().await);
    HostBuilder::new("family").database(&ours).migrate().await;
    migrate_with_python(&theirs).await;
    let (mut ours, mut theirs) = (ours.connect().await, theirs.connect().await);
    let described = (schema::describe(&ours).await.unwrap(), schema::describe(&theirs).await.unwrap());
    assert!(described.1.lines().count() > 100, "the description has something in it");
    assert_eq!(described.0, described.1);
    assert_eq!(schema::exercise(&mut ours).await.unwrap(), schema::exercise(&mut theirs).await.unwrap());
}

#[tokio::test]
async fn a_database_that_dbos_made_works_and_stays_as_it_is() {
    let database = fresh_database().await;
    migrate_with_python(&database).await;
    let client = database.connect().await;
    let before = schema::describe(&client).await.unwrap();
    let builder = HostBuilder::new("family").database(&database);
    builder.migrate().await;
    let host = builder.start().await;
    let reply = host.run_workflow("grandparent", "g", &json!({ "name": "Ann" })).await.unwrap();
    assert_eq!(reply.json(), json!("the child of the child of Ann has grown"), "{reply:?}");
    assert_eq!(schema::describe(&client).await.unwrap(), before);
}

#[tokio::test]
async fn a_dbos_client_reads_the_runs_of_this_host() {
    let database = fresh_database().await;
    let host = HostBuilder::new("family").database(&database).start().await;
    host.run_workflow("parent", "p", &json!({ "name": "Ann" })).await.unwrap();
    let program = "
import json, sys
from dbos import DBOSClient
client = DBOSClient(system_database_url=sys.argv[1])
steps = [step['function_name'] for step in client.list_workflow_steps('p')]
status = client.retrieve_workflow('p').get_status()
print(json.dumps([client.retrieve_workflow('p').get_result(), status.status, status.input, steps]))
";
    let mut command = Command::new(programs::python());
    let output = command.args(["-c", program, database.url()]).output().await.expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let input = json!({ "args": [], "kwargs": { "name": "Ann" } });
    assert_eq!(told, json!(["the child of Ann has grown", "SUCCESS", input, ["child", "DBOS.getResult"]]));
}

#[tokio::test]
async fn ten_hosts_that_start_at_once_on_an_empty_database_come_up() {
    let database = fresh_database().await;
    let builders = (1..=10).map(|n| HostBuilder::new("family").database(&database).executor(&format!("host-{n}")));
    let mut hosts: Vec<_> = builders.map(|builder| builder.launch()).collect();
    for (n, host) in hosts.iter_mut().enumerate() {
        assert!(host.listens().await, "host {n} ended: {}", host.log());
    }
    for (n, host) in hosts.iter().enumerate() {
        let reply = host.run_workflow("parent", &format!("p{n}"), &json!({ "name": n.to_string() })).await.unwrap();
        assert_eq!((reply.status, reply.json()), (200, json!(format!("the child of {n} has grown"))), "{reply:?}");
    }
    let runs = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'";
    assert_eq!(database.count(runs, &[]).await, 20);
    assert_eq!(database.count("SELECT count(*) FROM dbos.application_versions", &[]).await, 1);
}

/// Runs SQL in a guest, each statement in a transaction of its own; returns what came of each.
async fn burgle(database: &Database, statements: &[&str]) -> Vec<String> {
    let host = HostBuilder::new("burglar").database(database).start().await;
    let reply = host.run_workflow("burgle", "burglary", &json!({ "statements": statements })).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_value(reply.json()).expect("a list of texts")
}

#[tokio::test]
async fn guest_sql_reaches_nothing_of_the_systems() {
    let database = fresh_database().await;
    HostBuilder::new("burglar").database(&database).migrate().await;
    let every_table = "SELECT format('%s %I.%I', way, nspname, relname)
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace,
             unnest('{SELECT * FROM, DELETE FROM}'::text[]) AS way
        WHERE nspname IN ('dbos', 'dbos_host') AND relkind IN ('r', 'v', 'S', 'm')";
    let mut statements: Vec<String> = database.query(every_table, &[]).await.iter().map(|row| row.get(0)).collect();
    assert!(statements.contains(&"SELECT * FROM dbos_host.secret".to_owned()), "{statements:?}");
    let more = [
        "CREATE TABLE dbos.mine (n int)",
        "CREATE FUNCTION dbos_host.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION dbos_host.end_transaction OWNER TO CURRENT_USER",
        "DROP SCHEMA dbos CASCADE",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "SELECT set_config('role', 'postgres', false)",
        "SELECT pg_read_file('/etc/passwd')",
        "CREATE ROLE mine SUPERUSER",
    ];
    statements.extend(more.map(str::to_owned));
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    for (statement, told) in statements.iter().zip(burgle(&database, &statements).await) {
        // Insufficient privilege, and what Postgres says of a role that the session may not become.
        assert!(told.starts_with("42501: ") || told.starts_with("22023: "), "`{statement}`: {told}");
    }
    assert_eq!(database.status("burglary").await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn guest_sql_cannot_write_a_record_with_a_claim_that_it_guesses() {
    let database = fresh_database().await;
    let forged = [
        "SELECT dbos_host.end_transaction('burglary', 'a guess', 'burglar', 2, 'try_sql', '[]', 1, 1, '\\x00', \
            NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        "SELECT dbos_host.end_transaction('burglary', NULL, 'burglar', 2, 'try_sql', '[]', 1, 1, '\\x00', \
            NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ];
    let told = burgle(&database, &[forged[0], forged[1], "SELECT 1 AS n"]).await;
    assert!(told[0].starts_with("DH001: ") && told[1].starts_with("DH001: "), "{told:?}");
    assert_eq!(told[2], r#"[{"n":1}]"#);
    assert_eq!(database.steps("burglary").await.len(), 3);
}

#[tokio::test]
async fn guest_sql_cannot_make_a_run_with_an_incarnation_that_it_guesses() {
    let database = fresh_database().await;
    // A run of somebody else's workflow, over or still to be run, by every executor that there is.
    let forge = |executor: &str, status: &str| {
        format!(
            "SELECT dbos_host.end_transaction('loot', 'guess:1', 'burglar', 1, 'x', '[]', 1, 1, '\\x0011223344556677', \
             'pay', {executor}, 'guess', 'v', '{{}}', 1, NULL, {status}, '1', NULL)"
        )
    };
    let forged = ["'local'", "NULL"].map(|executor| ["NULL", "'SUCCESS'"].map(|status| forge(executor, status)));
    let forged: Vec<&str> = forged.iter().flatten().map(String::as_str).collect();
    for told in burgle(&database, &forged).await {
        assert!(told.starts_with("DH001: "), "{told}");
    }
    assert_eq!(database.status("loot").await, None);
}

#[tokio::test]
async fn guest_sql_cannot_end_its_transaction() {
    let database = fresh_database().await;
    let statements = [
        "COMMIT",
        "END",
        "ROLLBACK",
        "ABORT",
        "BEGIN",
        "SAVEPOINT a",
        "PREPARE TRANSACTION 'a'",
        " /* a /* nested */ comment */ commit",
        "-- a comment\nrollback",
        "COMMIT AND CHAIN",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ];
    for (statement, told) in statements.iter().zip(burgle(&database, &statements).await) {
        assert!(!told.starts_with('['), "`{statement}` was run: {told}");
    }
    let more = ["SELECT 1; COMMIT", "DO $$ BEGIN COMMIT; END $$"];
    let database = fresh_database().await;
    let told = burgle(&database, &more).await;
    assert!(told[0].starts_with("42601: "), "one statement a call: {told:?}");
    assert!(told[1].starts_with("2D000: "), "{told:?}");
}

#[tokio::test]
async fn nothing_of_a_session_travels_to_the_next_transaction() {
    let database = fresh_database().await;
    let statements = [
        "SET search_path TO pg_catalog",
        "SHOW search_path",
        "CREATE TEMPORARY TABLE mine AS SELECT 1 AS n",
        "SELECT * FROM mine",
        "SELECT pg_advisory_lock(7)",
        "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND objid = 7",
        "SET statement_timeout = '1ms'",
        "SHOW statement_timeout",
    ];
    let told = burgle(&database, &statements).await;
    assert_eq!(told[1], r#"[{"search_path":"\"$user\", public"}]"#);
    assert!(told[3].starts_with("42P01: "), "{told:?}");
    assert_eq!(told[5], r#"[{"n":0}]"#);
    // The limit of this host, set anew for each transaction.
    assert_eq!(told[7], r#"[{"statement_timeout":"30s"}]"#);
}

#[tokio::test]
async fn the_apps_role_has_no_rights_and_no_memberships() {
    let database = fresh_database().await;
    HostBuilder::new("burglar").database(&database).migrate().await;
    let role = format!("dbos_{}:burglar", database.name());
    let rights = "SELECT has_schema_privilege($1, 'dbos', 'USAGE, CREATE')
                      OR has_schema_privilege($1, 'dbos_host', 'CREATE')
                      OR EXISTS (SELECT 1 FROM pg_class WHERE relkind = 'r'
                                   AND relnamespace IN ('dbos'::regnamespace, 'dbos_host'::regnamespace)
                                   AND has_table_privilege($1, oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'))
                      OR EXISTS (SELECT 1 FROM pg_auth_members WHERE member = $1::text::regrole)
                      OR (SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls FROM pg_roles
                            WHERE rolname = $1)";
    let rows = database.query(rights, &[&role]).await;
    assert!(!rows[0].get::<_, bool>(0), "the role `{role}` may do something");
}

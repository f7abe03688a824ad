//! A reset leaves what `migrate` can begin with, says what goes, and takes nothing from under a running host.

use std::process::Output;

use dbos_host_tests::{Database, HostBuilder, TestPostgres};
use serde_json::json;

const SCHEMAS: &str = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('dbos', 'dbos_host')";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn with_tables() -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("family").database(&database).migrations("examples/greeting/migrations");
    builder.migrate().await;
    (database, builder)
}

#[tokio::test]
async fn everything_of_the_host_and_its_apps_goes_and_nothing_else() {
    let (database, builder) = with_tables().await;
    database.execute("CREATE TABLE somebody_elses (id int)").await;
    let mut host = builder.start().await;
    assert_eq!(host.run_workflow("parent", "p", &json!({ "name": "Ann" })).await.unwrap().status, 200);
    assert!(host.stop().await.success());

    let unconfirmed = builder.output(&["reset"]).await;
    assert_eq!(unconfirmed.status.code(), Some(2), "{}", said(&unconfirmed));
    assert!(said(&unconfirmed).contains("hint: say `--yes`"), "{}", said(&unconfirmed));
    assert_eq!(database.count(SCHEMAS, &[]).await, 2);

    let reset = builder.output(&["reset", "--yes"]).await;
    let told = said(&reset);
    assert_eq!((reset.status.code(), reset.stdout.as_slice()), (Some(0), b"Deleted.\n".as_slice()), "{told}");
    for part in
        ["the schema `dbos` with", "the schema `dbos_host` with", "2 workflows of `family`", "table public.greetings"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("somebody_elses"), "{told}");
    assert_eq!(database.count(SCHEMAS, &[]).await, 0);
    let left = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(database.count(left, &[]).await, 1);

    let again = builder.output(&["reset", "--yes"]).await;
    assert_eq!((again.status.code(), again.stdout.as_slice()), (Some(0), b"There is nothing to delete.\n".as_slice()));
    // The migrations apply as if it were the first time, and the app works.
    builder.migrate().await;
    let mut host = builder.start().await;
    assert_eq!(host.run_workflow("parent", "p", &json!({ "name": "Bob" })).await.unwrap().status, 200);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_running_host_keeps_its_database() {
    let (database, builder) = with_tables().await;
    let mut host = builder.clone().executor("blue").start().await;
    let refused = builder.output(&["reset", "--yes"]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let expected = "error[host_running]: failed to reset the database\n  because a host runs on this database: `blue`\n  \
                    hint: stop it first; `--force` resets all the same\n";
    assert!(said(&refused).ends_with(expected), "{}", said(&refused));
    assert_eq!(host.run_workflow("parent", "p", &json!({ "name": "Ann" })).await.unwrap().status, 200);

    // A host that was killed stands in nobody's way, though its lease has not ended.
    host.kill9().await;
    let reset = builder.output(&["reset", "--yes"]).await;
    assert_eq!(reset.status.code(), Some(0), "{}", said(&reset));
    assert_eq!(database.count(SCHEMAS, &[]).await, 0);
}

#[tokio::test]
async fn what_others_made_of_an_apps_table_keeps_all_of_it() {
    let (database, builder) = with_tables().await;
    database.execute("CREATE VIEW of_somebody_else AS SELECT name FROM greetings").await;
    let refused = builder.output(&["reset", "--yes"]).await;
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    assert!(said(&refused).contains("other objects depend on"), "{}", said(&refused));
    assert_eq!(database.count(SCHEMAS, &[]).await, 2, "all or nothing");
    assert_eq!(database.count("SELECT count(*) FROM greetings", &[]).await, 0);
}

#[tokio::test]
async fn a_local_postgres_goes_with_its_data() {
    let builder = HostBuilder::new("family").own_state();
    let nothing = builder.output(&["reset", "--yes"]).await;
    assert_eq!(nothing.stdout, b"There is nothing to delete.\n", "{}", said(&nothing));
    let mut host = builder.start().await;
    let refused = builder.output(&["reset", "--yes"]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("error[host_running]"), "{}", said(&refused));
    assert_eq!(host.run_workflow("parent", "p", &json!({ "name": "Ann" })).await.unwrap().status, 200);

    // A killed host leaves its server running.
    host.kill9().await;
    let home = builder.state().join("postgres");
    assert!(home.join("data/postmaster.pid").exists());
    let reset = builder.output(&["reset", "--yes"]).await;
    assert_eq!(reset.status.code(), Some(0), "{}", said(&reset));
    assert!(said(&reset).contains("This deletes the local Postgres in `"), "{}", said(&reset));
    assert!(!home.exists());
}

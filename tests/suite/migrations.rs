//! `migrate`: the app's own tables, once each, all or nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use dbos_host_tests::{Database, HostBuilder, TestPostgres};

/// An app with a folder of migrations that a test fills.
struct App {
    database: Database,
    builder: HostBuilder,
}

impl App {
    async fn new() -> Self {
        let database = TestPostgres::shared().fresh_database().await;
        let builder = HostBuilder::new("family").database(&database);
        let app = Self { database, builder };
        fs::create_dir(app.folder()).expect("a folder");
        app
    }

    /// The folder that is taken if the configuration names none.
    fn folder(&self) -> PathBuf {
        self.builder.folder().join("migrations")
    }

    fn write(&self, name: &str, sql: &str) {
        fs::write(self.folder().join(name), sql).expect("write a migration");
    }

    async fn migrate(&self) -> Output {
        self.builder.output(&["migrate"]).await
    }

    /// What a `migrate` that must fail says.
    async fn refused(&self) -> String {
        let output = self.migrate().await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(output.stdout.is_empty(), "what failed is not completed");
        said
    }

    async fn tables(&self) -> Vec<String> {
        let query = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                     ORDER BY 1";
        self.database.query(query, &[]).await.iter().map(|row| row.get(0)).collect()
    }
}

fn assert_completed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("Completed schema migration\n"), "{said}");
}

#[tokio::test]
async fn files_are_applied_in_their_order_and_once_each() {
    let app = App::new().await;
    app.write("002_b.sql", "INSERT INTO a VALUES (2);");
    app.write("001_a.sql", "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1);");
    app.write("notes.txt", "This is no SQL.");
    assert_completed(&app.migrate().await);
    assert_completed(&app.migrate().await);
    app.write("003_c.sql", "INSERT INTO a VALUES (3);");
    assert_completed(&app.migrate().await);
    assert_eq!(app.database.count("SELECT sum(n * 10 ^ n)::bigint FROM a", &[]).await, 3210);
    let owner = "SELECT count(*) FROM pg_tables WHERE tablename = 'a' AND tableowner LIKE 'dbos_%_family'";
    assert_eq!(app.database.count(owner, &[]).await, 1, "the table is the app's own");
}

#[tokio::test]
async fn what_was_under_way_in_a_crash_is_as_its_transaction_ended() {
    let app = App::new().await;
    app.write("001_a.sql", "CREATE TABLE a (n int);");
    app.write("002_b.sql", "INSERT INTO a VALUES (1);");
    assert_completed(&app.migrate().await);
    // Killed behind the commit of the first, and before that of the second, whose effect is not there then.
    app.database
        .execute(
            "DO $$
             DECLARE undone text;
             BEGIN
                 DELETE FROM a;
                 BEGIN
                     INSERT INTO a VALUES (2) RETURNING xmin::text INTO undone;
                     RAISE EXCEPTION 'undo';
                 EXCEPTION WHEN raise_exception THEN NULL;
                 END;
                 UPDATE dbos_host.app_migration
                    SET transaction = CASE name WHEN '001_a.sql' THEN pg_current_xact_id() ELSE undone::xid8 END;
             END $$",
        )
        .await;
    assert_completed(&app.migrate().await);
    assert_eq!(app.database.count("SELECT count(*) FROM a", &[]).await, 1, "the second was applied again");
    let open = "SELECT count(*) FROM dbos_host.app_migration WHERE transaction IS NOT NULL";
    assert_eq!(app.database.count(open, &[]).await, 0);
}

#[tokio::test]
async fn two_at_once_apply_everything_once() {
    let app = App::new().await;
    app.write("001_a.sql", "CREATE TABLE a (n int);");
    for n in 2..10 {
        app.write(&format!("00{n}_more.sql"), "INSERT INTO a VALUES (1);");
    }
    let (one, two, three) = tokio::join!(app.migrate(), app.migrate(), app.migrate());
    for output in [one, two, three] {
        assert_completed(&output);
    }
    assert_eq!(app.database.count("SELECT count(*) FROM a", &[]).await, 8);
}

#[tokio::test]
async fn a_file_that_was_changed_after_it_was_applied_is_refused() {
    let app = App::new().await;
    app.write("001_a.sql", "CREATE TABLE a (n int);");
    assert_completed(&app.migrate().await);
    app.write("001_a.sql", "CREATE TABLE a (n bigint);");
    app.write("002_b.sql", "CREATE TABLE b (n int);");
    let said = app.refused().await;
    assert!(said.contains("`001_a.sql` was changed after it was applied"), "{said}");
    assert!(said.contains("hint: restore it and put the change into a new file behind it"), "{said}");
    assert_eq!(app.tables().await, ["a"]);
}

#[tokio::test]
async fn a_file_that_fails_is_named_with_its_line_and_leaves_nothing() {
    let app = App::new().await;
    app.write("001_a.sql", "CREATE TABLE a (n int);");
    app.write("002_b.sql", "CREATE TABLE b (n int);\n\nCREATE TABLE c (n int);\nINSERT INTO nowhere VALUES (1);\n");
    app.write("003_c.sql", "CREATE TABLE d (n int);");
    let said = app.refused().await;
    let expected =
        "`002_b.sql` line 4: relation \"nowhere\" does not exist (SQLSTATE 42P01); nothing of this file was applied";
    assert!(said.contains(expected), "{said}");
    assert_eq!(app.tables().await, ["a"], "the file before it is applied, nothing of it and nothing behind it");
    app.write("002_b.sql", "CREATE TABLE b (n int);");
    assert_completed(&app.migrate().await);
    assert_eq!(app.tables().await, ["a", "b", "d"]);
}

#[tokio::test]
async fn a_file_cannot_reach_the_systems_tables() {
    let app = App::new().await;
    app.write("001_a.sql", "DELETE FROM dbos.workflow_status;");
    let said = app.refused().await;
    assert!(said.contains("`001_a.sql`") && said.contains("(SQLSTATE 42501)"), "{said}");
}

#[tokio::test]
async fn commands_of_other_tools_run_after_the_files_and_find_the_database() {
    let app = App::new().await;
    app.write("001_a.sql", "CREATE TABLE a (n int);");
    let commands = "database:\n  migrate:\n    - 'test -n \"$DATABASE_URL\" && pwd > where'\n    - 'cp where there'";
    let builder = app.builder.clone().config(commands);
    assert_completed(&builder.output(&["migrate"]).await);
    let here = builder.folder().canonicalize().expect("the folder is there");
    let there = fs::read_to_string(builder.folder().join("there")).expect("both commands ran, in their order");
    assert_eq!(there.trim_end(), here.display().to_string());
    assert_eq!(app.tables().await, ["a"]);
}

#[tokio::test]
async fn a_command_that_fails_is_told() {
    let app = App::new().await;
    let builder = app.builder.clone().config("database:\n  migrate:\n    - exit 7");
    let output = builder.output(&["migrate"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("failed to run `exit 7`\n  because it ended with exit status: 7"), "{said}");
}

/// The storage parameters of the table of runs.
async fn settings(database: &Database) -> Vec<String> {
    let query = "SELECT coalesce(reloptions, '{}') FROM pg_class WHERE oid = 'dbos.workflow_status'::regclass";
    database.query(query, &[]).await[0].get(0)
}

#[tokio::test]
async fn tables_get_the_settings_that_nobody_has_made() {
    let app = App::new().await;
    let first = app.migrate().await;
    assert_completed(&first);
    let newest = app.database.count("SELECT max(version)::bigint FROM dbos_host.migration", &[]).await;
    let told = format!("schema `dbos` at migration 125, schema `dbos_host` at migration {newest}\n");
    assert!(String::from_utf8_lossy(&first.stderr).contains(&told), "{first:?}");
    assert_eq!(settings(&app.database).await, ["fillfactor=70"]);

    // An operator's own stays.
    app.database.execute("ALTER TABLE dbos.workflow_status SET (fillfactor = 50)").await;
    app.database.execute("DROP SCHEMA dbos_host CASCADE").await;
    assert_completed(&app.migrate().await);
    assert_eq!(settings(&app.database).await, ["fillfactor=50"]);
}

#[tokio::test]
async fn tables_of_another_role_keep_their_settings_and_the_host_says_what_to_do() {
    let app = App::new().await;
    let (database, name) = (&app.database, app.database.name());
    assert_completed(&app.migrate().await);
    database.execute("DROP SCHEMA dbos_host CASCADE").await;
    database.execute("ALTER TABLE dbos.workflow_status RESET (fillfactor)").await;
    database.execute("DROP INDEX dbos.dbos_host_unread").await;
    // A login that may use the tables of the SDK that made them, and owns none of them.
    let login = format!("{name}_tenant");
    database.execute(&format!("CREATE ROLE \"{login}\" LOGIN")).await;
    for grant in
        [format!("ALL ON DATABASE \"{name}\""), "ALL ON SCHEMA dbos".into(), "ALL ON ALL TABLES IN SCHEMA dbos".into()]
    {
        database.execute(&format!("GRANT {grant} TO \"{login}\"")).await;
    }
    let url = database.url().replacen("postgres@", &format!("{login}@"), 1);
    let output =
        app.builder.clone().config("database: { trusted: true }").database_url(&url).output(&["migrate"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_completed(&output);
    assert!(said.contains("the tables of schema `dbos` belong to another role"), "{said}");
    assert!(said.contains("`ALTER TABLE dbos.workflow_status SET (fillfactor = 70)`"), "{said}");
    assert!(said.contains("`CREATE INDEX dbos_host_unread ON dbos.notifications "), "{said}");
    assert_eq!(settings(database).await, [""; 0]);
}

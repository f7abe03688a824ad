//! Secrets of the configuration stay where they belong: they are in no log line at any level, in no error, in no record.
//!
//! Every secret here has the word that is looked for, so that a part of one is found as well.

use std::process::Output;

use dbos_host_tests::{Answer, Database, HostBuilder, Outside, Request, TestPostgres, programs};
use serde_json::json;

/// In every secret.
const MARK: &str = "sesame";

/// Whatever a command or host says about a configuration that has secrets in it.
fn assert_keeps(what: &str, said: &str) {
    let found = said.to_lowercase().find(MARK);
    let near = found.map(|at| said.get(at.saturating_sub(200)..(at + 100).min(said.len())).unwrap_or(said));
    assert_eq!(near, None, "{what}");
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Everything that is stored in the system's schemas, as text.
async fn all_records(database: &Database) -> String {
    let tables = "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
                   WHERE table_schema IN ('dbos', 'dbos_host') AND table_type = 'BASE TABLE'";
    let mut records = String::new();
    for table in database.query(tables, &[]).await {
        let table: String = table.get(0);
        // A component's bytes are the file's, made before there was a configuration.
        let columns = if table == "dbos_host.component" { "t.manifest" } else { "t" };
        for row in database.query(&format!("SELECT {columns}::text FROM {table} t"), &[]).await {
            records.push_str(&row.get::<_, String>(0));
            records.push('\n');
        }
    }
    assert!(records.contains("portable_json"), "there are records to look at");
    records
}

/// A database URL with a password. The test's server does not ask for one.
fn url_with_password(database: &Database) -> String {
    database.url().replacen("postgres@", &format!("postgres:{MARK}-password@"), 1)
}

/// An app with secrets in its environment and in the database's URL, at the most talkative level of the log.
fn keeper(database: &Database, outside: &Outside) -> HostBuilder {
    HostBuilder::new("keeper")
        .environment("DBOS_DATABASE_URL", &url_with_password(database))
        .environment("SECRET_TOKEN", &format!("{MARK}-by-variable"))
        .environment("DBOS_LOG", "trace")
        .config("env:\n  TOKEN: ${SECRET_TOKEN}")
        .config(&format!("  LITERAL: '{MARK}-in-the-file'"))
        .config(&format!("  OUTSIDE_URL: '{}'", outside.url()))
        .allow(&outside.url())
}

async fn an_outside_that_fails() -> Outside {
    Outside::answering(|request, _| match request.path.split(['/', '?']).nth(1) {
        Some("refused") => Answer::Reply(403, "no".into()),
        Some("dropped") => Answer::Drop,
        _ => Answer::json(&json!("heard")),
    })
    .await
}

#[tokio::test]
async fn an_app_that_uses_secrets_and_fails_leaves_none_of_them_behind() {
    let database = TestPostgres::shared().fresh_database().await;
    let outside = an_outside_that_fails().await;
    let builder = keeper(&database, &outside);
    let migrated = builder.output(&["migrate"]).await;
    assert!(migrated.status.success(), "{}", said(&migrated));
    assert_keeps("migrate", &said(&migrated));

    let mut host = builder.start().await;
    let reply = host.run_workflow("keep", "k", &json!({})).await.unwrap();
    let told = &reply.body;
    assert_eq!(reply.status, 200, "{told}");
    for expected in ["\"200\"", "answered with status 403: no", "/dropped: ", "it was told", "\"18\"", "nowhere"] {
        assert!(told.contains(expected), "the program did all of it, `{expected}` too: {told}");
    }
    assert_keeps("the answer", told);
    let panicked = Request::get(host.url("/panic")).send().await.unwrap();
    assert_eq!(panicked.status, 500);
    assert_keeps("a handler's problem", &panicked.body);
    assert!(host.stop().await.success());
    let sent = outside.received().iter().filter(|request| request.path.contains(MARK)).count();
    assert_eq!(sent, 4, "the secret was really used");
    assert!(host.log().contains("[DEBUG]"), "the log has more than it would have");
    assert_keeps("the log", &host.log());
    assert_keeps("the records", &all_records(&database).await);

    let wasm = programs::guest("keeper").display().to_string();
    for words in
        [&["deploy", wasm.as_str()][..], &["workflow", "list"], &["workflow", "get", "k"], &["workflow", "steps", "k"]]
    {
        let output = builder.output(words).await;
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        assert_keeps(words[0], &said(&output));
    }
}

#[tokio::test]
async fn the_role_of_an_app_is_not_told_with_its_password() {
    let database = TestPostgres::shared().fresh_database().await;
    assert!(HostBuilder::new("family").database(&database).start().await.stop().await.success());
    // A login that owns the database's contents and may not make roles.
    let login = format!("{}_owner", database.name());
    database.execute(&format!("CREATE ROLE \"{login}\" LOGIN")).await;
    database.execute(&format!("GRANT ALL ON DATABASE \"{}\" TO \"{login}\"", database.name())).await;
    for schema in ["dbos", "dbos_host"] {
        database.execute(&format!("GRANT ALL ON SCHEMA {schema} TO \"{login}\"")).await;
        database.execute(&format!("GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO \"{login}\"")).await;
    }
    let url = database.url().replacen("postgres@", &format!("{login}@"), 1);
    let builder = HostBuilder::new("family").database_url(&url).config("name: other");
    let output = builder.output(&["migrate"]).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("may not create the role") && text.contains("PASSWORD 'SCRAM-SHA-256$4096:"), "{text}");

    // What it says to run does what it is to do.
    let lines = text.lines().skip_while(|line| !line.contains("SELECT pg_advisory_xact_lock"));
    let sql: Vec<&str> = lines.take_while(|line| !line.contains("hint: ")).collect();
    let client = database.connect().await;
    client.batch_execute(&sql.join("\n")).await.expect("an administrator can run it");
    client.batch_execute(&format!("GRANT \"dbos_{}:other\" TO \"{login}\"", database.name())).await.expect("a grant");
    let output = builder.output(&["migrate"]).await;
    assert!(output.status.success(), "{}", said(&output));
}

/// Commands that fail because of their configuration or their database.
#[tokio::test]
async fn no_error_tells_a_secret() {
    let database = TestPostgres::shared().fresh_database().await;
    let host = database.url().rsplit_once('@').map(|(_, host)| host.to_owned()).expect("a URL with a user");
    let urls = [
        format!("postgres://me:{MARK}@127.0.0.1:1/x"),
        format!("postgres://nobody:{MARK}@{host}"),
        format!("postgres://postgres:{MARK}@{host}?{MARK}=1"),
        format!("postgres://postgres:a@{MARK}@{host}"),
        format!("postgres://postgres:{MARK}/{MARK}@127.0.0.1:1/x"),
        format!("postgres://postgres:{MARK}@127.0.0.1:{MARK}/x"),
        format!("postgres://me:{MARK}@127.0.0.1:1/x?sslmode={MARK}"),
        format!("host=127.0.0.1 port=1 user=me password=open {MARK}"),
        format!("host=127.0.0.1 port=1 user=me password=open {MARK}=x"),
        MARK.to_owned(),
    ];
    for url in &urls {
        for builder in [
            HostBuilder::without_component().environment("DBOS_DATABASE_URL", url),
            HostBuilder::without_component().database_url(url),
            HostBuilder::without_component().environment("URL", url).config("database_url: ${URL}"),
        ] {
            let output = builder.config("name: a").environment("DBOS_LOG", "trace").output(&["migrate"]).await;
            assert!(!output.status.success(), "{url}");
            assert_keeps(url, &said(&output));
        }
    }

    let configurations = [
        "limits: {steps: '${SECRET}'}",
        "http: {listen: '${SECRET}'}",
        "executor_id: '${SECRET} with a space'",
        "name: '${SECRET} with a space'",
        "database: {trusted: '${SECRET}'}",
        "outbound: {allow: ['${SECRET}']}",
        "outbound: {allow: ['https://${SECRET}/${SECRET}']}",
        "env:\n  TOKEN=sesame: x",
        "env:\n  - TOKEN=sesame",
        "env:\n  TOKEN: [sesame]\n",
        "env:\n  TOKEN: 'sesame\n",
        "env:\n  TOKEN: \"ses\\qame sesame\"\n",
        "env:\n  TOKEN: sesame: sesame\n",
        "env:\n\tTOKEN: sesame",
        "env:\n  TOKEN: *sesame",
        "env:\n  TOKEN: pa${sesame sesame}",
        "env:\n  TOKEN: pa${sesame",
        "database_url postgres://a:sesame@b/c",
        "postgres://a:sesame@b/c: x",
        "database_url: postgres://a:sesame@b:c/d",
        "apps:\n  shop:\n    env: {TOKEN: '${SECRET}${NOT_SET}'}",
        "apps:\n  shop: sesame",
        "apps:\n  - sesame",
        "apps:\n  open sesame: {}",
    ];
    for configuration in configurations {
        let builder = HostBuilder::without_component().environment("SECRET", &format!("Open {MARK} {MARK}"));
        let output = builder
            .database(&database)
            .environment("DBOS_LOG", "trace")
            .config(configuration)
            .output(&["migrate"])
            .await;
        assert_eq!(output.status.code(), Some(3), "{configuration}: {}", said(&output));
        assert_keeps(configuration, &said(&output));
    }
}

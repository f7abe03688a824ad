//! One host, several apps: each has its own routes, workflows, settings, tables and records, and none of them stands in
//! the others' way.

use std::fs;

use dbos_host_tests::{Answer, Database, HostBuilder, Outside, Request, TestPostgres, eventually, programs};
use serde_json::{Value, json};

/// A host with the apps `starts` (it has routes, and writes to the table `written`) and `burglar` (it runs any SQL), which
/// has another table.
fn two_apps(database: &Database) -> HostBuilder {
    let builder = HostBuilder::without_component().database(database);
    let folder = builder.folder().join("burglar/migrations");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("001_loot.sql"), "CREATE TABLE loot (what text);").expect("write a migration");
    builder.config(&format!(
        "apps:\n  starts:\n    wasm: {}\n    migrations: {}\n  burglar:\n    wasm: {}\n",
        path("starts"),
        json!(programs::source("tests/guests/starts/migrations")),
        path("burglar"),
    ))
}

/// A guest's file, as YAML has it.
fn path(guest: &str) -> Value {
    json!(programs::guest(guest))
}

fn configured(database: &Database, apps: &str) -> HostBuilder {
    HostBuilder::without_component().database(database).config(apps)
}

async fn app_of(database: &Database, run: &str) -> String {
    let query = "SELECT application_name FROM dbos.workflow_status WHERE workflow_uuid = $1";
    database.query(query, &[&run]).await[0].get(0)
}

/// What a command says that must fail with this code.
async fn refused(builder: &HostBuilder, words: &[&str], code: i32) -> String {
    let output = builder.output(words).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

async fn burgle(host: &dbos_host_tests::Host, database: &Database, id: &str, sql: &str) -> String {
    host.start_workflow("burgle", id, &json!({ "statements": [sql] })).await;
    database.output(id).await[0].as_str().expect("a text for the statement").to_owned()
}

#[tokio::test]
async fn each_app_has_its_routes_workflows_and_tables() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = two_apps(&database);
    builder.migrate().await;
    let host = builder.start().await;
    let reply = Request::post(host.url("/echo/hi"), &json!(null)).send().await.unwrap();
    assert_eq!(reply.status, 200, "a route of `starts`: {reply:?}");
    host.start_workflow("catch", "c", &json!({ "text": "hi" })).await;
    database.wait_for_end("c").await;
    assert_eq!(database.count("SELECT count(*) FROM written", &[]).await, 2);
    assert_eq!(burgle(&host, &database, "b", "INSERT INTO loot VALUES ('own')").await, "[]");
    assert_eq!((app_of(&database, "c").await, app_of(&database, "b").await), ("starts".into(), "burglar".into()));

    let listed = builder.output(&["workflow", "list", "--name", "burgle"]).await;
    assert!(!String::from_utf8_lossy(&listed.stdout).contains(" APP "), "one app needs no column");
    let listed = String::from_utf8(builder.output(&["workflow", "list"]).await.stdout).expect("text");
    assert!(listed.starts_with("ID") && listed.lines().next().is_some_and(|line| line.contains(" APP ")), "{listed}");
    let of_burglar = builder.output(&["workflow", "list", "--app", "burglar", "--json"]).await;
    let of_burglar: Value = serde_json::from_slice(&of_burglar.stdout).expect("JSON");
    assert_eq!((of_burglar.as_array().map(Vec::len), &of_burglar[0]["app"]), (Some(1), &json!("burglar")));
}

#[tokio::test]
async fn the_role_of_one_app_cannot_reach_what_another_has() {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = two_apps(&database);
    builder.migrate().await;
    let host = builder.start().await;
    host.start_workflow("catch", "c", &json!({ "text": "hi" })).await;
    database.wait_for_end("c").await;
    for (id, sql) in [
        ("read", "SELECT * FROM written"),
        ("write", "INSERT INTO written VALUES ('forged')"),
        ("drop", "DROP TABLE written"),
        ("grant", "GRANT ALL ON written TO PUBLIC"),
        ("records", "SELECT * FROM dbos.workflow_status"),
        ("become", &format!("SET ROLE \"dbos_{}:starts\"", database.name())),
    ] {
        let told = burgle(&host, &database, id, sql).await;
        assert!(told.starts_with("42501: "), "`{sql}` is not permitted: {told}");
    }
    assert_eq!(database.count("SELECT count(*) FROM written", &[]).await, 2);
    // Whoever owns a table can let others in.
    let name = database.name();
    database.execute(&format!("GRANT SELECT ON written TO \"dbos_{name}:burglar\"")).await;
    let told = burgle(&host, &database, "granted", "SELECT count(*) AS n FROM written").await;
    assert_eq!(told, "[{\"n\":2}]");
}

#[tokio::test]
async fn an_app_sees_its_own_environment_and_none_of_the_others() {
    let database = TestPostgres::shared().fresh_database().await;
    let outside = Outside::start().await;
    let url = outside.url();
    let builder = configured(
        &database,
        &format!(
            "apps:\n  starts:\n    wasm: {}\n    env: {{OUTSIDE_URL: '{url}'}}\n    outbound: {{allow: ['{url}']}}\n  \
             small_steps:\n    wasm: {}\n",
            path("starts"),
            path("small_steps"),
        ),
    );
    let host = builder.start().await;
    host.start_workflow("ask", "a", &json!({ "text": "hi" })).await;
    assert_eq!(database.wait_for_end("a").await.status, "SUCCESS");
    let told = outside.received().len();
    assert_eq!(told, 1);
    // The first step of `write_tell_write` needs a table; make it the other app's.
    database.execute("CREATE TABLE effects (run text, step text)").await;
    database.execute("GRANT ALL ON effects TO PUBLIC").await;
    host.start_workflow("write_tell_write", "t", &json!({ "run": "t" })).await;
    let run = database.wait_for_end("t").await;
    assert_eq!(run.status, "ERROR", "{run:?}");
    assert!(run.error.as_deref().is_some_and(|error| error.contains("OUTSIDE_URL")), "{run:?}");
    assert_eq!(outside.received().len(), told);
}

/// The configuration of an app that asks the outside.
fn asking(name: &str, guest: &str, outside: &Outside) -> String {
    format!(
        "  {name}:\n    wasm: {}\n    env: {{OUTSIDE_URL: '{u}'}}\n    outbound: {{allow: ['{u}']}}\n",
        path(guest),
        u = outside.url()
    )
}

#[tokio::test]
async fn what_a_killed_host_left_of_each_app_goes_on() {
    let database = TestPostgres::shared().fresh_database().await;
    let (outside, gate) = Outside::held(Answer::json(&json!("ok"))).await;
    let app = |name: &str, guest: &str| asking(name, guest, &outside);
    let builder =
        configured(&database, &format!("apps:\n{}{}", app("one", "starts"), app("two", "retries"))).executor("both");
    let mut host = builder.start().await;
    host.start_workflow("ask", "a", &json!({ "text": "hi" })).await;
    host.start_workflow("asks", "b", &json!({ "how": "once" })).await;
    outside.wait_for(2).await;
    host.kill9().await;

    // A host that serves one of the apps, as the same executor, takes that one's.
    let one = configured(&database, &format!("apps:\n{}", app("one", "starts"))).executor("both");
    gate.open();
    let mut host = one.start().await;
    assert_eq!(database.wait_for_end("a").await.status, "SUCCESS");
    assert_eq!(host.run_workflow("asks", "new", &json!({ "how": "once" })).await.unwrap().status, 404);
    assert_eq!(database.status("b").await.as_deref(), Some("PENDING"), "it belongs to an app that is not served");
    assert!(host.stop().await.success());

    let _host = builder.start().await;
    assert_eq!(database.wait_for_end("b").await.status, "SUCCESS");
}

/// The executor `first` has served the apps `one` and `two`, and was killed with the run `b` of `two` unfinished. The outside
/// that it had asked answers from now on.
async fn left_by_an_app() -> (Database, Outside) {
    let database = TestPostgres::shared().fresh_database().await;
    let (outside, gate) = Outside::held(Answer::json(&json!("ok"))).await;
    let app = |name: &str, guest: &str| asking(name, guest, &outside);
    let both = configured(&database, &format!("apps:\n{}{}", app("one", "starts"), app("two", "retries")));
    let mut host = both.executor("first").start().await;
    host.start_workflow("asks", "b", &json!({ "how": "once" })).await;
    outside.wait_for(1).await;
    host.kill9().await;
    gate.open();
    (database, outside)
}

/// The executor that had the run lives and does not serve its app any more, so nobody waits for its end.
#[tokio::test]
async fn what_an_app_left_at_a_host_that_lives_goes_on_at_the_one_that_serves_it() {
    let (database, outside) = left_by_an_app().await;
    let app = |name: &str, guest: &str| asking(name, guest, &outside);
    let one = configured(&database, &format!("apps:\n{}", app("one", "starts"))).executor("first");
    let _first = one.start().await;
    let two = configured(&database, &format!("apps:\n{}", app("two", "retries"))).executor("second");
    let _second = two.start().await;
    assert_eq!(database.wait_for_end("b").await.status, "SUCCESS");
}

/// The same while somebody else has locked the run: the host waits for nobody, keeps its lease, and leaves the run later.
#[tokio::test]
async fn a_locked_run_of_an_app_that_is_not_served_holds_up_nobody() {
    let (database, outside) = left_by_an_app().await;
    let app = |name: &str, guest: &str| asking(name, guest, &outside);
    let mut other = database.connect().await;
    let lock = other.transaction().await.unwrap();
    lock.query("SELECT 1 FROM dbos.workflow_status WHERE workflow_uuid = 'b' FOR UPDATE", &[]).await.unwrap();
    let one = configured(&database, &format!("apps:\n{}", app("one", "starts"))).executor("first");
    let _first = one.start().await;
    let renewed = "SELECT count(*) FROM dbos_host.executor
                    WHERE executor_id = 'first' AND lease_expires_at > started_at + interval '15 seconds'";
    eventually("the lease is renewed", async || (database.count(renewed, &[]).await == 1).then_some(())).await;
    lock.rollback().await.unwrap();
    let two = configured(&database, &format!("apps:\n{}", app("two", "retries"))).executor("second");
    let _second = two.start().await;
    assert_eq!(database.wait_for_end("b").await.status, "SUCCESS");
}

#[tokio::test]
async fn apps_with_a_workflow_of_one_name_are_not_served_together() {
    let database = TestPostgres::shared().fresh_database().await;
    let apps = format!("apps:\n  first:\n    wasm: {}\n  second:\n    wasm: {}\n", path("family"), path("every_step"));
    let said = refused(&configured(&database, &apps), &["run"], 5).await;
    let expected = "error[name_clash]: failed to serve these apps together\n  because the workflow `child` is in the app \
                    `first` and in the app `second`\n  hint: rename one of the two";
    assert!(said.contains(expected), "{said}");
    let tables = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('dbos', 'dbos_host')";
    assert_eq!(database.count(tables, &[]).await, 0, "it was found before anything was written");
}

#[tokio::test]
async fn a_deployment_that_does_not_fit_beside_the_others_is_refused() {
    let database = TestPostgres::shared().fresh_database().await;
    let apps = format!("apps:\n  first:\n    wasm: {}\n  second:\n    wasm: {}\n", path("family"), path("starts"));
    let builder = configured(&database, &apps);
    let host = builder.start().await;
    let every_step = programs::guest("every_step").display().to_string();
    let said = refused(&builder, &["deploy", &every_step, "--app", "second"], 5).await;
    assert!(said.contains("error[name_clash]") && said.contains("`child`"), "{said}");
    let said = refused(&builder, &["deploy", &every_step], 3).await;
    assert!(said.contains("a component is given, and the configuration has several apps"), "{said}");
    let said = refused(&builder, &["run", &every_step], 3).await;
    assert!(said.contains("hint: leave it out to take the components that `apps` names"), "{said}");

    // Somebody whose configuration does not know of the other app can deploy it. The host does not take it.
    let alone = HostBuilder::without_component().database(&database).config("name: second");
    let deployed = alone.output(&["deploy", &every_step]).await;
    assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    host.wait_for_log("was deployed and cannot be served").await;
    let reply = host.run_workflow("parent", "p", &json!({ "name": "Ann" })).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(host.run_workflow("echo", "e", &json!({ "text": "hi" })).await.unwrap().status, 200);

    // What fits is taken, by that app alone.
    let small_steps = programs::guest("numbers").display().to_string();
    let deployed = builder.output(&["deploy", &small_steps, "--app", "second"]).await;
    assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    eventually("the host has taken what was deployed", async || {
        let reply = host.run_workflow("echo", "e2", &json!({ "text": "hi" })).await.unwrap();
        (reply.status == 404).then_some(())
    })
    .await;
    assert_eq!(host.run_workflow("parent", "p2", &json!({ "name": "Ann" })).await.unwrap().status, 200);
}

#[tokio::test]
async fn two_apps_cannot_have_one_role() {
    let database = TestPostgres::shared().fresh_database().await;
    let named_after_another = format!(
        "apps:\n  first:\n    wasm: {}\n  second:\n    wasm: {}\n    database: {{role: dbos_{}:first}}\n",
        path("family"),
        path("starts"),
        database.name()
    );
    for command in ["run", "migrate"] {
        let said = refused(&configured(&database, &named_after_another), &[command], 3).await;
        assert!(said.contains("is the role of `first` and of `second`"), "{said}");
        assert!(said.contains("hint: name another as `apps.second.database.role`"), "{said}");
    }
}

#[tokio::test]
async fn a_role_that_may_do_too_much_is_left_as_it_is() {
    let database = TestPostgres::shared().fresh_database().await;
    let role = format!("{}_clerk", database.name());
    database.execute(&format!("CREATE ROLE \"{role}\" LOGIN CREATEROLE PASSWORD 'of its own'")).await;
    let query = "SELECT rolpassword FROM pg_authid WHERE rolname = $1";
    let before: String = database.query(query, &[&role]).await[0].get(0);
    let builder = HostBuilder::new("family").database(&database).config(&format!("database: {{role: {role}}}"));
    let said = refused(&builder, &["migrate"], 4).await;
    assert!(said.contains("it may create roles"), "{said}");
    let after: String = database.query(query, &[&role]).await[0].get(0);
    assert_eq!(before, after, "somebody needs its password");
}

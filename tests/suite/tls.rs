//! What a connection string says about TLS is what happens: for each mode, with a server that is the right one, a server
//! that somebody put in its place, and a server that speaks no TLS. And everything else works over it as without.

use std::process::Output;
use std::sync::OnceLock;

use dbos_host_tests::{Authority, Database, HostBuilder, TestPostgres};
use serde_json::json;

use crate::small_steps::{World, start};

/// The server of these tests: its certificate is for `localhost`, not for the address.
struct Server {
    postgres: TestPostgres,
    authority: Authority,
    stranger: Authority,
}

impl Server {
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| {
            let authority = Authority::new("the database's authority");
            let postgres = TestPostgres::with_tls(&authority.certify(&["localhost"]), &authority);
            Self { postgres, authority, stranger: Authority::new("somebody else") }
        })
    }

    fn url(&self, login: &str, host: &str, database: &Database, options: &str) -> String {
        format!("postgresql://{login}@{host}:{}/{}?{options}", self.postgres.port(), database.name())
    }
}

/// A command that needs the database and nothing else.
async fn list(url: &str, system_authorities: &Authority) -> Output {
    let builder = HostBuilder::without_component().database_url(url);
    let file = system_authorities.file().display().to_string();
    builder.environment("SSL_CERT_FILE", &file).output(&["workflow", "list"]).await
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn each_mode_checks_what_it_says() {
    let server = Server::shared();
    let world = World::on(&server.postgres).await;
    let ca = format!("sslrootcert={}", server.authority.file().display());
    let stranger = format!("sslrootcert={}", server.stranger.file().display());
    let (untrusted, wrong_name) = ("comes from an authority that is not trusted", "is not for `127.0.0.1`");
    for (host, options, failure) in [
        ("127.0.0.1", String::new(), None),
        ("127.0.0.1", "sslmode=prefer".to_owned(), None),
        ("127.0.0.1", "sslmode=disable".to_owned(), Some("hint: the server may want TLS: `sslmode=require`")),
        ("127.0.0.1", "sslmode=require".to_owned(), None),
        ("127.0.0.1", format!("sslmode=require&{ca}"), None),
        ("127.0.0.1", format!("sslmode=require&{stranger}"), Some(untrusted)),
        ("127.0.0.1", format!("sslmode=verify-ca&{ca}"), None),
        ("127.0.0.1", format!("sslmode=verify-ca&{stranger}"), Some(untrusted)),
        ("localhost", format!("sslmode=verify-full&{ca}"), None),
        ("127.0.0.1", format!("sslmode=verify-full&{ca}"), Some(wrong_name)),
        ("localhost", format!("sslmode=verify-full&{stranger}"), Some(untrusted)),
        // A file of authorities alone is there to be used.
        ("localhost", ca.clone(), None),
        ("127.0.0.1", ca.clone(), Some(wrong_name)),
        // Those of the system, which here are the stranger's.
        ("localhost", "sslmode=verify-full".to_owned(), Some(untrusted)),
        ("localhost", "sslrootcert=system".to_owned(), Some(untrusted)),
    ] {
        let url = server.url("postgres", host, &world.database, &options);
        let output = list(&url, &server.stranger).await;
        match failure {
            None => assert!(output.status.success(), "{host} {options}: {output:?}"),
            Some(reason) => {
                let complaint = complaint(&output);
                assert!(complaint.starts_with("error[database_tls]:"), "{host} {options}: {complaint}");
                assert!(complaint.contains(reason), "{host} {options}: {complaint}");
            }
        }
    }
    let url = server.url("postgres", "localhost", &world.database, "sslrootcert=system");
    assert!(list(&url, &server.authority).await.status.success());
}

#[tokio::test]
async fn logins_by_certificate_and_by_a_password_that_is_bound_to_the_connection() {
    let server = Server::shared();
    let world = World::on(&server.postgres).await;
    world.database.execute("CREATE ROLE certified SUPERUSER LOGIN").await;
    world.database.execute("CREATE ROLE bound SUPERUSER LOGIN PASSWORD 'secret'").await;
    let list = async |login: &str, options: &str| {
        list(&server.url(login, "127.0.0.1", &world.database, options), &server.stranger).await
    };
    let (chain, key) = server.authority.certify_client("certified");
    let files = format!("sslmode=require&sslcert={}&sslkey={}", chain.display(), key.display());
    assert!(list("certified", &files).await.status.success());
    assert!(complaint(&list("certified", "sslmode=require").await).contains("client certificate"));
    assert!(list("bound:secret", "sslmode=require&channel_binding=require").await.status.success());
    assert!(complaint(&list("bound:guess", "sslmode=require").await).contains("password authentication failed"));
}

#[tokio::test]
async fn a_server_without_tls_is_used_only_if_that_is_allowed() {
    let database = World::on(TestPostgres::shared()).await.database;
    let authority = Authority::new("unused");
    assert!(list(&format!("{}?sslmode=prefer", database.url()), &authority).await.status.success());
    let ca = format!("sslrootcert={}", authority.file().display());
    for options in ["sslmode=require", "sslmode=verify-full", &ca] {
        let complaint = complaint(&list(&format!("{}?{options}", database.url()), &authority).await);
        assert!(complaint.contains("because TLS with the database at 127.0.0.1"), "{complaint}");
        assert!(complaint.contains("the server does not offer TLS\n  hint: turn it on there"), "{complaint}");
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused_where_it_is_checked() {
    let authority = Authority::new("the database's authority");
    let postgres = TestPostgres::with_tls(&authority.certify_expired(&["127.0.0.1"]), &authority);
    let world = World::on(&postgres).await;
    let ca = format!("{}?sslrootcert={}", world.database.url(), authority.file().display());
    for options in ["", "&sslmode=verify-ca"] {
        let complaint = complaint(&list(&format!("{ca}{options}"), &authority).await);
        assert!(complaint.contains("the server's certificate has expired"), "{complaint}");
    }
}

#[tokio::test]
async fn a_certificate_that_signed_itself_encrypts_and_proves_nothing() {
    let itself = Authority::new("localhost");
    let postgres = TestPostgres::with_tls(&itself.as_server(), &itself);
    let world = World::on(&postgres).await;
    let url = |options: &str| format!("{}?{options}", world.database.url());
    assert!(list(&url("sslmode=require"), &itself).await.status.success());
    for options in ["sslmode=verify-ca&", ""] {
        let options = format!("{options}sslrootcert={}", itself.file().display());
        let complaint = complaint(&list(&url(&options), &itself).await);
        assert!(complaint.contains("the server's certificate is itself that of an authority"), "{complaint}");
    }
}

#[tokio::test]
async fn workflows_run_and_recover_over_tls_on_every_connection() {
    let server = Server::shared();
    let world = World::on(&server.postgres).await;
    let options = format!("sslmode=verify-full&sslrootcert={}", server.authority.file().display());
    let url = server.url("postgres", "localhost", &world.database, &options);

    let mut host = world.host().database_url(&url).kill_at("record.after_commit#1").start().await;
    start(&host, "write_tell_write", "killed").await;
    host.wait_for_exit().await;
    let (builder, hold) = world.host().database_url(&url).hold_at("transaction.before_flight#1");
    let host = builder.start().await;
    hold.reached().await;
    // The app's connection is one of them, with its transaction open.
    let connections = world
        .database
        .query(
            "SELECT usename::text, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
              WHERE datname = current_database() AND application_name = 'dbos-host'",
            &[],
        )
        .await;
    let app_has_one = connections.iter().any(|row| row.get::<_, &str>(0) != "postgres");
    assert!(app_has_one && connections.iter().all(|row| row.get(1)), "{connections:?}");
    hold.release();
    world.check_write_tell_write("killed", 1).await;
    drop(host);
}

#[tokio::test]
async fn a_statement_is_cancelled_over_tls() {
    let server = Server::shared();
    let database = server.postgres.fresh_database().await;
    let options = format!("sslmode=verify-full&sslrootcert={}", server.authority.file().display());
    let builder = HostBuilder::new("burglar").config("limits: { statement_ms: 700 }");
    let host = builder.database_url(&server.url("postgres", "localhost", &database, &options)).start().await;
    // Without the server's own limit, it is the host that asks for the end.
    let statements = json!({ "statements": ["SET statement_timeout = 0", "SELECT pg_sleep(3600)"] });
    let reply = host.run_workflow("burgle_together", "sleeps", &statements).await.unwrap();
    assert_eq!(reply.json(), json!("57014: canceling statement due to user request"), "{reply:?}");
}

#[tokio::test]
async fn another_migration_tool_is_told_how_to_connect() {
    let server = Server::shared();
    let world = World::on(&server.postgres).await;
    let options = format!("sslmode=verify-full&sslrootcert={}", server.authority.file().display());
    let url = server.url("postgres", "localhost", &world.database, &options);
    let builder = world.host().database_url(&url);
    let builder = builder.config("database:\n  migrate:\n    - psql \"$DATABASE_URL\" -c 'CREATE TABLE by_psql ()'");
    builder.migrate().await;
    assert_eq!(world.database.count("SELECT count(*) FROM pg_class WHERE relname = 'by_psql'", &[]).await, 1);
}

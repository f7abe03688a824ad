//! A pooler that gives each transaction another session is found before anything is promised over it.

use dbos_host_tests::pooler::{Lending, Pooler};
use dbos_host_tests::{HostBuilder, Proxy, TestPostgres};

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused() {
    let server = TestPostgres::shared();
    let database = server.fresh_database().await;
    for lending in [Lending::LastReturned, Lending::InTurn] {
        for sessions in [0, 1, 2, 3, 7] {
            let pooler = Pooler::before(server, &database, lending, sessions).await;
            let builder = HostBuilder::without_component().database_url(&pooler.url(&database));
            let output = builder.output(&["workflow", "list"]).await;
            let complaint = String::from_utf8(output.stderr).unwrap();
            let case = format!("{lending:?}, {sessions} sessions: {complaint}");
            assert_eq!(output.status.code(), Some(4), "{case}");
            assert!(complaint.contains("error[database_pooler]: failed to open the database"), "{case}");
            assert!(complaint.contains("hint: use the address of the database itself"), "{case}");
        }
    }
    // Nothing was begun.
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'dbos%'";
    assert_eq!(database.count(schemas, &[]).await, 0);
}

#[tokio::test]
async fn what_gives_each_connection_its_own_session_is_not() {
    let server = TestPostgres::shared();
    let database = server.fresh_database().await;
    let proxy = Proxy::before(server).await;
    HostBuilder::new("numbers").database_url(&proxy.url(&database)).migrate().await;
}

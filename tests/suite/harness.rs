//! The suite's own tools do what they say: a test that rests on a broken tool proves nothing.

use dbos_host_tests::{Answer, Cut, Gate, Outside, Proxy, Request, TestPostgres, eventually};
use serde_json::json;
use tokio_postgres::NoTls;

#[tokio::test]
async fn the_outside_counts_and_answers_as_scripted() {
    let gate = Gate::closed();
    let held = gate.clone();
    let outside = Outside::answering(move |request, earlier| match request.path.as_str() {
        "/held" => Answer::Reply(201, "held".into()).held_by(&held),
        "/drop" => Answer::Drop,
        _ => Answer::json(&json!({ "earlier": earlier.len(), "body": request.json() })),
    })
    .await;
    let reply = Request::post(outside.url() + "/a", &json!([1])).header("x-y", "z").send().await.unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!({ "earlier": 0, "body": [1] })));
    assert!(Request::get(outside.url() + "/drop").send().await.is_err());
    let waiting = tokio::spawn(Request::get(outside.url() + "/held").send());
    outside.wait_for(3).await;
    assert!(!waiting.is_finished());
    gate.open();
    let reply = waiting.await.unwrap().unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (201, "held"));
    assert_eq!(outside.count(|request| request.header("X-Y") == Some("z")), 1);
}

#[tokio::test]
async fn a_database_is_fresh_and_survives_a_restart_of_its_server() {
    let server = TestPostgres::start();
    let (one, two) = (server.fresh_database().await, server.fresh_database().await);
    one.execute("CREATE TABLE t AS SELECT 1 AS n").await;
    assert_eq!(two.count("SELECT count(*) FROM pg_class WHERE relname = 't'", &[]).await, 0);
    server.restart_immediate().await;
    assert_eq!(one.count("SELECT count(*) FROM t", &[]).await, 1);
}

/// Sends an insert through a proxy that cuts the connection there, then again on a new connection, as the host does.
async fn insert_through(cut: Cut) -> (usize, i64) {
    let database = TestPostgres::shared().fresh_database().await;
    database.execute("CREATE TABLE t (n int PRIMARY KEY)").await;
    let proxy = Proxy::before(TestPostgres::shared()).await;
    proxy.cut_at("INSERT INTO t", cut);
    let insert = async || {
        let (client, connection) = tokio_postgres::connect(&proxy.url(&database), NoTls).await.unwrap();
        tokio::spawn(connection);
        client.execute("INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING", &[&1]).await
    };
    insert().await.expect_err("the connection is cut");
    eventually("the connection is cut", async || (proxy.cuts() == 1).then_some(())).await;
    let before = database.count("SELECT count(*) FROM t", &[]).await;
    let written = insert().await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM t", &[]).await, 1);
    assert_eq!(proxy.delivered_late(), usize::from(cut == Cut::Late));
    (usize::try_from(written).unwrap(), before)
}

#[tokio::test]
async fn a_connection_is_cut_before_after_and_while_a_statement_lands() {
    // How many rows the repetition wrote, and how many there were before it.
    assert_eq!(insert_through(Cut::NotLanded).await, (1, 0));
    assert_eq!(insert_through(Cut::Landed).await, (0, 1));
    assert_eq!(insert_through(Cut::Late).await, (0, 0));
}

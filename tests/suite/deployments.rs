//! Which component runs what: a run keeps the one that started it, new runs take the one that was deployed last.
//!
//! The two components here are different programs under one app's name, so whichever runs is seen at once.

use dbos_host_tests::{Database, Host, HostBuilder, Request, TestPostgres, eventually};
use serde_json::json;

/// The first version of the app `shop`, which has the workflow `parent`.
fn first(database: &Database) -> HostBuilder {
    HostBuilder::new("family").config("name: shop").database(database)
}

/// The second version, which has the workflow `neighbour` and no `parent`.
fn second(database: &Database) -> HostBuilder {
    HostBuilder::new("hostile").config("name: shop").database(database)
}

/// The status with which the host answers a start of this workflow.
async fn start(host: &Host, workflow: &str, arguments: &serde_json::Value) -> u16 {
    let request = Request::post(host.url(&format!("/workflows/{workflow}")), arguments);
    request.send().await.expect("the host answers").status
}

async fn version(database: &Database, run: &str) -> String {
    let query = "SELECT application_version FROM dbos.workflow_status WHERE workflow_uuid = $1";
    database.query(query, &[&run]).await[0].get(0)
}

/// A host with the first version is killed in the middle of a parent's run.
async fn killed_in_the_middle(database: &Database) {
    let mut host = first(database).kill_at("gate.before_effect#2").start().await;
    host.run_workflow("parent", "p", &json!({ "name": "Ann" })).await.expect_err("the host is killed");
    host.wait_for_exit().await;
    assert_eq!(database.status("p").await.as_deref(), Some("PENDING"));
}

#[tokio::test]
async fn a_run_is_finished_by_the_component_that_started_it() {
    let database = TestPostgres::shared().fresh_database().await;
    killed_in_the_middle(&database).await;
    let before = version(&database, "p").await;
    let host = second(&database).start().await;
    assert_eq!(database.output("p").await, json!("the child of Ann has grown"));
    assert_eq!((version(&database, "p").await, version(&database, "p-1").await), (before.clone(), before.clone()));

    let reply = host.run_workflow("neighbour", "n", &json!({})).await.unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!(10)), "{reply:?}");
    assert_ne!(version(&database, "n").await, before);
    assert_eq!(start(&host, "parent", &json!({ "name": "Ann" })).await, 404, "new runs take the second version");
}

#[tokio::test]
async fn a_restart_with_an_earlier_component_is_no_deployment_and_deploy_is_one() {
    let database = TestPostgres::shared().fresh_database().await;
    for builder in [first(&database), second(&database)] {
        assert!(builder.start().await.stop().await.success());
    }
    let host = first(&database).start().await;
    assert!(host.log().contains("[WARN] new workflows start on "), "the host says which component it takes");
    assert_eq!(start(&host, "parent", &json!({ "name": "Ann" })).await, 404);
    assert_eq!(start(&host, "neighbour", &json!({})).await, 200);

    // A rollback, while the host runs.
    let wasm = dbos_host_tests::programs::guest("family").display().to_string();
    let deployed = first(&database).output(&["deploy", &wasm]).await;
    assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    eventually("the running host takes the component that was deployed", async || {
        (start(&host, "parent", &json!({ "name": "Ann" })).await == 200).then_some(())
    })
    .await;
    assert_eq!(start(&host, "neighbour", &json!({})).await, 404);
}

#[tokio::test]
async fn runs_of_an_app_that_a_host_does_not_serve_are_left_alone() {
    let database = TestPostgres::shared().fresh_database().await;
    killed_in_the_middle(&database).await;
    // The same executor, with another app.
    let mut other = HostBuilder::new("hostile").config("name: other").database(&database).start().await;
    assert_eq!(start(&other, "neighbour", &json!({})).await, 200);
    assert!(other.stop().await.success());
    let run = database.run("p").await.expect("it is still there");
    assert_eq!((run.status.as_str(), run.attempts), ("PENDING", 1));
    let _host = first(&database).start().await;
    assert_eq!(database.output("p").await, json!("the child of Ann has grown"));
}

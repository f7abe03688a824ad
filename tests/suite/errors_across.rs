//! An error comes out of each step and each workflow as it went in, and says where it is from.

use dbos_host_tests::{Database, Host, HostBuilder, Request, TestPostgres};
use serde_json::{Value, json};

use crate::resume::python;

async fn mishaps() -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("mishaps").database(&database);
    (database, builder)
}

/// What a grandparent is told, also after a crash behind everything.
async fn told(database: &Database, builder: &HostBuilder, how: &str) -> Vec<String> {
    let mut host = builder.clone().kill_at("finish.before_append#3").start().await;
    assert!(host.run_workflow("grandparent", how, &json!({ "how": how })).await.is_err(), "it is killed");
    host.wait_for_exit().await;
    let _host: Host = builder.start().await;
    serde_json::from_value(database.output(how).await).expect("texts")
}

/// The errors of everything below a run: of the step, and of each workflow.
async fn errors(database: &Database, run: &str) -> Vec<Value> {
    let errors = "SELECT error FROM dbos.operation_outputs WHERE workflow_uuid LIKE $1 || '%' AND error IS NOT NULL
                  UNION ALL SELECT error FROM dbos.workflow_output WHERE workflow_uuid LIKE $1 || '-%'";
    let rows = database.query(errors, &[&run]).await;
    rows.iter().map(|row| serde_json::from_str(row.get(0)).expect("JSON")).collect()
}

#[tokio::test]
async fn an_error_comes_out_of_three_workflows_as_it_went_in() {
    let (database, builder) = mishaps().await;
    let expected = [
        "PayError",
        "the card was refused: expired ☃",
        "Some(\"E17\")",
        "false Some(Refused { reason: \"expired ☃\", at: 18446744073709551615 })",
    ];
    assert_eq!(told(&database, &builder, "typed").await, expected);
    let errors = errors(&database, "typed").await;
    let stored = json!({
        "name": "PayError", "message": "the card was refused: expired ☃", "code": "E17", "retryable": false,
        "data": { "Refused": { "reason": "expired ☃", "at": u64::MAX } },
    });
    // The step, two workflows, and what each parent has heard of its child.
    assert_eq!(errors, vec![stored; 5]);
}

#[tokio::test]
async fn causes_are_kept() {
    let (database, builder) = mishaps().await;
    let told = told(&database, &builder, "caused").await;
    assert_eq!(told[..2], ["ParseIntError", "pay: read the price: invalid digit found in string"]);
    assert_eq!(
        told[4..],
        [
            "ParseIntError: read the price: invalid digit found in string",
            "ParseIntError: invalid digit found in string",
        ]
    );
}

/// The functions of a panic in `look_for_the_card`, which this function has called, of which these are ours.
fn names_its_functions(backtrace: &[String], durable: &str) {
    let of_ours: Vec<_> = backtrace.iter().filter(|name| name.starts_with("mishaps::")).collect();
    // The last one is named though nothing keeps a compiler from making it a part of what calls it.
    let expected = ["mishaps::wallet::first_card", "mishaps::look_for_the_card", durable];
    assert_eq!(of_ours, expected, "{backtrace:?}");
    assert_eq!(backtrace[0], "mishaps::wallet::first_card", "what makes a panic is left out: {backtrace:?}");
    assert!(backtrace.iter().all(|name| !name.contains("dbos")), "nor what calls the function: {backtrace:?}");
}

#[tokio::test]
async fn a_panic_names_its_functions() {
    let (database, builder) = mishaps().await;
    let told = told(&database, &builder, "panics").await;
    assert!(told[0] == "Panic" && told[1].starts_with("a card, at mishaps/src/lib.rs:"), "{told:?}");
    names_its_functions(&told[4..], "mishaps::pay");
    let host = builder.start().await;
    let reply = host.run_workflow("panics", "itself", &json!({})).await.unwrap();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (500, &json!("panic")), "{reply:?}");
    assert!(!reply.body.contains("first_card"), "clients are not told how it works: {reply:?}");
    let run = Request::get(host.url("/workflows/itself")).send().await.unwrap();
    assert!(run.json()["error"]["message"].is_string() && !run.body.contains("first_card"), "{run:?}");
    let error: Value = serde_json::from_str(&database.run("itself").await.unwrap().error.unwrap()).unwrap();
    let backtrace: Vec<String> = serde_json::from_value(error["backtrace"].clone()).expect("texts");
    names_its_functions(&backtrace, "mishaps::panics");
    let shown = builder.output(&["workflow", "get", "itself"]).await;
    assert!(String::from_utf8_lossy(&shown.stdout).contains("mishaps::wallet::first_card"), "{shown:?}");
    let reply = Request::get(host.url("/panics")).send().await.unwrap();
    assert!(reply.status == 500 && !reply.body.contains("first_card"), "{reply:?}");
    host.wait_for_log(
        "the handler panicked in mishaps::wallet::first_card < mishaps::look_for_the_card < mishaps::answer",
    )
    .await;
}

#[tokio::test]
async fn a_dbos_client_reads_them() {
    let (database, builder) = mishaps().await;
    let host = builder.start().await;
    for how in ["typed", "panics"] {
        host.run_workflow("parent", how, &json!({ "how": how })).await.unwrap();
    }
    let program = "
for id in ['typed', 'panics']:
    try:
        client.retrieve_workflow(id).get_result()
    except Exception as error:
        print(json.dumps([type(error).__name__, error.name, error.message.split(',')[0], error.code, error.data]))
";
    let told = python(&database, program).await;
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let data = json!({ "Refused": { "reason": "expired ☃", "at": u64::MAX } });
    assert_eq!(
        told,
        [
            json!(["PortableWorkflowError", "PayError", "the card was refused: expired ☃", "E17", data]),
            json!(["PortableWorkflowError", "Panic", "a card", "panic", null]),
        ]
    );
}

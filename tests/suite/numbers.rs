//! A number that is given to a workflow is that number in the workflow, in its steps, in their results and in a replay.

use dbos_host_tests::{Database, Host, HostBuilder, Request, TestPostgres};
use serde_json::{Value, json};

/// As their shortest decimal text. Each of the first three comes out one bit off where the text is read by a quick way.
const FLOATS: [&str; 8] = [
    "2.374535410699208e-8",
    "7.159170474528431e-22",
    "907.3038322028689",
    "0.1",
    "-0.0",
    "5e-324",
    "1.7976931348623157e308",
    "9007199254740993.0",
];

async fn prepared() -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("numbers").database(&database);
    (database, builder)
}

/// Starts a workflow with arguments as they stand: nothing here reads the numbers.
async fn run(host: &Host, workflow: &str, id: &str, arguments: &str) -> std::io::Result<Value> {
    let request = Request::new("POST", host.url(&format!("/workflows/{workflow}")))
        .header("content-type", "application/json")
        .header("idempotency-key", id)
        .body(arguments);
    let reply = request.send().await?;
    assert_eq!(reply.status, 200, "{arguments}: {reply:?}");
    Ok(reply.json())
}

/// What `float` tells of a number.
fn five_times(text: &str) -> Value {
    let number: f64 = text.parse().expect("a number");
    json!([(); 5].map(|()| format!("{:016x}", number.to_bits())))
}

#[tokio::test]
async fn floats_cross_exactly() {
    let (_database, builder) = prepared().await;
    let host = builder.start().await;
    for (n, text) in FLOATS.iter().enumerate() {
        let told = run(&host, "float", &format!("float-{n}"), &format!(r#"{{"x":{text}}}"#)).await.unwrap();
        assert_eq!(told, five_times(text), "{text}");
    }
}

#[tokio::test]
async fn a_replay_is_given_the_same_float() {
    let (database, builder) = prepared().await;
    for (n, text) in FLOATS.iter().take(3).enumerate() {
        let id = format!("killed-{n}");
        let mut host = builder.clone().kill_at("gate.before_effect#2").start().await;
        run(&host, "float", &id, &format!(r#"{{"x":{text}}}"#)).await.expect_err("the host is killed");
        host.wait_for_exit().await;
        let _host = builder.start().await;
        assert_eq!(database.output(&id).await, five_times(text), "{text}");
    }
}

#[tokio::test]
async fn integers_cross_exactly() {
    let (_database, builder) = prepared().await;
    let host = builder.start().await;
    for (n, (large, small)) in
        [(u64::MAX, i64::MIN), (i64::MAX as u64 + 1, -1), ((1 << 53) + 1, -(1 << 53) - 1), (0, i64::MAX)]
            .into_iter()
            .enumerate()
    {
        let arguments = format!(r#"{{"large":{large},"small":{small}}}"#);
        let told = run(&host, "integers", &format!("integers-{n}"), &arguments).await.unwrap();
        assert_eq!(told, json!(format!("{large} {small} {large} {small}")), "{arguments}");
    }
}

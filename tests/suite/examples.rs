//! The examples do what their pages say, with a kill in the middle.

use dbos_host_tests::{Answer, Database, Gate, HostBuilder, Outside, TestPostgres};
use serde_json::{Value, json};

/// An example as its folder has it, with a database and an outside of its own.
async fn example(name: &str, config: &str, variable: &str, outside: &Outside) -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new(name).database(&database).config(config).environment(variable, &outside.url());
    (database, builder)
}

#[tokio::test]
async fn a_thousand_prices_come_without_the_one_that_is_late() {
    let late = Gate::closed();
    let answer = {
        let late = late.clone();
        move |item: u32| {
            if item == 13 { Answer::json(&json!(39)).held_by(&late) } else { Answer::json(&json!(item * 3)) }
        }
    };
    let number = |path: &str| path.rsplit('/').next().unwrap().parse::<u32>().unwrap();
    let outside = Outside::answering(move |request, _| answer(number(&request.path))).await;
    let config = include_str!("../../examples/fan_out/dbos-config.yaml");
    let (database, builder) = example("fan_out", config, "SUPPLIER_URL", &outside).await;
    let mut host = builder.start().await;
    host.start_workflow("price_all", "prices", &json!({ "items": 1000, "seconds": 3 })).await;
    outside.wait_for(500).await;
    let steps = database.steps("prices").await;
    let recorded: Vec<i32> = steps.iter().filter(|step| step.name == "ask_price").map(|step| step.number).collect();
    host.kill9().await;
    let before = outside.received().len();
    let _host = builder.start().await;
    let total = (1..=1000).filter(|item| *item != 13).map(|item| item * 3).sum::<u32>();
    let expected = json!({ "priced": 999, "total": total, "late": [13], "unknown": [] });
    assert_eq!(database.output("prices").await, expected);
    // What was recorded is not asked for again, and what was not is asked for once more.
    let asked = |item: i32| outside.count(|request| request.path == format!("/supplier/{item}"));
    assert!(
        !recorded.is_empty() && before < 1000,
        "the kill is in the middle: {} recorded, {before} asked",
        recorded.len()
    );
    assert!(recorded.iter().all(|item| asked(*item) == 1), "a recorded answer is not asked for again");
    assert!((1..=1000).all(|item| (1..=2).contains(&asked(item))), "each is asked once in a life");
    let price: Value = serde_json::from_str(database.steps("prices").await[6].output.as_ref().unwrap()).unwrap();
    assert_eq!(price, json!(21), "the seventh step is the seventh item");
    late.open();
}

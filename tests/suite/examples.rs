//! The examples do what their pages say, with a kill in the middle.

use dbos_host_tests::{Answer, Database, Gate, Host, HostBuilder, Outside, Reply, Request, TestPostgres};
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

async fn post(host: &Host, path: &str, body: &Value) -> Reply {
    Request::post(host.url(path), body).send().await.expect("the host answers")
}

/// What a page's form sends.
async fn form(host: &Host, path: &str, fields: &str) -> Reply {
    let request = Request::new("POST", host.url(path)).header("content-type", "application/x-www-form-urlencoded");
    request.body(fields).send().await.expect("the host answers")
}

#[tokio::test]
async fn an_expense_is_paid_once_when_somebody_follows_the_link() {
    let outside = Outside::start().await;
    let config = include_str!("../../examples/approval/dbos-config.yaml");
    let (database, builder) = example("approval", config, "MAIL_URL", &outside).await;
    let builder = builder.environment("PUBLIC_URL", "https://host.example").migrations("examples/approval/migrations");
    builder.migrate().await;
    let mut host = builder.start().await;
    let run = form(&host, "/expenses", "who=Mike&amount=120").await.body;
    outside.wait_for(1).await;
    let mail = outside.received()[0].json()["text"].as_str().expect("a text").to_owned();
    let (text, link) = mail.split_once("https://host.example").expect("a link");
    assert_eq!(text, "Mike wants 120 €. Say yes or no: ");
    host.kill9().await;

    let host = builder.start().await;
    let decision = json!({ "approved": true, "by": "Anna" });
    assert_eq!(post(&host, link, &decision).await.status, 200);
    assert_eq!(database.output(&run).await, json!("Anna has approved the 120 € of Mike, and they are paid"));
    // Whoever clicks twice settles nothing twice.
    assert_eq!(post(&host, link, &decision).await.status, 200);
    let payments = "SELECT count(*) FROM payments WHERE who = 'Mike' AND amount = 120 AND approved_by = 'Anna'";
    assert_eq!(database.count(payments, &[]).await, 1);
}

#[tokio::test]
async fn a_chat_goes_on_over_a_kill_and_says_each_word_once() {
    let outside = Outside::answering(|request, _| {
        let words = request.json()["words"].as_str().unwrap_or_default().to_uppercase();
        Answer::Reply(200, format!("you said {words}"))
    })
    .await;
    let config = include_str!("../../examples/chat/dbos-config.yaml");
    let (database, builder) = example("chat", config, "MODEL_URL", &outside).await;
    let mut host = builder.start().await;
    assert!(Request::get(host.url("/")).send().await.unwrap().body.contains("EventSource"), "there is a page");
    let run = post(&host, "/chats", &json!({})).await.body;
    let messages = format!("/workflows/{run}/messages?topic=words");
    assert_eq!(post(&host, &messages, &json!("hello")).await.status, 202);
    let words = "SELECT count(*) FROM dbos.streams";
    dbos_host_tests::until("an answer has begun", async || database.count(words, &[]).await > 0).await;
    host.kill9().await;

    let host = builder.start().await;
    for words in ["how are you", "bye"] {
        assert_eq!(post(&host, &messages, &json!(words)).await.status, 202);
    }
    assert_eq!(database.output(&run).await, json!(2), "messages that were answered");
    let url = host.url(&format!("/workflows/{run}/streams/answers"));
    let told = Request::get(url).header("accept", "application/json").send().await.unwrap().json();
    let told: String = told["values"].as_array().expect("values").iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(told, "you said HELLO\nyou said HOW ARE YOU\n");
}

#[tokio::test]
async fn an_order_that_the_carrier_refuses_is_undone() {
    let outside = Outside::answering(|request, _| match request.path.as_str() {
        "/carrier/parcels" => Answer::Reply(422, "a piano is too heavy".into()),
        "/bank/charges" => Answer::Reply(200, "receipt 1".into()),
        _ => Answer::Reply(200, "done".into()),
    })
    .await;
    let config = include_str!("../../examples/order/dbos-config.yaml");
    let (database, builder) = example("order", config, "PARTNERS_URL", &outside).await;
    let builder = builder.migrations("examples/order/migrations");
    builder.migrate().await;
    // Killed when what undoes the order was started, and has done nothing yet.
    let mut host = builder.clone().kill_at("undo.after_start#1").start().await;
    let arguments = json!({ "item": "piano", "count": 1, "cents": 900_000 });
    host.start_workflow("order", "piano-1", &arguments).await;
    host.wait_for_exit().await;
    let free = async || database.count("SELECT free::int8 FROM stock WHERE item = 'piano'", &[]).await;
    assert_eq!(free().await, 1);
    let _host = builder.start().await;
    assert_eq!(database.output("piano-1-undo").await, json!({ "undone": 2 }));
    assert_eq!(free().await, 2, "it can be sold again");
    let steps: Vec<String> = database.steps("piano-1-undo").await.into_iter().map(|step| step.name).collect();
    assert_eq!(steps, ["refund", "release"]);
    let refunds: Vec<Value> =
        outside.received().iter().filter(|r| r.path == "/bank/refunds").map(|r| r.json()).collect();
    assert_eq!(refunds, [json!({ "order": "piano-1", "cents": 900_000, "receipt": "receipt 1" })]);
    let error: Value = serde_json::from_str(&database.run("piano-1").await.unwrap().error.unwrap()).unwrap();
    assert_eq!((&error["name"], &error["message"]), (&json!("Refused"), &json!("a piano is too heavy")));
}

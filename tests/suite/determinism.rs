//! A replay sees what the first run saw: time, chance, the order of a map and the bits of a float.

use dbos_host_tests::{Database, HostBuilder, TestPostgres};
use serde_json::{Value, json};

const HOUR: u64 = 3_600_000;

/// The numbers of the steps that hold what the workflow saw. The second step is its sleep.
const NOTES: [usize; 3] = [1, 3, 4];

async fn prepared() -> (Database, HostBuilder) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("deterministic").database(&database).jumping_clock();
    (database, builder)
}

/// What the run saw, and that its last instance saw exactly what is recorded of all instances.
async fn seen(database: &Database, id: &str) -> [Value; 3] {
    let result: Vec<String> = serde_json::from_value(database.output(id).await).expect("a list of texts");
    let steps = database.steps(id).await;
    let recorded = NOTES.map(|number| {
        let output = steps[number - 1].output.as_deref().expect("a note has an output");
        serde_json::from_str::<String>(output).expect("a text")
    });
    assert_eq!(result, recorded, "{id}: the last replay saw something else than what was recorded");
    recorded.map(|text| serde_json::from_str(&text).expect("a note is JSON"))
}

fn number(seen: &Value, what: &str) -> u64 {
    seen[what].as_u64().unwrap_or_else(|| panic!("`{what}` of {seen}"))
}

#[tokio::test]
async fn a_killed_run_sees_on_replay_what_it_saw_at_first() {
    let points = ["gate.before_effect", "gate.after_effect", "gate.before_answer", "record.after_commit"];
    let visits = points.iter().flat_map(|point| (1..=4).map(move |n| format!("{point}#{n}")));
    let (database, builder) = prepared().await;
    let mut killed = 0;
    for visit in visits {
        let mut host = builder.clone().kill_at(&visit).start().await;
        if host.run_workflow("look_around", &visit, &json!({})).await.is_err() {
            host.wait_for_exit().await;
            killed += 1;
        }
        let _host = builder.start().await;
        seen(&database, &visit).await;
    }
    assert!(killed >= 12, "only {killed} of the kills happened");
}

#[tokio::test]
async fn time_stands_between_results_and_moves_on_across_a_sleep() {
    let (database, builder) = prepared().await;
    let host = builder.start().await;
    host.run_workflow("look_around", "a", &json!({})).await.unwrap();
    let [first, second, third] = seen(&database, "a").await;
    let created = database.count("SELECT created_at FROM dbos.workflow_status", &[]).await;
    assert_eq!(i64::try_from(number(&first, "now")).unwrap(), created, "workflow time begins with the run");
    assert_eq!((number(&first, "elapsed"), number(&first, "short")), (0, number(&first, "now")));
    assert!(number(&second, "now") >= number(&first, "now") + HOUR, "{first} {second}");
    assert!(number(&second, "elapsed") >= HOUR, "the monotonic clock moves as well: {second}");
    assert!(number(&third, "now") >= number(&second, "now"), "{second} {third}");
}

#[tokio::test]
async fn floats_are_the_same_on_every_machine() {
    let (database, builder) = prepared().await;
    let host = builder.start().await;
    host.run_workflow("look_around", "a", &json!({})).await.unwrap();
    let [first, ..] = seen(&database, "a").await;
    // The canonical not-a-number, where some processors make a negative one.
    assert_eq!((number(&first, "nan"), number(&first, "root")), (0x7ff8_0000_0000_0000, 0x7ff8_0000_0000_0000));
    // What sin(1e10) and 0.1 + 0.2 are in IEEE 754 with Rust's own mathematics for WebAssembly.
    assert_eq!(first["float"], json!([0xbfdf_334c_7896_a4e3_u64, 0x3fd3_3333_3333_3334_u64]));
}

#[tokio::test]
async fn randomness_differs_within_a_run_between_runs_and_between_databases() {
    let (database, builder) = prepared().await;
    let host = builder.start().await;
    for id in ["a", "b"] {
        host.run_workflow("look_around", id, &json!({})).await.unwrap();
    }
    let (elsewhere, builder) = prepared().await;
    let host = builder.start().await;
    host.run_workflow("look_around", "a", &json!({})).await.unwrap();
    let mut all = Vec::new();
    for seen in [seen(&database, "a").await, seen(&database, "b").await, seen(&elsewhere, "a").await] {
        all.extend(seen);
    }
    for what in ["random", "hash", "order", "number", "uuid"] {
        let mut drawn: Vec<String> = all.iter().map(|seen| seen[what].to_string()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 9, "`{what}` came twice");
    }
}

#[tokio::test]
async fn asking_for_time_and_chance_costs_no_write() {
    let (database, builder) = prepared().await;
    let host = builder.patient().start().await;
    // The first run of a workflow teaches the host that it is one transaction.
    for (run, times) in [("first", 0), ("never", 0), ("often", 1000)] {
        let reply = host.run_workflow("ask", run, &json!({ "times": times })).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    for run in ["never", "often"] {
        assert_eq!((database.steps(run).await.len(), database.commits(run).await), (1, 1), "{run}");
    }
    assert_eq!(database.output("never").await, json!(""));
    assert_ne!(database.output("often").await, json!(""));
}

#[tokio::test]
async fn a_sleep_until_a_time_ends_at_that_time() {
    let (database, builder) = prepared().await;
    let host = builder.start().await;
    let now = u64::try_from(database.count("SELECT (extract(epoch FROM now()) * 1000)::bigint", &[]).await).unwrap();
    let later = now + 2 * HOUR;
    for (run, time) in [("later", later), ("over", 1_000)] {
        let reply = host.run_workflow("wake_at", run, &json!({ "time": time })).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(database.output("later").await, json!(later), "workflow time is the time of waking");
    let over = database.output("over").await.as_u64().expect("a time");
    let created = database.count("SELECT created_at FROM dbos.workflow_status WHERE workflow_uuid = 'over'", &[]).await;
    assert_eq!(i64::try_from(over).unwrap(), created, "it never goes back");
    let records = database
        .query("SELECT workflow_uuid, output, completed_at_epoch_ms FROM dbos.operation_outputs ORDER BY 1", &[])
        .await;
    let record = |n: usize| (records[n].get::<_, String>(1), records[n].get::<_, i64>(2));
    let seconds = format!("{}.{:03}", later / 1000, later % 1000);
    assert_eq!(record(0), (seconds, i64::try_from(later).unwrap()));
    assert_eq!(record(1).0, "1.000");
    assert!(record(1).1 >= created, "it was over when it was called: {}", record(1).1);

    let reply = host.run_workflow("wake_at", "never", &json!({ "time": later + 101 * 366 * 24 * HOUR })).await.unwrap();
    assert_eq!(reply.json()["error"]["code"], "sleep_too_long", "{reply:?}");
    assert!(database.steps("never").await.is_empty(), "what is refused is not recorded");
}

//! What a step costs, and what it costs again in a replay: printed, and held within bounds that only a mistake could pass
//! (a replay that runs steps again, or one that asks the database for each of them).

use std::io::Write as _;
use std::time::{Duration, Instant};

use dbos_host_tests::{HostBuilder, TestPostgres, eventually};
use serde_json::json;

const STEPS: u32 = 2000;

#[tokio::test]
async fn a_replayed_step_costs_next_to_nothing() {
    // A server that syncs, as users have it.
    let server = TestPostgres::start();
    let database = server.fresh_database().await;
    let builder = HostBuilder::new("many_steps").database(&database);
    let clock = builder.folder().join("clock");
    std::fs::write(&clock, "0").unwrap();
    let builder = builder.environment("DBOS_HOST_TEST_CLOCK", &clock.display().to_string());
    let mut host = builder.start().await;

    let begun = Instant::now();
    host.start_workflow("many_steps", "many", &json!({ "steps": STEPS })).await;
    let asleep = usize::try_from(STEPS).unwrap() + 1;
    eventually("the run sleeps", async || {
        let sleeps =
            database.count("SELECT count(*) FROM dbos.operation_outputs WHERE function_name = 'DBOS.sleep'", &[]);
        (sleeps.await == 1).then_some(())
    })
    .await;
    let run = begun.elapsed();
    assert_eq!(database.steps("many").await.len(), asleep);

    // Another process has nothing but the records: it replays them all to run one step more.
    host.kill9().await;
    std::fs::write(&clock, "86400000").unwrap();
    let begun = Instant::now();
    let host = builder.start().await;
    let expected = (0..=u64::from(STEPS)).sum::<u64>();
    assert_eq!(database.output("many").await, json!(expected));
    let replay = begun.elapsed();

    let of_one = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(STEPS);
    // Past the test's captured output: what was measured is a result.
    writeln!(
        std::io::stderr(),
        "costs: {STEPS} steps of one run took {run:?}, {:.0} µs each; start of a host and replay of all of them {replay:?}, \
         {:.0} µs each",
        of_one(run),
        of_one(replay)
    )
    .expect("the standard error output is open");
    assert!(replay < run, "a replay took {replay:?}, the run itself {run:?}");
    drop(host);
}

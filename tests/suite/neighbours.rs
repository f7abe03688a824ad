//! The neighbours of a hostile guest hardly notice it: their slowest requests take at most twice as long.
//!
//! Quiet and attacked are measured in turn on the same host, so that what else the machine does weighs on both; and the
//! best of some rounds counts, since noise can only make an attack look worse.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dbos_host_tests::{Host, HostBuilder, Request, TestPostgres};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Each attack is stopped by one of these soon.
const LIMITS: &str = "limits: { processor_ms: 300, memory_mib: 64, statement_ms: 300 }";

/// Requests of one measurement: the p99 is the second slowest of them.
const REQUESTS: usize = 150;

const ROUNDS: usize = 6;

/// How much slower the slowest requests may be.
const FACTOR: f64 = 2.0;

/// What is not worth telling apart: a guest is taken out of the neighbours' way when it has computed for a tick of 2 ms,
/// and a request waits for some such turns.
const FLOOR: Duration = Duration::from_millis(10);

/// Of the host, in KiB: it needs less than 200 MiB when it is quiet, and each attacker may have 64.
const MAX_RESIDENT: u64 = 700 * 1024;

/// The second slowest of the neighbour's requests. Beside each of them an attack begins, unless two for each processor are
/// on their way already: what is measured is what guests do, not how many requests a machine can take.
async fn p99(host: &Host, attack: Option<&str>) -> Duration {
    let processors = std::thread::available_parallelism().expect("the number of processors").get();
    let places = Arc::new(Semaphore::new(2 * processors));
    let mut attacks = JoinSet::new();
    let mut took = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        if let Some(how) = attack
            && let Ok(place) = places.clone().try_acquire_owned()
        {
            let request = Request::get(host.url(&format!("/bad/{how}")));
            attacks.spawn(async move {
                let reply = request.send().await.expect("the host answers");
                drop(place);
                assert_eq!(reply.status, 500, "an attack has come to an end of its own: {reply:?}");
            });
        }
        let begun = Instant::now();
        let reply = Request::get(host.url("/hello/neighbour")).send().await.expect("the host answers");
        took.push(begun.elapsed());
        assert_eq!((reply.status, reply.body.as_str()), (200, "hello neighbour, 1"), "{reply:?}");
    }
    attacks.join_all().await;
    took.sort();
    took[REQUESTS - 2]
}

/// Measures in rounds, until one of them is good enough.
async fn hardly_noticed(how: &str) {
    let database = TestPostgres::shared().fresh_database().await;
    let host = HostBuilder::new("hostile").database(&database).config(LIMITS).start().await;
    p99(&host, None).await;
    let mut told = Vec::new();
    for _ in 0..ROUNDS {
        let (quiet, attacked) = (p99(&host, None).await, p99(&host, Some(how)).await);
        told.push((quiet, attacked));
        if attacked.as_secs_f64() <= quiet.max(FLOOR).as_secs_f64() * FACTOR {
            let most = host.most_resident_kib();
            assert!(most < MAX_RESIDENT, "the host needed {} MiB during the attack `{how}`", most / 1024);
            eprintln!("neighbours: p99 quiet and beside `{how}`: {told:?}; the host needed {} MiB", most / 1024);
            return;
        }
    }
    panic!("the p99 of a neighbour's requests, quiet and beside `{how}`: {told:?}");
}

#[tokio::test]
async fn of_a_loop() {
    hardly_noticed("loop").await;
}

#[tokio::test]
async fn of_a_memory_bomb() {
    hardly_noticed("memory").await;
}

#[tokio::test]
async fn of_deep_recursion() {
    hardly_noticed("recursion").await;
}

#[tokio::test]
async fn of_a_flood_of_lines() {
    hardly_noticed("printing").await;
}

#[tokio::test]
async fn of_sql_that_sleeps() {
    hardly_noticed("sleeping-sql").await;
}

#[tokio::test]
async fn of_sql_that_waits_for_locks() {
    hardly_noticed("locking-sql").await;
}

#[tokio::test]
async fn of_sql_with_too_large_a_result() {
    hardly_noticed("large-sql").await;
}

#[tokio::test]
async fn of_a_million_handles() {
    hardly_noticed("handles").await;
}

//! The neighbours of a hostile guest hardly notice it: their slowest requests take at most twice as long.
//!
//! Quiet and attacked are measured in turn on the same host, so that what else the machine does weighs on both; and the
//! best of some rounds counts, since noise can only make an attack look worse.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dbos_host_tests::{Host, HostBuilder, Request, TestPostgres};

/// Each kind of attack is stopped by one of these soon, and begins anew at once.
const LIMITS: &str = "limits: { processor_ms: 300, memory_mib: 64 }";

/// Requests of one measurement: the p99 is the second slowest of them.
const REQUESTS: usize = 150;

const ROUNDS: usize = 6;

/// How much slower the slowest requests may be.
const FACTOR: f64 = 2.0;

/// What is not worth telling apart: a guest is taken out of the neighbours' way when it has computed for a tick of 10 ms,
/// so one that has just begun may be in the way for that long.
const FLOOR: Duration = Duration::from_millis(10);

/// Of the host, in KiB: it needs less than 200 MiB when it is quiet, and each attacker may have 64.
const MAX_RESIDENT: u64 = 700 * 1024;

/// The second slowest of the neighbour's requests.
async fn p99(host: &Host) -> Duration {
    let mut took = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        let reply = Request::get(host.url("/hello/neighbour")).send().await.expect("the host answers");
        took.push(begun.elapsed());
        assert_eq!((reply.status, reply.body.as_str()), (200, "hello neighbour, 1"), "{reply:?}");
    }
    took.sort();
    took[REQUESTS - 2]
}

/// Attacks with two guests for each processor until it is told to stop.
async fn attack(url: String, stop: Arc<AtomicBool>) {
    let processors = std::thread::available_parallelism().expect("the number of processors").get();
    let attackers = (0..2 * processors).map(|_| {
        let (url, stop) = (url.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let reply = Request::get(&url).send().await.expect("the host answers");
                assert_eq!(reply.status, 500, "an attack has come to an end of its own: {reply:?}");
            }
        })
    });
    for attacker in attackers.collect::<Vec<_>>() {
        attacker.await.expect("an attacker");
    }
}

/// Measures in rounds, until one of them is good enough.
async fn hardly_noticed(how: &str) {
    let database = TestPostgres::shared().fresh_database().await;
    let host = HostBuilder::new("hostile").database(&database).config(LIMITS).start().await;
    p99(&host).await;
    let mut told = Vec::new();
    for _ in 0..ROUNDS {
        let quiet = p99(&host).await;
        let stop = Arc::new(AtomicBool::new(false));
        let attack = tokio::spawn(attack(host.url(&format!("/bad/{how}")), stop.clone()));
        let attacked = p99(&host).await;
        stop.store(true, Ordering::Relaxed);
        attack.await.expect("an attack");
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
async fn of_a_million_handles() {
    hardly_noticed("handles").await;
}

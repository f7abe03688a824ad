//! A guest that prints without end costs the host neither its memory nor its neighbours' time.

use std::time::Duration;

use dbos_host_tests::{Database, Host, HostBuilder, Request, TestPostgres};
use serde_json::json;

/// Of everything that the host keeps at once, in KiB. It needs less than 200 MiB with a guest that is silent; the
/// guest prints as much again.
const MAX_RESIDENT: u64 = 400 * 1024;

/// Of what a flood leaves in the log, in bytes: ten seconds' worth that may come at once, and what the minute allows in
/// which the test must be over.
const MAX_PRINTED: usize = 70 * 256 * 1024;

/// How long ten steps may take beside guests that print; without them it is less than 0.1 s.
const PROMPTLY: Duration = Duration::from_secs(5);

async fn started() -> (Database, Host) {
    let database = TestPostgres::shared().fresh_database().await;
    let builder =
        HostBuilder::new("hostile").database(&database).config("limits: { attempts: 3, processor_ms: 120000 }");
    let host = builder.jumping_clock().start().await;
    (database, host)
}

async fn neighbour(host: &Host) {
    let reply = Request::post(host.url("/workflows/neighbour"), &json!({})).send().await.expect("the host answers");
    assert_eq!((reply.status, reply.json()), (200, json!(10)), "{reply:?}");
}

#[tokio::test]
async fn a_flood_of_lines_is_not_kept_in_memory() {
    // 400 MB, all of them behind the record of one step.
    const LINES: u32 = 6_400;
    let (_database, host) = started().await;
    let reply = host.run_workflow("flood", "flood", &json!({ "lines": LINES })).await.expect("the host answers");
    assert_eq!((reply.status, reply.json()), (200, json!(LINES)), "{reply:?}");
    let (log, budget) = (host.log(), "lines of the app were dropped: it may print 256 KiB a second");
    assert!(log.contains(budget), "nobody is told that lines are missing");
    assert!(log.len() < MAX_PRINTED, "the flood of 400 MB left {} bytes in the log", log.len());
    let most = host.most_resident_kib();
    assert!(most < MAX_RESIDENT, "the host needed {} MiB for lines of a guest", most / 1024);
    neighbour(&host).await;
}

#[tokio::test]
async fn a_megabyte_of_empty_lines_holds_nobody_up() {
    let (database, host) = started().await;
    let loud = 2 * std::thread::available_parallelism().expect("the number of processors").get();
    for n in 1..=loud {
        let arguments = json!({ "lines": 1 << 20 });
        host.start_workflow("empty_lines", &format!("loud-{n}"), &arguments).await;
    }
    let in_time = tokio::time::timeout(PROMPTLY, neighbour(&host)).await;
    assert!(in_time.is_ok(), "ten steps take longer than {PROMPTLY:?} beside {loud} guests that print");
    // It is let through or it is a limit that they met; either way they end.
    for n in 1..=loud {
        database.wait_for_end(&format!("loud-{n}")).await;
    }
}

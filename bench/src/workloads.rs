//! What is measured: the same workloads in each round, with the program that users get.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use dbos_host_tests::{Database, Host, HostBuilder, TestPostgres, eventually};
use serde_json::json;

use crate::limits::Limits;
use crate::load::{closed_loop, request};
use crate::processor::{Taken, taken};
use crate::table::{Bar, Figure, Table};

/// How long a load lasts.
const TIME: Duration = Duration::from_secs(5);

/// Clients of the loads that measure throughput.
const IN_FLIGHT: usize = 64;

/// Steps of the run that is replayed.
const REPLAYED: u32 = 10_000;

/// Runs that are recovered.
const RECOVERED: usize = 1_000;

/// Runs all workloads, or those that are named.
pub(crate) async fn run(server: &TestPostgres, limits: &Limits, only: &[String], table: &mut Table) -> Result<()> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|wanted| name.starts_with(wanted.as_str()));
    let database = server.fresh_database().await;
    let builder = HostBuilder::new("workloads").database(&database).migrations("tests/guests/workloads/migrations");
    builder.migrate().await;
    let begun = Instant::now();
    let host = builder.start().await;
    let started = begun.elapsed();
    let place = Place { postmaster: postmaster(server)?, server_host: &host, limits, table };
    place.rates(&wanted, started).await?;
    drop(host);
    if wanted("replay") {
        replay(server, table).await?;
    }
    if wanted("recovery") {
        recovery(server, table).await?;
    }
    Ok(())
}

struct Place<'a> {
    postmaster: u32,
    server_host: &'a Host,
    limits: &'a Limits,
    table: &'a mut Table,
}

impl Place<'_> {
    async fn rates(self, wanted: &impl Fn(&str) -> bool, started: Duration) -> Result<()> {
        let limits = self.limits;
        let many = Some(limits.commits_32);
        let post = |name: &str| request("POST", &format!("/workflows/{name}"), "{}");
        if wanted("start") {
            self.table.add(&Figure {
                name: "start: `run` to the first answer, warm",
                load: "–",
                unit: "ms",
                value: started.as_secs_f64() * 1e3,
                limit: None,
                bar: Bar::FigureAtMost(150.0),
                processor: None,
            });
        }
        let loads = [
            ("W1: one no-op communicator, 64 in flight", post("one_step"), IN_FLIGHT, 1.0, many, Bar::AtLeast(0.4)),
            (
                "W10: steps of ten no-op communicators, 64 in flight",
                post("ten_steps"),
                IN_FLIGHT,
                10.0,
                many,
                Bar::AtLeast(1.5),
            ),
            (
                "WT: one transaction, 64 in flight",
                post("one_row"),
                IN_FLIGHT,
                1.0,
                Some(limits.two_flights),
                Bar::AtLeast(0.5),
            ),
            (
                "GET /hello: a handler that touches nothing",
                request("GET", "/hello", ""),
                16,
                1.0,
                None,
                Bar::FigureAtLeast(10_000.0),
            ),
            (
                "GET /greeting/{name}: awaits WT, 64 in flight",
                request("GET", "/greeting/Mike", ""),
                IN_FLIGHT,
                1.0,
                None,
                Bar::None,
            ),
        ];
        for (name, request, clients, steps, limit, bar) in loads {
            if !wanted(name) {
                continue;
            }
            let begun = self.taken();
            let done = closed_loop(self.address(), &request, clients, TIME).await?;
            let processor = Some(self.taken() - begun);
            let figure = Figure { name, load: "HTTP", unit: "/s", value: done.rate * steps, limit, bar, processor };
            self.table.add(&figure);
            let p99 = done.percentile(99).as_secs_f64() * 1e3;
            let name = format!("{name}: p99");
            self.table.add(&Figure {
                name: &name,
                load: "HTTP",
                unit: "ms",
                value: p99,
                limit: None,
                bar: Bar::None,
                processor: None,
            });
        }
        if wanted("latency") {
            let begun = self.taken();
            let one = closed_loop(self.address(), &post("one_step"), 1, TIME).await?.percentile(50).as_secs_f64() * 1e3;
            let ten =
                closed_loop(self.address(), &post("ten_steps"), 1, TIME).await?.percentile(50).as_secs_f64() * 1e3;
            self.table.add(&Figure {
                name: "latency: one recorded step, one in flight",
                load: "HTTP, difference of W10 and W1",
                unit: "ms",
                value: (ten - one) / 9.0,
                limit: Some(limits.commit_ms),
                bar: Bar::AtMost(1.6),
                processor: Some(self.taken() - begun),
            });
        }
        Ok(())
    }

    fn address(&self) -> &str {
        let url = self.server_host.address();
        url.strip_prefix("http://").unwrap_or(url)
    }

    fn taken(&self) -> Taken {
        taken(self.server_host.process_id(), self.postmaster)
    }
}

/// One run with many recorded steps, replayed after a kill.
async fn replay(server: &TestPostgres, table: &mut Table) -> Result<()> {
    let database = server.fresh_database().await;
    let builder = HostBuilder::new("workloads").database(&database).migrations("tests/guests/workloads/migrations");
    builder.migrate().await;
    let mut host = builder.start().await;
    let arguments = json!({ "steps": REPLAYED, "milliseconds": 3_600_000 });
    host.start_workflow("steps_then_sleep", "long", &arguments).await;
    wait_for_sleepers(&database, 1).await;
    host.kill9().await;
    let empty = time_to_recover(&builder, &database, 0).await?;
    let full = time_to_recover(&builder, &database, 1).await?;
    let replay = full.saturating_sub(empty);
    table.add(&Figure {
        name: "replay: 10,000 recorded steps of one run, in all",
        load: "restart; that of an empty host is taken off",
        unit: "ms",
        value: replay.as_secs_f64() * 1e3,
        limit: None,
        bar: Bar::FigureAtMost(150.0),
        processor: None,
    });
    Ok(())
}

/// Many runs, each past its next step after a kill.
async fn recovery(server: &TestPostgres, table: &mut Table) -> Result<()> {
    let database = server.fresh_database().await;
    let builder = HostBuilder::new("workloads").database(&database).migrations("tests/guests/workloads/migrations");
    builder.migrate().await;
    let mut host = builder.start().await;
    for run in 0..RECOVERED {
        let arguments = json!({ "steps": 3, "milliseconds": 3_600_000 });
        host.start_workflow("steps_then_sleep", &format!("r-{run}"), &arguments).await;
    }
    wait_for_sleepers(&database, RECOVERED).await;
    host.kill9().await;
    let time = time_to_recover(&builder, &database, RECOVERED).await?;
    table.add(&Figure {
        name: "recovery: 1,000 runs past their next step, from the start of the process",
        load: "restart",
        unit: "ms",
        value: time.as_secs_f64() * 1e3,
        limit: None,
        bar: Bar::FigureAtMost(1000.0),
        processor: None,
    });
    Ok(())
}

async fn wait_for_sleepers(database: &Database, count: usize) {
    let sleeping = "SELECT count(*) FROM dbos.operation_outputs WHERE function_name = 'DBOS.sleep'";
    let all = i64::try_from(count).unwrap_or(i64::MAX);
    eventually("all runs sleep", async || (database.count(sleeping, &[]).await >= all).then_some(())).await;
}

/// Makes all sleeps due, or none, starts a host, and waits until it listens and the woken runs have ended.
async fn time_to_recover(builder: &HostBuilder, database: &Database, due: usize) -> Result<Duration> {
    if due > 0 {
        let wake = "UPDATE dbos.operation_outputs SET output = '1', completed_at_epoch_ms = 1000
                     WHERE function_name = 'DBOS.sleep'";
        database.query(wake, &[]).await;
    }
    let begun = Instant::now();
    let mut host = builder.start().await;
    let ended = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'";
    let all = i64::try_from(due).context("count the runs")?;
    eventually("the woken runs end", async || (database.count(ended, &[]).await >= all).then_some(())).await;
    let time = begun.elapsed();
    host.kill9().await;
    Ok(time)
}

/// The process that all sessions of the server are children of.
fn postmaster(server: &TestPostgres) -> Result<u32> {
    let file = server.folder().join("data/postmaster.pid");
    let text = std::fs::read_to_string(&file).with_context(|| format!("read `{}`", file.display()))?;
    text.lines().next().and_then(|line| line.parse().ok()).context("find the server's process")
}

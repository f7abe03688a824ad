//! What a host costs that does nothing: alone, with a thousand runs that wait for others, with a hundred thousand that
//! sleep.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dbos_host_tests::{Answer, Outside, Request};
use serde_json::json;

use crate::load::Until;
use crate::options::{Options, Topic};
use crate::place::{Place, W1, until, until_looking_every};
use crate::processor::resident;
use crate::server::Server;
use crate::table::{Bar, Figure, Table};

/// How long a host is watched that has nothing to do.
const IDLE: Duration = Duration::from_secs(20);

/// Runs that wait for others at once.
const IN_FLIGHT: u32 = 1_000;

/// Runs that sleep.
const SLEEPERS: u32 = 100_000;

/// Longer than any bench.
const A_MONTH_MS: u64 = 30 * 86_400_000;

const MIB: f64 = 1024.0 * 1024.0;

/// Measures what was asked for.
pub(super) async fn measure(server: &Server, options: &Options, table: &mut Table) -> Result<()> {
    if options.wants_any(&[Topic::Idle, Topic::Sleepers]) {
        let idle = idle(server, table).await?;
        if options.wants(Topic::Sleepers) {
            sleepers(server, idle, table).await?;
        }
    }
    if options.wants(Topic::Memory) {
        let name = "1,000 runs in flight, each with a step whose request is not answered yet: resident each";
        memory(server, IN_FLIGHT, name, Bar::FigureAtMost(64.0), table).await?;
        // What an instance of a workflow costs by itself.
        let name = "1,000 runs in flight, all but one waiting for the slot of a step: resident each";
        memory(server, 1, name, Bar::None, table).await?;
    }
    Ok(())
}

/// A host that has served and has nothing to do. Returns its resident memory.
async fn idle(server: &Server, table: &mut Table) -> Result<f64> {
    let place = Place::new(server, "").await;
    let (serving, _) = place.start().await?;
    // Once, so that everything is there that a host makes when it is needed first.
    serving.runs(W1, &W1.question(), 1, Until::Answers(10)).await?;
    serving.quiet().await?;
    let clock = serving.clock();
    tokio::time::sleep(IDLE).await;
    let taken = clock.stop();
    let percent = taken.host / taken.wall * 100.0;
    let resident = resident(serving.process()?)?;
    table.add(Figure::new("idle host: of one processor, over 20 s", percent, "%").bar(Bar::FigureAtMost(0.5)));
    table.add(Figure::new("idle host: resident", resident / MIB, "MiB").bar(Bar::FigureAtMost(40.0)));
    Ok(resident)
}

/// Runs that sleep for a month: the host has taken all of them after a restart, and none of them is due.
async fn sleepers(server: &Server, idle: f64, table: &mut Table) -> Result<()> {
    let place = Place::new(server, "").await;
    let (mut serving, _) = place.start().await?;
    serving.host.start_workflow("steps_then_sleep", "first", &json!({ "steps": 3, "milliseconds": A_MONTH_MS })).await;
    until("the run sleeps", async || place.sleepers().await == 1).await?;
    serving.host.kill9().await;
    place.copy_run("first", 0, SLEEPERS - 1).await;
    place.settle().await;
    let sql = "SELECT owner_xid FROM dbos.workflow_status WHERE workflow_uuid = 'first'";
    let owner: String = place.database.query(sql, &[]).await[0].get(0);

    let begun = Instant::now();
    let mut host = place.builder.launch();
    let clock = server.clock(None).of_new(host.process_id());
    ensure!(host.listens().await, "start a host with sleeping runs: it ended");
    let reply = Request::get(host.admin_url("/readyz")).send().await.context("ask whether a host is ready")?;
    ensure!(reply.status == 200, "be ready: {reply:?}");
    let ready = begun.elapsed().as_secs_f64();
    let old = "SELECT count(*) FROM (SELECT FROM dbos.workflow_status WHERE owner_xid = $1 LIMIT 1) AS one";
    until_looking_every(Duration::from_millis(50), "all sleepers are taken over", async || {
        place.database.count(old, &[&owner]).await == 0
    })
    .await?;
    let taken_over = begun.elapsed().as_secs_f64();
    let taken = clock.stop();
    server.quiet(host.process_id()).await?;
    let settled = begun.elapsed().as_secs_f64();
    let resident = resident(host.process_id().context("look at the host")?)?;
    ensure!(place.sleepers().await == i64::from(SLEEPERS), "let {SLEEPERS} runs sleep");
    host.kill9().await;

    let each = (resident - idle) / f64::from(SLEEPERS) / 1024.0;
    let row = |what: &str| format!("100,000 sleeping runs: {what}");
    table.add(Figure::new(row("resident each, above an idle host"), each, "KiB").bar(Bar::FigureAtMost(1.0)));
    table.add(Figure::new(row("restart until ready"), ready, "s").over("restart").bar(Bar::FigureAtMost(1.0)));
    table.add(Figure::new(row("restart until all are taken over"), taken_over, "s").over("restart").took(taken));
    table.add(Figure::new(row("restart until nothing happens any more"), settled, "s").over("restart"));
    Ok(())
}

/// Runs that each wait for an answer of a slow server, as far as there are slots for `steps` of them: their instance, the
/// instance of their step, its request.
async fn memory(server: &Server, steps: u32, name: &str, bar: Bar, table: &mut Table) -> Result<()> {
    let (outside, gate) = Outside::held(Answer::Reply(200, "1".into())).await;
    let mut place = Place::new(server, &format!("limits:\n  workflows: {IN_FLIGHT}\n  steps: {steps}")).await;
    place.builder = place.builder.clone().guest_env("OUTSIDE_URL", &outside.url()).allow(&outside.url());
    let (serving, _) = place.start().await?;
    serving.runs(W1, &W1.question(), 1, Until::Answers(10)).await?;
    serving.quiet().await?;
    let before = resident(serving.process()?)?;
    for run in 0..IN_FLIGHT {
        serving.host.start_workflow("slow", &format!("slow-{run}"), &json!({})).await;
    }
    let all = usize::try_from(steps)?;
    until("all steps wait for their answers", async || outside.received().len() == all).await?;
    serving.quiet().await?;
    let with_all = resident(serving.process()?)?;
    gate.open();
    let ended = "SELECT count(*) FROM dbos.workflow_status WHERE name = 'slow' AND status = 'SUCCESS'";
    until("all runs end", async || place.count(ended).await == i64::from(IN_FLIGHT)).await?;

    let each = (with_all - before) / f64::from(IN_FLIGHT) / 1024.0;
    table.add(Figure::new(name, each, "KiB").bar(bar));
    Ok(())
}

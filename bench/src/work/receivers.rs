//! What runs cost that wait for messages: ten thousand of them, which hold no instance, and how soon one of them hears.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dbos_host_tests::Request;
use serde_json::json;

use crate::load::Until;
use crate::place::{Place, Serving, W1, until, until_looking_every};
use crate::processor::resident;
use crate::server::Server;
use crate::table::{Bar, Figure, Table};

/// Runs that wait.
const RECEIVERS: u32 = 10_000;

/// What it takes of the database to look for all of them twice a second, at most: waiting for them is over when there is
/// nothing but that.
const LOOKING: f64 = 0.2;

/// How long the host is watched while they wait.
const WATCHED: Duration = Duration::from_secs(10);

/// Messages that are timed, each to another run.
const MESSAGES: usize = 11;

/// Measures it.
pub(super) async fn measure(server: &Server, table: &mut Table) -> Result<()> {
    // First, since both hosts would use the one database.
    let before = one_alone(server).await?;
    let place = Place::new(server, "").await;
    let dead = waiting(&place).await?;
    place.settle().await;
    let (serving, _) = place.start().await?;
    let old = format!("SELECT count(*) FROM dbos.workflow_status WHERE status = 'PENDING' AND owner_xid = '{dead}'");
    until_looking_every(Duration::from_millis(50), "all receivers are taken over", async || {
        place.count(&old).await == 0
    })
    .await?;
    serving.at_rest(LOOKING).await?;
    let with_all = resident(serving.process()?)?;
    let clock = serving.clock();
    tokio::time::sleep(WATCHED).await;
    let taken = clock.stop();

    let row = |what: &str| format!("10,000 runs that wait for a message: {what}");
    let each = (with_all - before) / f64::from(RECEIVERS) / 1024.0;
    table.add(Figure::new(row("resident each, above an idle host"), each, "KiB").bar(Bar::FigureAtMost(1.0)));
    let percent = taken.host / taken.wall * 100.0;
    table.add(Figure::new(row("of one processor, the host"), percent, "%").bar(Bar::FigureAtMost(2.0)).took(taken));
    table.add(Figure::new(row("of one processor, the database"), taken.database / taken.wall * 100.0, "%").took(taken));
    let here = heard(&serving, &place, Way::Host).await?;
    table.add(Figure::new(row("one of them has heard and ended, sent by its host"), here, "ms").over("HTTP"));
    let elsewhere = heard(&serving, &place, Way::Elsewhere).await?;
    let figure = Figure::new(row("the same, sent by another process"), elsewhere, "ms").over("SQL");
    table.add(figure.bar(Bar::FigureAtMost(1000.0)));
    Ok(())
}

/// Leaves runs that wait, whose host is dead. Returns its mark in their rows.
async fn waiting(place: &Place<'_>) -> Result<String> {
    let (mut serving, _) = place.start().await?;
    serving.host.start_workflow("listens", "first", &json!({})).await;
    until("the run waits", async || place.sleepers().await == 1).await?;
    serving.host.kill9().await;
    place.copy_run("first", 0, RECEIVERS - 1).await;
    let sql = "SELECT owner_xid FROM dbos.workflow_status WHERE workflow_uuid = 'first'";
    Ok(place.database.query(sql, &[]).await[0].get(0))
}

/// The resident memory of a host that has served and has nothing to do.
async fn one_alone(server: &Server) -> Result<f64> {
    let place = Place::new(server, "").await;
    let (serving, _) = place.start().await?;
    serving.runs(W1, &W1.question(), 1, Until::Answers(10)).await?;
    serving.quiet().await?;
    resident(serving.process()?)
}

/// Who sends.
#[derive(Clone, Copy)]
enum Way {
    Host,
    Elsewhere,
}

/// How long it takes from a send to the outcome of the run that waited for it: the median, in milliseconds.
async fn heard(serving: &Serving<'_>, place: &Place<'_>, way: Way) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..MESSAGES {
        let one =
            "SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'PENDING' ORDER BY workflow_uuid LIMIT 1";
        let run: String = place.database.query(one, &[]).await[0].get(0);
        let begun = Instant::now();
        match way {
            Way::Host => {
                let url = serving.host.url(&format!("/workflows/{run}/messages?topic=word"));
                let reply = Request::post(url, &json!(1)).send().await.context("send a message")?;
                ensure!(reply.status == 202, "send a message: {reply:?}");
            }
            Way::Elsewhere => {
                let send = "INSERT INTO dbos.notifications (destination_uuid, topic, message, serialization)
                            VALUES ($1, 'word', '1', 'portable_json') RETURNING 1";
                place.database.query(send, &[&run]).await;
            }
        }
        let ended =
            format!("SELECT count(*) FROM dbos.workflow_status WHERE workflow_uuid = '{run}' AND status = 'SUCCESS'");
        until("the run has heard", async || place.count(&ended).await == 1).await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1e3)
}

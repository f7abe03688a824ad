//! How many workflows in a second, and how long one takes: over HTTP, each load between two measurements of the limit
//! that it is compared with.

use std::time::Duration;

use anyhow::Result;

use super::Measured;
use super::peer::NAME as PEER;
use crate::limits::{Limit, Limits};
use crate::load::{Question, Until};
use crate::options::{Options, Topic};
use crate::place::{N1, N10, P1000, Place, Serving, T1, T10, W1, W10, WT, Workload};
use crate::server::Server;
use crate::table::{Bar, Figure, Table};

/// How long a load lasts.
pub(super) const TIME: Until = Until::Time { warm_up: Duration::from_millis(500), time: Duration::from_secs(4) };

/// Clients of the loads that measure throughput.
pub(super) const IN_FLIGHT: usize = 64;

/// Clients of a handler that does nothing: more only wait for each other.
const HELLO_CLIENTS: usize = 16;

const HTTP: &str = "HTTP";

/// The answer of `GET /greeting/Mike`, by whomever.
pub(super) const GREETING: &str = "Thank you for being awesome, Mike!";

/// Measures what was asked for, in one round.
pub(super) async fn measure(
    server: &Server,
    options: &Options,
    limits: &mut Limits,
    measured: &mut Measured,
) -> Result<()> {
    let own = [
        Topic::Start,
        Topic::W1,
        Topic::W10,
        Topic::Wt,
        Topic::Latency,
        Topic::Parallel,
        Topic::Messages,
        Topic::Hello,
        Topic::Greeting,
    ];
    if !options.wants_any(&own) {
        return Ok(());
    }
    let place = Place::new(server, "").await;
    // The first start compiles the component; what is measured is the second.
    place.start().await?.0.host.kill9().await;
    let (serving, started) = place.start().await?;
    let table = &mut measured.table;
    if options.wants(Topic::Start) {
        let name = "start: `run` to the first answer, artefact cached, database there";
        let time = started.as_secs_f64() * 1e3;
        table.add(Figure::new(name, time, "ms").over("restart").bar(Bar::FigureAtMost(120.0)));
    }
    let mut rates = Rates { serving: &serving, limits, table };
    if options.wants(Topic::W1) {
        rates.workflow(W1, "W1: one no-op communicator, 64 in flight", Limit::OneRow, Bar::AtLeast(0.4)).await?;
    }
    if options.wants(Topic::W10) {
        let name = "W10: steps of ten no-op communicators, 64 in flight";
        rates.workflow(W10, name, Limit::OneRow, Bar::AtLeast(1.5)).await?;
    }
    if options.wants(Topic::Wt) {
        rates.workflow(WT, "WT: one transaction, 64 in flight", Limit::TwoFlights, Bar::AtLeast(0.5)).await?;
    }
    if options.wants(Topic::Latency) {
        let name = "latency: one recorded step that sends nothing, one in flight";
        let one = rates.latency(name, (W1, W10), "HTTP, a ninth of W10 less W1", Bar::AtMost(0.5)).await?;
        rates.table.add(Figure::new("latency: W1 with its start, one in flight: p50", one, "ms").over(HTTP));
        let name = "latency: one operation that waits for its record (a sleep of 0 ms), one in flight";
        rates.latency(name, (N1, N10), "HTTP, a ninth of ten sleeps less one", Bar::AtMost(1.6)).await?;
        rates.limits.measure(Limit::Batched, rates.table).await?;
    }
    if options.wants(Topic::Parallel) {
        rates.side_by_side().await?;
    }
    if options.wants(Topic::Messages) {
        rates.messages().await?;
    }
    if options.wants(Topic::Hello) {
        rates.hello().await?;
    }
    if options.wants(Topic::Greeting) {
        rates.greeting().await?;
    }
    if options.wants(Topic::Hello) {
        drop(serving);
        hello_on_one_processor(place.on_processor(0), &mut measured.table).await?;
    }
    limits.forget();
    Ok(())
}

/// What one processor does for a host that has no other: nothing is shared between two.
async fn hello_on_one_processor(place: Place<'_>, table: &mut Table) -> Result<()> {
    let (serving, _) = place.start().await?;
    let (done, taken) = serving.load(&Question::get("/hello", "hello"), HELLO_CLIENTS, TIME).await?;
    let figure = Figure::new("GET /hello: the same, the host on one processor", done.rate, "/s").over(HTTP);
    table.add(figure.took(taken).latencies(done.p50_and_p99()).bar(Bar::FigureAtLeast(10_000.0)));
    Ok(())
}

struct Rates<'a> {
    serving: &'a Serving<'a>,
    limits: &'a mut Limits,
    table: &'a mut Table,
}

impl Rates<'_> {
    /// A workflow that is started and awaited by many clients.
    async fn workflow(&mut self, workload: Workload, name: &'static str, limit: Limit, bar: Bar) -> Result<()> {
        let question = workload.question();
        let load = self.serving.runs(workload, &question, IN_FLIGHT, TIME);
        let (of_limit, (done, taken)) = self.limits.around(limit, self.table, load).await?;
        let steps = f64::from(u32::try_from(workload.steps)?);
        let figure = Figure::new(name, done.rate * steps, "/s").over(HTTP);
        self.table.add(figure.against(limit.name(), of_limit).bar(bar).took(taken).latencies(done.p50_and_p99()));
        self.against_peer(workload.workflow, done.rate);
        Ok(())
    }

    /// How much faster it is than the same workload on the peer, in this round.
    fn against_peer(&mut self, workload: &str, rate: f64) {
        let (name, bar) = match workload {
            "one_step" => ("W1", Bar::AtLeast(40.0)),
            "ten_steps" => ("W10, in workflows", Bar::None),
            "one_row" => ("WT", Bar::None),
            _ => ("GET /greeting/{name}", Bar::AtLeast(30.0)),
        };
        let Some(peer) = self.table.last(&super::peer::row(workload)) else { return };
        let figure = Figure::new(format!("{name}, against {PEER}"), rate, "/s").over(HTTP);
        self.table.add(figure.against(PEER, peer).bar(bar));
    }

    /// What one more recorded operation costs a run that has the host for itself, of a workload with one and one with ten.
    /// Returns what the run with one of them takes.
    async fn latency(
        &mut self,
        name: &'static str,
        (one, ten): (Workload, Workload),
        over: &'static str,
        bar: Bar,
    ) -> Result<f64> {
        let serving = self.serving;
        let both = async {
            let (one, _) = serving.runs(one, &one.question(), 1, TIME).await?;
            let (ten, taken) = serving.runs(ten, &ten.question(), 1, TIME).await?;
            Ok((one.percentile_ms(50), ten.percentile_ms(50), taken))
        };
        let (limit, (one, ten, taken)) = self.limits.around(Limit::OneCommit, self.table, both).await?;
        let figure = Figure::new(name, (ten - one) / 9.0, "ms").over(over);
        self.table.add(figure.against(Limit::OneCommit.name(), limit).bar(bar).took(taken));
        Ok(one)
    }

    /// How long one run takes that starts a thousand steps and joins them.
    async fn side_by_side(&mut self) -> Result<()> {
        let (done, taken) = self.serving.runs(P1000, &P1000.question(), 1, TIME).await?;
        let name = "P1000: one run of 1,000 no-op communicators side by side, one in flight: p50";
        let figure = Figure::new(name, done.percentile_ms(50), "ms").over(HTTP);
        self.table.add(figure.bar(Bar::FigureAtMost(150.0)).took(taken));
        Ok(())
    }

    /// How long a message takes from one running workflow to another: what a round of two that talk costs, halved.
    async fn messages(&mut self) -> Result<()> {
        let (one, _) = self.serving.runs(T1, &T1.question(), 1, TIME).await?;
        let (ten, taken) = self.serving.runs(T10, &T10.question(), 1, TIME).await?;
        let name = "M2: a message from one running workflow to another, one pair in flight";
        let each = (ten.percentile_ms(50) - one.percentile_ms(50)) / 18.0;
        let figure = Figure::new(name, each, "ms").over("HTTP, an eighteenth of ten rounds less one");
        self.table.add(figure.bar(Bar::FigureAtMost(3.0)).took(taken));
        Ok(())
    }

    async fn hello(&mut self) -> Result<()> {
        let (done, taken) = self.serving.load(&Question::get("/hello", "hello"), HELLO_CLIENTS, TIME).await?;
        let name = "GET /hello: a handler that touches nothing, 16 in flight";
        self.table.add(Figure::new(name, done.rate, "/s").over(HTTP).took(taken).latencies(done.p50_and_p99()));
        let answers = f64::from(u32::try_from(done.answers)?);
        let figure =
            Figure::new("GET /hello: answers for a second of the host's processor", answers / taken.host, "/s");
        self.table.add(figure.over(HTTP));
        Ok(())
    }

    async fn greeting(&mut self) -> Result<()> {
        let question = Question::get("/greeting/Mike", GREETING);
        let (done, taken) = self.serving.runs(WT, &question, IN_FLIGHT, TIME).await?;
        let name = "GET /greeting/{name}: a handler that awaits WT, 64 in flight";
        self.table.add(Figure::new(name, done.rate, "/s").over(HTTP).took(taken).latencies(done.p50_and_p99()));
        self.against_peer("greeting", done.rate);
        Ok(())
    }
}

//! The same workloads on DBOS Python, on the same server, in the same round: what the host is compared with.
//!
//! The program is `bench/peers/dbos_python.py`, behind FastAPI and uvicorn. `cargo xtask bench` makes the Python that can
//! run it and says where it is; where that is not possible, the comparison is left out, and the results say so.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dbos_host_tests::{Database, programs};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::Measured;
use super::rates::{GREETING, IN_FLIGHT};
use crate::load::{Done, Question, Until, closed_loop};
use crate::options::{Options, Topic};
use crate::place::{W1, W10, WT, Workload, generator_was_idle_at_times};
use crate::processor::Taken;
use crate::server::Server;
use crate::table::{Figure, Part, Table};

/// How it is called in the table.
pub(super) const NAME: &str = "DBOS Python 3.4.0";

const PROGRAM: &str = "bench/peers/dbos_python.py";

/// Ten steps of 64 workflows take it some seconds: before those are over, nothing has come to a steady pace.
const TIME: Until = Until::Time { warm_up: Duration::from_secs(3), time: Duration::from_secs(5) };

/// Says where the Python is.
const VARIABLE: &str = "DBOS_BENCH_PEER";

/// The row of a workload.
pub(super) fn row(workload: &str) -> String {
    format!("{NAME}: {workload}, 64 in flight")
}

/// Measures it, in one round.
pub(super) async fn measure(server: &Server, options: &Options, measured: &mut Measured) -> Result<()> {
    if !options.wants(Topic::Peer) {
        return Ok(());
    }
    let Some(python) = std::env::var_os(VARIABLE).filter(|python| !python.is_empty()) else {
        let note = format!("{NAME} was not measured: there was no Python environment with it.");
        if !measured.notes.contains(&note) {
            measured.notes.push(note);
        }
        return Ok(());
    };
    let database = server.fresh_database().await;
    let mut command = Command::new(python);
    command.arg(programs::source(PROGRAM)).arg(database.url());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let address = address(&mut child).await.context("start DBOS Python")?;
    let peer = Peer { server, database, child, address };
    for workload in [W1, W10, WT] {
        let (done, taken) = peer.runs(workload, &workload.question(), IN_FLIGHT).await?;
        let steps = f64::from(u32::try_from(workload.steps)?);
        peer.add(&mut measured.table, workload.workflow, &done, taken);
        if workload.steps > 1 {
            let name = format!("{NAME}: steps of {}, 64 in flight", workload.workflow);
            measured.table.add(Figure::new(name, done.rate * steps, "/s").of(Part::Peer).over("HTTP"));
        }
    }
    let (one, _) = peer.runs(W1, &W1.question(), 1).await?;
    let (ten, taken) = peer.runs(W10, &W10.question(), 1).await?;
    let step = (ten.percentile_ms(50) - one.percentile_ms(50)) / 9.0;
    let figure = Figure::new(format!("{NAME}: one recorded step, one in flight"), step, "ms");
    measured.table.add(figure.of(Part::Peer).over("HTTP, a ninth of W10 less W1").took(taken));
    let (done, taken) = peer.runs(WT, &Question::get("/greeting/Mike", GREETING), IN_FLIGHT).await?;
    peer.add(&mut measured.table, "greeting", &done, taken);
    Ok(())
}

/// It prints its port when it listens.
async fn address(child: &mut Child) -> Result<String> {
    let output = child.stdout.take().context("read what it prints")?;
    let line = BufReader::new(output).lines().next_line().await?.context("wait for its port: it ended before")?;
    let port: u16 = line.trim().parse().with_context(|| format!("read its port in `{line}`"))?;
    Ok(format!("127.0.0.1:{port}"))
}

struct Peer<'a> {
    server: &'a Server,
    database: Database,
    child: Child,
    address: String,
}

impl Peer<'_> {
    /// A load, after which the runs that were answered stand in the database.
    async fn runs(&self, workload: Workload, question: &Question, clients: usize) -> Result<(Done, Taken)> {
        let name = format!("{}_workflow", workload.workflow);
        let sql = "SELECT count(*) FROM dbos.workflow_status WHERE name = $1 AND status = 'SUCCESS'";
        let before = self.database.count(sql, &[&name]).await;
        let clock = self.server.clock(self.child.id());
        let done = closed_loop(&self.address, question, clients, TIME).await.context("measure DBOS Python")?;
        let taken = clock.stop();
        generator_was_idle_at_times(&taken)?;
        let runs = self.database.count(sql, &[&name]).await - before;
        ensure!(runs == i64::try_from(done.answers)?, "find {} runs of DBOS Python: there are {runs}", done.answers);
        Ok((done, taken))
    }

    fn add(&self, table: &mut Table, workload: &str, done: &Done, taken: Taken) {
        let figure = Figure::new(row(workload), done.rate, "/s").of(Part::Peer);
        table.add(figure.over("HTTP").took(taken).latencies(done.p50_and_p99()));
    }
}

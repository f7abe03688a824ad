//! A host with a database of its own, and loads whose answers are compared with what stands in the database after them.
//!
//! This module must not know why anything is measured.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use dbos_host_tests::{Database, Host, HostBuilder, Request};

use crate::load::{Done, Question, Until, closed_loop};
use crate::processor::{Clock, Taken};
use crate::server::Server;

/// The pause between two looks at something that is timed: what a figure may be too large by.
const LOOK: Duration = Duration::from_millis(2);

/// Nothing that is waited for here takes longer, but what fills tables for minutes.
const PATIENCE: Duration = Duration::from_secs(180);

/// A generator that is busy for more of the time than this may be what is slow.
const MOST_BUSY: f64 = 0.9;

/// A database for one host.
pub(crate) struct Place<'a> {
    pub(crate) server: &'a Server,
    pub(crate) database: Database,
    pub(crate) builder: HostBuilder,
}

/// A workflow as a load of it is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) workflow: &'static str,
    pub(crate) result: &'static str,
    pub(crate) steps: usize,
    /// Rows that it inserts into the app's table.
    pub(crate) rows: usize,
    /// Runs that it starts, whose steps are counted among its own.
    pub(crate) children: usize,
}

/// W1: one communicator that does nothing.
pub(crate) const W1: Workload = Workload { workflow: "one_step", result: "1", steps: 1, rows: 0, children: 0 };
/// W10: ten of them.
pub(crate) const W10: Workload = Workload { workflow: "ten_steps", result: "55", steps: 10, rows: 0, children: 0 };
/// One operation that waits for its record to be on disk.
pub(crate) const N1: Workload = Workload { workflow: "one_nap", result: "1", steps: 1, rows: 0, children: 0 };
/// Ten of them.
pub(crate) const N10: Workload = Workload { workflow: "ten_naps", result: "10", steps: 10, rows: 0, children: 0 };
/// P1000: a thousand communicators that do nothing, started and joined.
pub(crate) const P1000: Workload =
    Workload { workflow: "thousand_beside", result: "500500", steps: 1_000, rows: 0, children: 0 };
/// One round of two runs that talk: a message there and one back.
pub(crate) const T1: Workload = Workload { workflow: "one_talk", result: "1", steps: 8, rows: 0, children: 1 };
/// Ten of them.
pub(crate) const T10: Workload = Workload { workflow: "ten_talks", result: "10", steps: 62, rows: 0, children: 1 };
/// WT: one transaction that inserts one row.
pub(crate) const WT: Workload = Workload { workflow: "one_row", result: "1", steps: 1, rows: 1, children: 0 };

impl Workload {
    /// Started over HTTP, and awaited.
    pub(crate) fn question(self) -> Question {
        Question::workflow(self.workflow, self.result)
    }
}

impl<'a> Place<'a> {
    /// A migrated database. `config` are lines for the host's configuration.
    pub(crate) async fn new(server: &'a Server, config: &str) -> Self {
        let database = server.fresh_database().await;
        let builder = HostBuilder::new("workloads")
            .database(&database)
            .migrations("tests/guests/workloads/migrations")
            .environment("DBOS_LOG", "info")
            .config(config);
        builder.migrate().await;
        Self { server, database, builder }
    }

    /// Starts a host, and returns how long it took until it answered its first request.
    pub(crate) async fn start(&self) -> Result<(Serving<'_>, Duration)> {
        let begun = Instant::now();
        let mut host = self.builder.launch();
        until("the host listens", async || host.log().contains("listening on ")).await?;
        ensure!(host.listens().await, "start the host: it ended before it listened");
        let reply = Request::get(host.url("/hello")).send().await.context("ask a host that listens")?;
        let time = begun.elapsed();
        ensure!(reply.status == 200, "get an answer of a host that listens: {reply:?}");
        Ok((Serving { place: self, host }, time))
    }

    /// The same for hosts that may use this processor of the machine only.
    pub(crate) fn on_processor(mut self, number: u32) -> Self {
        self.builder = self.builder.on_processor(number);
        self
    }

    /// What this finds in one row and one column.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.database.count(sql, &[]).await
    }
}

/// A host that answers.
pub(crate) struct Serving<'a> {
    place: &'a Place<'a>,
    pub(crate) host: Host,
}

impl Serving<'_> {
    /// Where it listens, for a socket.
    pub(crate) fn address(&self) -> &str {
        let url = self.host.address();
        url.strip_prefix("http://").unwrap_or(url)
    }

    /// Counts processor time from now on.
    pub(crate) fn clock(&self) -> Clock {
        self.place.server.clock(self.host.process_id())
    }

    /// Waits until nothing happens any more.
    pub(crate) async fn quiet(&self) -> Result<()> {
        self.place.server.quiet(self.host.process_id()).await
    }

    /// Waits until nothing happens any more but that the database takes less than this of a processor.
    pub(crate) async fn at_rest(&self, rest: f64) -> Result<()> {
        self.place.server.at_rest(self.host.process_id(), rest).await
    }

    /// The host's process.
    pub(crate) fn process(&self) -> Result<u32> {
        self.host.process_id().context("look at a host that has ended")
    }

    /// Asks a question that starts no runs.
    pub(crate) async fn load(&self, question: &Question, clients: usize, until: Until) -> Result<(Done, Taken)> {
        let clock = self.clock();
        let done = closed_loop(self.address(), question, clients, until).await?;
        let taken = clock.stop();
        generator_was_idle_at_times(&taken)?;
        Ok((done, taken))
    }

    /// Asks a question of which each answer is that of a run of `workload`. When this returns, each of these runs, each
    /// of its records and each of its rows stands in the database, and nothing beside them.
    pub(crate) async fn runs(
        &self,
        workload: Workload,
        question: &Question,
        clients: usize,
        until: Until,
    ) -> Result<(Done, Taken)> {
        let before = self.place.stands(workload).await;
        let (done, taken) = self.load(question, clients, until).await?;
        let stands = self.place.stands(workload).await - before;
        let expected = Stands::of(workload, done.answers);
        if stands != expected {
            bail!("find in the database what was answered: {expected:?}, but there is {stands:?}");
        }
        Ok((done, taken))
    }
}

/// A load says nothing about a server that had to wait for it.
pub(crate) fn generator_was_idle_at_times(taken: &Taken) -> Result<()> {
    let [.., generator, _] = taken.cores();
    ensure!(
        generator < MOST_BUSY,
        "ask fast enough: the generator was busy for {:.0} % of the time",
        generator * 100.0
    );
    Ok(())
}

/// What stands in the database of runs of one workflow, and of the records and rows of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stands {
    succeeded: i64,
    others: i64,
    outputs: i64,
    records: i64,
    rows: i64,
}

impl Stands {
    fn of(workload: Workload, answers: usize) -> Self {
        let times = |of_one: usize| i64::try_from(answers * of_one).unwrap_or(i64::MAX);
        Self {
            succeeded: times(1),
            others: times(workload.children),
            outputs: times(1),
            records: times(workload.steps),
            rows: times(workload.rows),
        }
    }
}

impl std::ops::Sub for Stands {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            succeeded: self.succeeded - earlier.succeeded,
            others: self.others - earlier.others,
            outputs: self.outputs - earlier.outputs,
            records: self.records - earlier.records,
            rows: self.rows - earlier.rows,
        }
    }
}

impl Place<'_> {
    async fn stands(&self, workload: Workload) -> Stands {
        let sql = "SELECT (SELECT count(*) FROM dbos.workflow_status WHERE name = $1 AND status = 'SUCCESS'),
                          (SELECT count(*) FROM dbos.workflow_status WHERE name <> $1 OR status <> 'SUCCESS'),
                          (SELECT count(*) FROM dbos.workflow_output WHERE error IS NULL AND output = $2),
                          (SELECT count(*) FROM dbos.operation_outputs WHERE error IS NULL),
                          (SELECT count(*) FROM bench_rows)";
        let rows = self.database.query(sql, &[&workload.workflow, &workload.result]).await;
        let at = |at: usize| rows[0].get(at);
        Stands { succeeded: at(0), others: at(1), outputs: at(2), records: at(3), rows: at(4) }
    }
}

/// Waits until something holds, and looks at it as often as a figure needs that.
pub(crate) async fn until(what: &str, holds: impl AsyncFnMut() -> bool) -> Result<()> {
    until_looking_every(LOOK, what, holds).await
}

/// The same for what would be slowed down by looking at it.
pub(crate) async fn until_looking_every(
    pause: Duration,
    what: &str,
    mut holds: impl AsyncFnMut() -> bool,
) -> Result<()> {
    let begun = Instant::now();
    while !holds().await {
        ensure!(begun.elapsed() < PATIENCE, "wait until {what}: it did not happen within {PATIENCE:?}");
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_expected_to_leave_all_of_its_runs() {
        let expected = Stands { succeeded: 7, others: 0, outputs: 7, records: 70, rows: 0 };
        assert_eq!(Stands::of(W10, 7), expected);
        assert_eq!(Stands::of(WT, 7).rows, 7);
        assert_eq!(Stands::of(W1, 9) - Stands::of(W1, 2), Stands::of(W1, 7));
    }

    #[test]
    fn a_generator_that_was_always_busy_is_not_believed() {
        let taken = |generator| Taken { generator, wall: 1.0, ..Taken::default() };
        assert!(generator_was_idle_at_times(&taken(0.5)).is_ok());
        assert!(generator_was_idle_at_times(&taken(0.99)).is_err());
    }
}

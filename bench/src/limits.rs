//! What the database can do, whoever asks: measured with PostgreSQL's own `pgbench`, with prepared statements, over the
//! same loopback as the host.
//!
//! A machine drifts by a third within minutes, so a limit is measured right before a load and right after it, and the
//! mean of both is what the load is compared with. A limit between two loads serves both.

use std::fs;
use std::mem::discriminant;

use anyhow::{Context as _, Result, bail};
use dbos_host_tests::postgres::program;
use dbos_host_tests::{Database, HostBuilder};
use tokio::process::Command;

use crate::server::Server;
use crate::table::Table;

/// How long a limit is measured, in seconds. It is measured some ten times in a round.
const SECONDS: &str = "2";

const ONE_ROW: &str = "INSERT INTO limit_rows (payload) VALUES ('x');\n";

const HUNDRED_ROWS: &str = "INSERT INTO limit_rows (payload) SELECT 'x' FROM generate_series(1, 100);\n";

/// What a workflow of one transaction writes, in two flights: the guest's statement, then everything else with the commit.
const TWO_FLIGHTS: &str = "\
\\set n random(1, 4000000000000000000)
\\startpipeline
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO bench_rows (name) VALUES ('Mike');
\\endpipeline
\\startpipeline
INSERT INTO dbos.workflow_status (workflow_uuid, status, name, executor_id, application_version, application_id,
    recovery_attempts, priority, creator_xid, serialization, application_name, created_at, completed_at)
  VALUES (to_char(now(), 'YYYYMMDDHH24MISSUS') || :n, 'SUCCESS', 'one_row', 'pgbench', '', '', 1, 0, 'x', 'portable_json', 'pgbench', 1, 2);
INSERT INTO dbos.workflow_input (workflow_uuid, inputs) VALUES (to_char(now(), 'YYYYMMDDHH24MISSUS') || :n, '{}');
INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output, started_at_epoch_ms,
    completed_at_epoch_ms, serialization, application_name)
  VALUES (to_char(now(), 'YYYYMMDDHH24MISSUS') || :n, 1, 'insert', '1', 1, 2, 'portable_json', 'pgbench');
INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
  VALUES (to_char(now(), 'YYYYMMDDHH24MISSUS') || :n, 1, '\\x0011223344556677');
INSERT INTO dbos.workflow_output (workflow_uuid, output) VALUES (to_char(now(), 'YYYYMMDDHH24MISSUS') || :n, '1');
COMMIT;
\\endpipeline
";

/// One limit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// Commits of one row in a second, 32 clients.
    OneRow,
    /// The time of such a commit, one client, in milliseconds.
    OneCommit,
    /// Rows in a second, 100 for each commit, one client.
    Batched,
    /// Transactions in a second as a workflow of one transaction has them, in two flights, 32 clients.
    TwoFlights,
}

impl Limit {
    /// How it is called in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneRow => "pgbench: commits of one row, 32 clients",
            Self::OneCommit => "pgbench: commit of one row, 1 client",
            Self::Batched => "pgbench: rows, 100 a commit, 1 client",
            Self::TwoFlights => "pgbench: WT in two flights, 32 clients",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::OneCommit => "ms",
            Self::OneRow | Self::Batched | Self::TwoFlights => "/s",
        }
    }

    async fn measure(self, url: &str) -> Result<f64> {
        Ok(match self {
            Self::OneRow => pgbench(url, ONE_ROW, "32").await?,
            Self::OneCommit => 1000.0 / pgbench(url, ONE_ROW, "1").await?,
            Self::Batched => 100.0 * pgbench(url, HUNDRED_ROWS, "1").await?,
            Self::TwoFlights => pgbench(url, TWO_FLIGHTS, "32").await?,
        })
    }
}

/// The limits, measured in a database of their own whenever they are asked for.
#[derive(Debug)]
pub(crate) struct Limits {
    database: Database,
    /// The one that was measured last, if nothing was measured since but one load.
    last: Option<(Limit, f64)>,
}

impl Limits {
    /// Makes the tables.
    pub(crate) async fn prepare(server: &Server) -> Self {
        let database = server.fresh_database().await;
        // The system tables are the host's own, made by the host.
        HostBuilder::new("workloads")
            .database(&database)
            .migrations("tests/guests/workloads/migrations")
            .migrate()
            .await;
        database.execute("CREATE TABLE limit_rows (id bigserial PRIMARY KEY, payload text)").await;
        Self { database, last: None }
    }

    /// Measures a limit for itself.
    pub(crate) async fn measure(&mut self, limit: Limit, table: &mut Table) -> Result<f64> {
        let value = limit.measure(self.database.url()).await?;
        table.limit(limit.name(), limit.unit(), value);
        self.last = Some((limit, value));
        Ok(value)
    }

    /// Runs a load between two measurements of a limit, and returns their mean with what the load came to.
    pub(crate) async fn around<T>(
        &mut self,
        limit: Limit,
        table: &mut Table,
        load: impl Future<Output = Result<T>>,
    ) -> Result<(f64, T)> {
        let before = match self.last {
            Some((last, value)) if discriminant(&last) == discriminant(&limit) => value,
            _ => self.measure(limit, table).await?,
        };
        let result = load.await?;
        let after = self.measure(limit, table).await?;
        Ok((f64::midpoint(before, after), result))
    }

    /// Says that something else was measured: a limit from before it is too old.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }
}

/// Transactions in a second.
async fn pgbench(url: &str, script: &str, clients: &str) -> Result<f64> {
    let file = std::env::temp_dir().join(format!("dbos-host-bench-{}.sql", std::process::id()));
    fs::write(&file, script).with_context(|| format!("write `{}`", file.display()))?;
    let mut command = Command::new(program("pgbench"));
    command.args(["-n", "-M", "prepared", "-c", clients, "-j", "2", "-T", SECONDS, "-f"]).arg(&file).arg(url);
    let output = command.output().await.context("run pgbench")?;
    fs::remove_file(&file).with_context(|| format!("remove `{}`", file.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match rate(&text) {
        Some(rate) if output.status.success() => Ok(rate),
        _ => bail!("measure with pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// The rate in what `pgbench` says. None: no transaction ended, or some failed.
fn rate(text: &str) -> Option<f64> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    let failed = value("number of failed transactions: ").is_some_and(|failed| failed != "0");
    value("tps = ")?.parse().ok().filter(|rate| *rate > 0.0 && !failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_only_if_no_transaction_failed() {
        let says =
            |failed: &str| format!("number of failed transactions: {failed} (0.000%)\ntps = 11400.5 (without …)\n");
        assert_eq!(rate(&says("0")), Some(11400.5));
        assert_eq!(rate(&says("3")), None);
        assert_eq!(rate("pgbench: error: connection refused\n"), None);
    }
}

//! What the database can do, whoever asks: measured with PostgreSQL's own `pgbench`, over its Unix socket, with prepared
//! statements.

use std::fs;

use anyhow::{Context as _, Result, bail};
use dbos_host_tests::{HostBuilder, TestPostgres};
use tokio::process::Command;

use crate::table::Table;

/// How long each limit is measured, in seconds.
const SECONDS: &str = "4";

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

/// The limits of one round.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Commits of one row in a second, 32 clients.
    pub(crate) commits_32: f64,
    /// The time of such a commit, one client, in milliseconds.
    pub(crate) commit_ms: f64,
    /// Rows in a second, 100 for each commit, one client.
    pub(crate) batched_rows: f64,
    /// Transactions in a second as a workflow of one transaction has them, 32 clients.
    pub(crate) two_flights: f64,
}

/// Measures them in a database of their own.
pub(crate) async fn measure(server: &TestPostgres) -> Result<Limits> {
    let database = server.fresh_database().await;
    // The system tables are the host's own, made by the host.
    HostBuilder::new("workloads").database(&database).migrations("tests/guests/workloads/migrations").migrate().await;
    database.execute("CREATE TABLE limit_rows (id bigserial PRIMARY KEY, payload text)").await;
    let url = database.url().to_owned();
    let one = pgbench(&url, ONE_ROW, "1").await?;
    Ok(Limits {
        commits_32: pgbench(&url, ONE_ROW, "32").await?,
        commit_ms: 1000.0 / one,
        batched_rows: 100.0 * pgbench(&url, HUNDRED_ROWS, "1").await?,
        two_flights: pgbench(&url, TWO_FLIGHTS, "32").await?,
    })
}

impl Limits {
    /// Shows them as rows of their own.
    pub(crate) fn note(&self, table: &mut Table) {
        table.limit("pgbench: commits of one row, 32 clients", "/s", self.commits_32);
        table.limit("pgbench: commit of one row, 1 client", "ms", self.commit_ms);
        table.limit("pgbench: rows, 100 a commit, 1 client", "/s", self.batched_rows);
        table.limit("pgbench: WT in two flights, 32 clients", "/s", self.two_flights);
    }
}

/// Transactions in a second.
async fn pgbench(url: &str, script: &str, clients: &str) -> Result<f64> {
    let folder = std::env::temp_dir().join(format!("dbos-host-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let file = folder.join("script.sql");
    fs::write(&file, script)?;
    let mut command = Command::new(program());
    command.args(["-n", "-M", "prepared", "-c", clients, "-j", "2", "-T", SECONDS, "-f"]).arg(&file).arg(url);
    let output = command.output().await.context("run pgbench")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    match rate {
        Some(rate) if output.status.success() => Ok(rate),
        _ => bail!("measure with pgbench: {}{}", text, String::from_utf8_lossy(&output.stderr)),
    }
}

/// Debian keeps the programs of each version in a folder of its own.
fn program() -> std::path::PathBuf {
    let folders = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> =
        folders.map(|entry| entry.path().join("bin/pgbench")).filter(|file| file.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| "pgbench".into())
}

//! The server that everything is measured against: with the durable settings that `initdb` leaves, or not at all.
//!
//! This module must not know what is measured.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use dbos_host_tests::postgres::program;
use dbos_host_tests::{Database, TestPostgres};
use tokio::process::Command;

use crate::processor::Clock;

/// What makes a commit durable, with the values that `initdb` leaves. With any other, a limit means nothing.
const DURABLE: [(&str, &str); 3] = [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")];

/// What else a reader of the figures will want to know.
const SHOWN: [&str; 6] = [
    "server_version",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "max_connections",
    "default_transaction_isolation",
];

/// What takes less than this of a processor is quiet.
const QUIET: f64 = 0.03;

/// How long something must be quiet to be believed.
const QUIET_FOR: Duration = Duration::from_secs(1);

/// What is not quiet after so many looks never will be.
const MOST_LOOKS: usize = 120;

/// The bench's own server.
pub(crate) struct Server {
    postgres: TestPostgres,
    postmaster: u32,
    settings: Vec<(String, String)>,
}

impl Server {
    /// Makes and starts it.
    pub(crate) async fn start() -> Result<Self> {
        let postgres = TestPostgres::start();
        let file = postgres.folder().join("data/postmaster.pid");
        let text = fs::read_to_string(&file).with_context(|| format!("read `{}`", file.display()))?;
        let postmaster = text.lines().next().and_then(|line| line.parse().ok()).context("find the server's process")?;
        let database = postgres.fresh_database().await;
        let mut settings = Vec::new();
        for name in DURABLE.iter().map(|(name, _)| *name).chain(SHOWN) {
            let rows = database.query(&format!("SHOW {name}"), &[]).await;
            settings.push((name.to_owned(), rows[0].get(0)));
        }
        check(&settings)?;
        Ok(Self { postgres, postmaster, settings })
    }

    /// A new, empty database.
    pub(crate) async fn fresh_database(&self) -> Database {
        self.postgres.fresh_database().await
    }

    /// The settings that decide what a commit costs.
    pub(crate) fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Counts processor time from now on.
    pub(crate) fn clock(&self, host: Option<u32>) -> Clock {
        Clock::start(host, self.postmaster)
    }

    /// Waits until neither the host nor the server do anything any more.
    pub(crate) async fn quiet(&self, host: Option<u32>) -> Result<()> {
        self.at_rest(host, QUIET).await
    }

    /// Waits until the host does nothing any more and the server less than this of a processor.
    pub(crate) async fn at_rest(&self, host: Option<u32>, rest: f64) -> Result<()> {
        for _ in 0..MOST_LOOKS {
            let clock = self.clock(host);
            tokio::time::sleep(QUIET_FOR).await;
            let [host, database, ..] = clock.stop().cores();
            if host < QUIET && database < rest {
                return Ok(());
            }
        }
        bail!("wait until the host and the database are quiet: they still work after {MOST_LOOKS} s");
    }

    /// Runs something, and counts the commits in it that had to be made durable, of all sessions.
    ///
    /// The statistics of a database count read-only transactions too, and come late. The write-ahead log has one record
    /// for each transaction that wrote, and nothing else is what a commit costs.
    pub(crate) async fn commits_during<T>(
        &self,
        database: &Database,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(u64, T)> {
        // The slot keeps the log where it is, whatever checkpoints come.
        let keep = "SELECT pg_create_physical_replication_slot('bench', true), pg_current_wal_flush_lsn()::text";
        let from: String = database.query(keep, &[]).await[0].get(1);
        let result = work.await?;
        let until: String = database.query("SELECT pg_current_wal_flush_lsn()::text", &[]).await[0].get(0);
        let commits = self.commits_between(&from, &until).await;
        database.execute("SELECT pg_drop_replication_slot('bench')").await;
        Ok((commits?, result))
    }

    async fn commits_between(&self, from: &str, until: &str) -> Result<u64> {
        let mut command = Command::new(program("pg_waldump"));
        command.arg("--path").arg(self.postgres.folder().join("data/pg_wal"));
        command.args(["--start", from, "--end", until, "--rmgr", "Transaction", "--stats=record"]);
        let output = command.output().await.context("run pg_waldump")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("read the write-ahead log: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
        commits(&text).with_context(|| format!("find the commits in `{text}`"))
    }
}

fn check(settings: &[(String, String)]) -> Result<()> {
    for (name, wanted) in DURABLE {
        let is = settings.iter().find(|(own, _)| own == name).map_or("unknown", |(_, value)| value);
        if is != wanted {
            bail!("measure a server with `{name} = {is}`: with anything but `{wanted}`, commits are not durable");
        }
    }
    Ok(())
}

/// The records of commits in what `pg_waldump --stats=record` says.
fn commits(text: &str) -> Option<u64> {
    let lines: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("Transaction/COMMIT")).collect();
    // No such line, in a table that is whole, is no commit.
    text.lines().find(|line| line.trim_start().starts_with("Total"))?;
    lines.iter().map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_sync_is_not_measured() {
        let settings = |fsync: &str| {
            [("fsync", fsync), ("synchronous_commit", "on"), ("full_page_writes", "on")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        assert!(check(&settings("on")).is_ok());
        assert!(check(&settings("off")).unwrap_err().to_string().contains("`fsync = off`"));
        assert!(check(&[]).is_err());
    }

    #[test]
    fn commits_are_counted_in_what_the_log_is_said_to_have() {
        let text = "Type              N      (%)\n----  -  ---\n\
                    Transaction/COMMIT     12 ( 92.31)  408\n\
                    Transaction/ABORT       1 (  7.69)   34\n          --------\nTotal   13    442\n";
        assert_eq!(commits(text), Some(12));
        assert_eq!(commits("Type N\nTotal 0\n"), Some(0));
        assert_eq!(commits("pg_waldump: error"), None);
    }
}

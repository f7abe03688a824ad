//! Brings the system database up to date: schema `dbos`, which is shared with DBOS SDKs, and schema `dbos_host`,
//! which is this host's own.
//!
//! Ten hosts, and processes of SDKs between them, may start at once on an empty database, and any of them may be
//! killed in the middle. So all of them take turns by one advisory lock, and a migration and the mark that it was
//! applied are one transaction: there is nothing half done to find, and nothing is done twice.
//!
//! The lock is the one that SDKs take. They hold it for their session and, under it, build indexes `CONCURRENTLY`,
//! which waits for every open transaction. A process that sat in `pg_advisory_lock` would be such a transaction: each
//! would wait for the other. Hence a try, no open transaction while waiting, and another try. The lock belongs to the
//! transaction and not to the session, so a failed or dropped `migrate` cannot leave it behind on a pooled
//! connection.
//!
//! The two schemas have opposite rules for versions. `dbos` may be newer than what this host knows: its migrations
//! keep older readers working. `dbos_host` may not: only this program reads it, so a newer one means an old host that
//! would write what the new ones no longer expect.
//!
//! What this module must not know: apps and their migrations, roles of guests, wasm.

mod error;
mod plan;

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, GenericClient, IsolationLevel, Transaction};

pub use self::error::MigrationError;
pub use self::plan::Step;
use self::plan::{DbosVersion, HostVersion};
use self::plan::{Found, plan};

/// The advisory lock under which the SDKs migrate too.
const LOCK: i64 = 1_234_567_890;

/// How long to wait for the lock. An empty database takes well under a second, so ten hosts are through in a few; who
/// holds it longer builds indexes on big tables or hangs, and a message is of more use then than patience.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// The pause between two tries: a round trip each, unnoticed by the server and by a person who waits.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Schema `dbos` in one go, for a database that has none.
const DBOS_SCHEMA: &str = include_str!("schema/dbos_125.sql");

/// The migrations of schema `dbos_host`, the first one being version 1. A new file is a new line at the end.
const HOST_MIGRATIONS: &[&str] = &[
    include_str!("schema/dbos_host_001.sql"),
    include_str!("schema/dbos_host_002.sql"),
    include_str!("schema/dbos_host_003.sql"),
    include_str!("schema/dbos_host_004.sql"),
    include_str!("schema/dbos_host_005.sql"),
    include_str!("schema/dbos_host_006.sql"),
    include_str!("schema/dbos_host_007.sql"),
    include_str!("schema/dbos_host_008.sql"),
    include_str!("schema/dbos_host_009.sql"),
    include_str!("schema/dbos_host_010.sql"),
];

/// What `migrate` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The migrations that this process applied, in order. Empty when the database was up to date, or when others
    /// were quicker.
    pub applied: Vec<Step>,
    /// The tables of schema `dbos` belong to another role, so their settings were left as they are.
    pub is_foreign: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.applied.is_empty() {
            return f.write_str("the system database is up to date");
        }
        // They are applied in order, so the last one of each schema says where that is now.
        let dbos = self.applied.first().filter(|first| **first == Step::CreateDbos).map(ToString::to_string);
        let host = self.applied.iter().rev().find_map(|step| match step {
            Step::Host { version, .. } => Some(format!("schema `dbos_host` at migration {version}")),
            Step::CreateDbos => None,
        });
        let schemas: Vec<String> = dbos.into_iter().chain(host).collect();
        f.write_str(&schemas.join(", "))
    }
}

/// Whether a host can work on a database, as `check` finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Both schemas are what this host needs.
    Ready,
    /// `migrate` has something to do.
    NeedsMigration,
}

/// Looks whether the database is up to date, and changes nothing. For commands that only read.
///
/// # Errors
/// As [`migrate`], for a database that it would refuse. Unlike it, this does not wait for an SDK that is
/// just migrating the database, and calls schema `dbos` too old then.
pub async fn check(client: &Client) -> Result<Readiness, MigrationError> {
    let steps = plan(&find(client).await?, HOST_MIGRATIONS)?;
    Ok(if steps.is_empty() { Readiness::Ready } else { Readiness::NeedsMigration })
}

/// Brings both schemas up to date. When it returns, they are, whoever did it.
///
/// After an error, or when the future is dropped, each migration is applied as a whole or not at all; calling it
/// again goes on from there.
///
/// # Errors
/// If schema `dbos` is older than what this host needs (it cannot be brought forward from here), if schema
/// `dbos_host` is newer than this host or was made by other migrations, if the lock cannot be had, or if the database
/// refuses.
pub async fn migrate(client: &mut Client) -> Result<Report, MigrationError> {
    let mut applied = Vec::new();
    // Nothing to do is the rule. It is found without the lock, which someone may be holding for long. Every other
    // answer has to be found again under it: a version that is too old may be an SDK in the middle of its migrations.
    if matches!(check(client).await, Ok(Readiness::Ready)) {
        return Ok(Report { applied, is_foreign: false });
    }
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match take_turn(client).await? {
            Turn::Applied(step) => applied.push(step),
            Turn::NothingLeft => return Ok(Report { is_foreign: is_foreign(client).await?, applied }),
            Turn::Busy if Instant::now() >= deadline => return Err(MigrationError::Locked { waited: LOCK_TIMEOUT }),
            Turn::Busy => tokio::time::sleep(LOCK_POLL).await,
        }
    }
}

/// Whether another role owns the tables of schema `dbos`: an SDK may have made them.
async fn is_foreign(client: &Client) -> Result<bool, MigrationError> {
    let owner = "SELECT NOT pg_has_role(relowner, 'USAGE') FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                  WHERE nspname = 'dbos' AND relname = 'workflow_status'";
    let row = client.query_one(owner, &[]).await;
    Ok(row.map_err(MigrationError::while_doing("look at the owner of the tables"))?.get(0))
}

/// How one turn ended.
enum Turn {
    Applied(Step),
    NothingLeft,
    Busy,
}

/// Tries to take the lock and, under it, applies the first missing migration: one transaction.
async fn take_turn(client: &mut Client) -> Result<Turn, MigrationError> {
    // READ COMMITTED by name, for the database's default may be another. Under REPEATABLE READ the snapshot would be
    // older than the lock: the migration that its last holder has just committed would be invisible, and be tried
    // again.
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .read_only(false)
        .start()
        .await
        .map_err(MigrationError::while_doing("begin a migration"))?;
    if !try_lock(&transaction).await? {
        // Ended here and not by drop, so that the transaction is over before the pause begins.
        transaction.rollback().await.map_err(MigrationError::while_doing("wait for the migration lock"))?;
        return Ok(Turn::Busy);
    }
    // Looked up again under the lock: what was missing a moment ago may be there now.
    let Some(step) = plan(&find(&transaction).await?, HOST_MIGRATIONS)?.into_iter().next() else {
        return Ok(Turn::NothingLeft);
    };
    apply(&transaction, &step).await?;
    transaction.commit().await.map_err(MigrationError::while_doing(format!("commit {step}")))?;
    Ok(Turn::Applied(step))
}

/// Takes the lock until the end of the transaction, or says that another process has it.
async fn try_lock(transaction: &Transaction<'_>) -> Result<bool, MigrationError> {
    let row = transaction
        .query_one("SELECT pg_try_advisory_xact_lock($1)", &[&LOCK])
        .await
        .map_err(MigrationError::while_doing("take the migration lock"))?;
    Ok(row.get(0))
}

/// Runs one migration and marks it as applied.
async fn apply(transaction: &Transaction<'_>, step: &Step) -> Result<(), MigrationError> {
    let failed = || MigrationError::while_doing(format!("apply {step}"));
    match step {
        // The script ends with its mark: an SDK does not care who has set it.
        Step::CreateDbos => transaction.batch_execute(DBOS_SCHEMA).await.map_err(failed()),
        Step::Host { version, sql, checksum } => {
            transaction.batch_execute(sql).await.map_err(failed())?;
            transaction
                .execute(
                    "INSERT INTO dbos_host.migration (version, checksum) VALUES ($1, $2)",
                    &[&version.0, &checksum.as_str()],
                )
                .await
                .map_err(failed())?;
            Ok(())
        }
    }
}

/// Reads what the database says about its migrations.
async fn find<C: GenericClient>(client: &C) -> Result<Found, MigrationError> {
    let failed = || MigrationError::while_doing("read the versions of the system database");
    // Not by `to_regclass`: it answers from the session's cache of names, and that may remember from before the lock
    // that the schema did not exist. Reading a catalog table brings the cache up to date, for the statements below
    // too.
    let tables = client
        .query_one(
            "SELECT count(*) FILTER (WHERE schemaname = 'dbos' AND tablename = 'dbos_migrations') = 1,
                    count(*) FILTER (WHERE schemaname = 'dbos_host' AND tablename = 'migration') = 1
             FROM pg_catalog.pg_tables WHERE schemaname IN ('dbos', 'dbos_host')",
            &[],
        )
        .await
        .map_err(failed())?;
    let mut found = Found::default();
    if tables.get(0) {
        // `max` because an SDK that was stopped before its first migration leaves the table without a row.
        let row = client.query_one("SELECT max(version) FROM dbos.dbos_migrations", &[]).await.map_err(failed())?;
        found.dbos = row.get::<_, Option<i64>>(0).map(DbosVersion);
    }
    if tables.get(1) {
        let rows = client.query("SELECT version, checksum FROM dbos_host.migration", &[]).await.map_err(failed())?;
        found.host = rows.iter().map(|row| (HostVersion(row.get(0)), row.get(1))).collect();
    }
    Ok(found)
}

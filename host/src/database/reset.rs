//! Deleting everything: the system tables, and what the apps own.
//!
//! For development. Whoever resets a database wants `migrate` to find it empty, so the tables of the apps have to go with
//! the notes about the migrations that made them. What must not happen: that something goes which nobody was told of, that
//! a running host loses its tables, and that a failure leaves half of it. So what would be deleted is found and told first
//! ([`Database::belongings`]), the lock of every executor is asked for, and everything is one transaction.
//!
//! The roles of the apps stay: they belong to the server, and own nothing here any more.

use std::fmt::Write as _;

use tokio_postgres::{GenericClient, Transaction};

use super::connection::Database;
use super::error::DatabaseError;
use super::lease::{lock_key, secret};

/// How long a lock on a table is waited for. A reader has its answer long before; who holds a table longer is at work.
const LOCK_TIMEOUT: &str = "10s";

/// What a reset deletes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Belongings {
    /// The system's schemas that are there.
    pub schemas: Vec<String>,
    /// How many runs there are, by application; `None` for those that name none.
    pub runs: Vec<(Option<String>, i64)>,
    /// What each app's role owns in this database, in words of Postgres: `table public.greetings`.
    pub owned: Vec<(String, Vec<String>)>,
}

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// Hosts work on this database.
    #[error("{} on this database: {}", if .0.len() == 1 { "a host runs" } else { "hosts run" }, .0.join(", "))]
    Running(Vec<String>),
    /// The database said no, or nothing.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<tokio_postgres::Error> for ResetError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

impl Belongings {
    /// Whether there is nothing to delete.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.schemas.is_empty()
    }
}

impl Database {
    /// Finds what a reset would delete.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn belongings(&self) -> Result<Belongings, DatabaseError> {
        let client = self.own_client().await?;
        let schemas = schemas(&client).await?;
        let mut found = Belongings { schemas, ..Belongings::default() };
        if has(&found.schemas, "dbos") && is_table(&client, "workflow_status").await? {
            let count = "SELECT application_name, count(*) FROM dbos.workflow_status GROUP BY 1 ORDER BY 1 NULLS LAST";
            let rows = client.query(count, &[]).await?;
            found.runs = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        }
        for role in roles(&client).await? {
            let owned = client
                .query(
                    "SELECT pg_describe_object(classid, objid, objsubid) FROM pg_shdepend
                      WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND deptype = 'o'
                        AND refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
                      ORDER BY 1",
                    &[&role],
                )
                .await?;
            found.owned.push((role, owned.iter().map(|row| row.get(0)).collect()));
        }
        Ok(found)
    }

    /// Deletes all of it, or nothing. With `force`, also under a running host, whose next statements will fail.
    ///
    /// # Errors
    /// When hosts run, or the database says no; nothing is deleted then.
    pub async fn reset(&self, force: bool) -> Result<(), ResetError> {
        let mut client = self.own_client().await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")).await?;
        let schemas = schemas(&transaction).await?;
        if has(&schemas, "dbos_host") && !force {
            let running = running(&transaction).await?;
            if !running.is_empty() {
                return Err(ResetError::Running(running));
            }
        }
        let mut sql = String::new();
        let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
        let roles: Vec<String> = roles(&transaction).await?.iter().map(quoted).collect();
        if !roles.is_empty() {
            // All in one statement, so that they may depend on each other; without CASCADE, so that nothing of others goes.
            write!(sql, "DROP OWNED BY {};", roles.join(", ")).expect("writing to a string does not fail");
        }
        for schema in schemas {
            write!(sql, "DROP SCHEMA {schema} CASCADE;").expect("writing to a string does not fail");
        }
        transaction.batch_execute(&sql).await?;
        Ok(transaction.commit().await?)
    }
}

fn has(schemas: &[String], name: &str) -> bool {
    schemas.iter().any(|schema| schema == name)
}

async fn schemas<C: GenericClient>(client: &C) -> Result<Vec<String>, DatabaseError> {
    let rows = client
        .query("SELECT nspname::text FROM pg_namespace WHERE nspname IN ('dbos', 'dbos_host') ORDER BY 1", &[])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether schema `dbos` has this table; an SDK that was stopped half-way may have made only some.
async fn is_table<C: GenericClient>(client: &C, name: &str) -> Result<bool, DatabaseError> {
    let found = client
        .query_one("SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = 'dbos' AND tablename = $1)", &[&name])
        .await?;
    Ok(found.get(0))
}

/// The roles that may record the steps of an app here: each app has one, and nobody else has. The host's own login, which
/// trusted apps use, is the owner of the function and not among them: it owns more than what apps have made.
async fn roles<C: GenericClient>(client: &C) -> Result<Vec<String>, DatabaseError> {
    let rows = client
        .query(
            "SELECT DISTINCT r.rolname::text
               FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(p.proacl) a
               JOIN pg_roles r ON r.oid = a.grantee
              WHERE n.nspname = 'dbos_host' AND p.proname = 'end_transaction'
                AND r.oid <> p.proowner AND NOT r.rolsuper AND r.rolname <> current_user
              ORDER BY 1",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The executors that live: whose lock another session has. Those that are dead cannot come back under their id before
/// this transaction has ended, since it has their locks now.
async fn running(transaction: &Transaction<'_>) -> Result<Vec<String>, DatabaseError> {
    let secret = secret(transaction).await?;
    let executors = transaction.query("SELECT executor_id FROM dbos_host.executor ORDER BY 1", &[]).await?;
    let mut running = Vec::new();
    for row in executors {
        let executor: String = row.get(0);
        let key = lock_key(&secret, &executor);
        let free: bool = transaction.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&key]).await?.get(0);
        if !free {
            running.push(format!("`{executor}`"));
        }
    }
    Ok(running)
}

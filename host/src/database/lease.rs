//! An executor's lease: the lock that shows it is alive, and the time until which others believe it without the lock.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio_postgres::{Client, GenericClient};

use super::claim::Incarnation;
use super::error::DatabaseError;

/// What a renewal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease holds until this moment, by this host's own monotonic clock.
    Until(Instant),
    /// The lease is over by the database's clock, or another incarnation has the executor's id: this one is over.
    Over,
}

/// A connection that holds the session advisory lock on an executor's id (lifetime: one incarnation).
///
/// When the process dies, the server ends the session and with it the lock, at once: so the next process with the same
/// id knows that the old one is gone without waiting for its lease.
#[derive(Debug)]
pub struct LeaseConnection {
    client: Client,
    executor: String,
    incarnation: Incarnation,
    duration: Duration,
    has_lock: bool,
}

impl LeaseConnection {
    /// Tries to become the executor `executor`. `None`: a living process has the lock.
    ///
    /// When it returns a connection, the executor's row names this incarnation, so the old one can renew no more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn try_acquire(
        database: &super::Database,
        executor: &str,
        incarnation: &Incarnation,
        duration: Duration,
    ) -> Result<Option<(Self, Instant)>, DatabaseError> {
        let client = database.own_client().await?;
        let key = lock_key(&secret(&client).await?, executor);
        let locked: bool = client.query_one("SELECT pg_try_advisory_lock($1)", &[&key]).await?.get(0);
        if !locked {
            return Ok(None);
        }
        let connection =
            Self { client, executor: executor.into(), incarnation: incarnation.clone(), duration, has_lock: true };
        let until = connection.register().await?;
        Ok(Some((connection, until)))
    }

    async fn register(&self) -> Result<Instant, DatabaseError> {
        let asked = Instant::now();
        self.client
            .execute(
                "INSERT INTO dbos_host.executor (executor_id, incarnation, lease_expires_at, host)
                 VALUES ($1, $2, clock_timestamp() + $3::float8 * interval '1 second', $4)
                 ON CONFLICT (executor_id) DO UPDATE
                    SET incarnation = EXCLUDED.incarnation, lease_expires_at = EXCLUDED.lease_expires_at,
                        host = EXCLUDED.host, started_at = now()",
                &[&self.executor, &self.incarnation.as_str(), &self.duration.as_secs_f64(), &hostname()],
            )
            .await?;
        Ok(asked + self.duration)
    }

    /// Extends the lease. Counted from before the question was sent: this host's idea of its lease always ends earlier
    /// than the database's.
    ///
    /// # Errors
    /// When the connection is gone; the lock is gone with it, and the lease alone decides until it is renewed or over.
    pub async fn renew(&mut self) -> Result<Renewal, DatabaseError> {
        if !self.has_lock {
            self.try_lock().await?;
        }
        let asked = Instant::now();
        let renewed = self
            .client
            .execute(
                // A lease that is over is not renewed, however the clocks and the networks of the hosts are: others may have
                // acted on its end. It is looked at behind the lock, for which a take-over may have to be waited for.
                "WITH me AS (
                     SELECT executor_id, lease_expires_at FROM dbos_host.executor
                      WHERE executor_id = $1 AND incarnation = $2 FOR NO KEY UPDATE)
                 UPDATE dbos_host.executor e
                    SET lease_expires_at = clock_timestamp() + $3::float8 * interval '1 second'
                   FROM me WHERE e.executor_id = me.executor_id AND me.lease_expires_at >= clock_timestamp()",
                &[&self.executor, &self.incarnation.as_str(), &self.duration.as_secs_f64()],
            )
            .await?;
        Ok(if renewed == 1 { Renewal::Until(asked + self.duration) } else { Renewal::Over })
    }

    /// The executor.
    #[must_use]
    pub fn executor(&self) -> &str {
        &self.executor
    }

    /// Begins a new incarnation of the same executor. `None`: another process is the executor now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reincarnate(&mut self, incarnation: &Incarnation) -> Result<Option<Instant>, DatabaseError> {
        let asked = Instant::now();
        let changed = self
            .client
            .execute(
                "UPDATE dbos_host.executor
                    SET incarnation = $4, lease_expires_at = clock_timestamp() + $3::float8 * interval '1 second'
                  WHERE executor_id = $1 AND incarnation IN ($2, $4)",
                &[&self.executor, &self.incarnation.as_str(), &self.duration.as_secs_f64(), &incarnation.as_str()],
            )
            .await?;
        if changed == 0 {
            return Ok(None);
        }
        self.incarnation = incarnation.clone();
        Ok(Some(asked + self.duration))
    }

    /// A connection for the same incarnation after the old one was lost: it takes the lock if it is free, and goes on
    /// without it if not (the server may not have noticed yet that the old session is gone).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reconnect(&mut self, database: &super::Database) -> Result<(), DatabaseError> {
        let client = database.own_client().await?;
        self.client = client;
        self.has_lock = false;
        self.try_lock().await
    }

    async fn try_lock(&mut self) -> Result<(), DatabaseError> {
        let key = lock_key(&secret(&self.client).await?, &self.executor);
        self.has_lock = self.client.query_one("SELECT pg_try_advisory_lock($1)", &[&key]).await?.get(0);
        Ok(())
    }

    /// Ends the lease at once, so that others take what is left over without waiting.
    ///
    /// # Errors
    /// When the database does not answer; the lease then runs out by itself.
    pub async fn release(&self) -> Result<(), DatabaseError> {
        self.client
            .execute(
                "UPDATE dbos_host.executor SET lease_expires_at = clock_timestamp()
                  WHERE executor_id = $1 AND incarnation = $2",
                &[&self.executor, &self.incarnation.as_str()],
            )
            .await?;
        Ok(())
    }
}

impl super::Database {
    /// Executors whose lease is over by the database's clock, except `own`.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn expired_executors(&self, own: &str) -> Result<Vec<String>, DatabaseError> {
        let client = self.client().await?;
        let rows = client
            .query(
                "SELECT executor_id FROM dbos_host.executor
                  WHERE lease_expires_at < clock_timestamp() AND executor_id <> $1 ORDER BY executor_id",
                &[&own],
            )
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// How long the leases of these executors hold, by the database's clock: nothing if they are over. One that does not
    /// exist is left out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn leases(&self, executors: &[String]) -> Result<Vec<(String, Duration)>, DatabaseError> {
        let sql = "SELECT executor_id, greatest(extract(epoch FROM lease_expires_at - clock_timestamp()), 0)::float8
                     FROM dbos_host.executor WHERE executor_id = ANY ($1) ORDER BY executor_id";
        let rows = self.client().await?.query(sql, &[&executors]).await?;
        Ok(rows.iter().map(|row| (row.get(0), Duration::from_secs_f64(row.get(1)))).collect())
    }

    /// Forgets executors that are long gone and left nothing behind, so that the table does not grow with each deploy.
    ///
    /// # Errors
    /// When the database does not answer; they are forgotten another time.
    pub async fn forget_executors(&self) -> Result<u64, DatabaseError> {
        let client = self.client().await?;
        let forgotten = client
            .execute(
                "DELETE FROM dbos_host.executor e
                  WHERE e.lease_expires_at < clock_timestamp() - interval '1 day'
                    AND NOT EXISTS (SELECT 1 FROM dbos.workflow_status s
                                     WHERE s.status = 'PENDING' AND s.executor_id = e.executor_id)",
                &[],
            )
            .await?;
        Ok(forgotten)
    }

    /// The secret of the database: seeds and keys that guests must not guess derive from it.
    ///
    /// # Errors
    /// When the database does not answer, or has not been migrated.
    pub async fn secret(&self) -> Result<Vec<u8>, DatabaseError> {
        secret(&**self.client().await?).await
    }
}

pub(super) async fn secret<C: GenericClient>(client: &C) -> Result<Vec<u8>, DatabaseError> {
    Ok(client.query_one("SELECT secret FROM dbos_host.secret", &[]).await?.get(0))
}

/// The key of an executor's lock. It depends on the database's secret: a guest may take advisory locks too, and must
/// not be able to take this one before its host does.
pub(super) fn lock_key(secret: &[u8], executor: &str) -> i64 {
    let hash = Sha256::new().chain_update(secret).chain_update("executor").chain_update(executor).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(first)
}

/// The machine's name, for people who look at the table.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

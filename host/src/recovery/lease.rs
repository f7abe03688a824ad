//! This host's lease: how it is got, kept, and what others in the process may conclude from it.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::database::{Backoff, Database, DatabaseError, Incarnation, LeaseConnection, Renewal};
use crate::executor::Identity;
use crate::failpoint;

/// How long a lease holds. A host that is killed is taken over by the next process of the same executor at once, by the
/// lock; the lease only decides when a machine is gone for good. Ten seconds outlast a restart of the database.
pub const LEASE: Duration = Duration::from_secs(10);

/// How long to try for the lock of a configured or remembered id: the old process may have been killed a moment ago, and
/// the server notices the end of its session within milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Whether this host's lease holds, by its own monotonic clock (lifetime: the process). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lease(watch::Receiver<Instant>);

impl Lease {
    /// Returns when the lease holds. At once, unless the database could not be reached for a while.
    pub async fn held(&self) {
        let mut until = self.0.clone();
        // The keeper lives as long as the process; were it gone, the lease could only run out.
        if until.wait_for(|until| Instant::now() < *until).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Keeps the lease (lifetime: the process).
#[derive(Debug)]
pub struct Keeper {
    connection: LeaseConnection,
    until: watch::Sender<Instant>,
    duration: Duration,
}

/// Becomes an executor: `wanted` if no living process is it, otherwise another one made from it.
///
/// When it returns, the database names this incarnation as the executor's, and the lease holds.
///
/// # Errors
/// When the database does not answer.
pub async fn acquire(
    database: &Database,
    wanted: &str,
    duration: Duration,
) -> Result<(Identity, Keeper, Lease), DatabaseError> {
    let incarnation = Incarnation::fresh();
    let deadline = Instant::now() + LOCK_PATIENCE;
    let mut executor = wanted.to_owned();
    loop {
        let acquired = LeaseConnection::try_acquire(database, &executor, &incarnation, duration).await?;
        if let Some((connection, until)) = acquired {
            let (until, lease) = watch::channel(until);
            let identity = Identity { executor, incarnation };
            return Ok((identity, Keeper { connection, until, duration }, Lease(lease)));
        }
        if Instant::now() < deadline && executor == wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        executor = format!("{wanted}-{}", &Incarnation::fresh().as_str()[..6]);
        tracing::warn!("a living host is the executor `{wanted}`; this one is `{executor}`");
    }
}

impl Keeper {
    /// Renews the lease for ever, three times in its duration. Returns only when another process has taken the identity.
    pub async fn keep(&mut self, database: &Database) {
        let mut backoff = Backoff::new("renew the lease");
        loop {
            tokio::time::sleep(self.duration / 3).await;
            failpoint::hit("lease.before_renewal").await;
            loop {
                match self.connection.renew().await {
                    Ok(Renewal::Until(until)) => {
                        self.until.send_replace(until);
                        backoff = Backoff::new("renew the lease");
                        break;
                    }
                    Ok(Renewal::Superseded) => return,
                    Err(error) => {
                        backoff.wait(&error).await;
                        if let Err(error) = self.connection.reconnect(database).await {
                            tracing::debug!("cannot connect for the lease: {error}");
                        }
                    }
                }
            }
        }
    }

    /// Continues as another executor, after the identity was taken.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn become_another(&mut self, database: &Database, old: &str) -> Result<Identity, DatabaseError> {
        let (identity, keeper, lease) = acquire(database, &another(old), self.duration).await?;
        self.connection = keeper.connection;
        self.until.send_replace(*lease.0.borrow());
        Ok(identity)
    }

    /// Ends the lease, so that others take what is left without waiting.
    pub async fn release(&self) {
        if let Err(error) = self.connection.release().await {
            tracing::debug!("the lease could not be ended: {error}; it runs out by itself");
        }
    }
}

fn another(old: &str) -> String {
    format!("{old}-{}", &Incarnation::fresh().as_str()[..6])
}

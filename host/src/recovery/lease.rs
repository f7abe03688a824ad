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

    /// True when the lease holds now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        Instant::now() < *self.0.borrow()
    }
}

/// Keeps the lease (lifetime: the process).
#[derive(Debug)]
pub struct Keeper {
    connection: LeaseConnection,
    until: watch::Sender<Instant>,
    duration: Duration,
    /// The incarnation that is being begun.
    next: Option<Incarnation>,
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
            return Ok((identity, Keeper { connection, until, duration, next: None }, Lease(lease)));
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
    /// Renews the lease for ever, three times in its duration. Where this process cannot go on as who it was, it becomes
    /// somebody else: `changed` is told before anybody may rely on the lease again.
    ///
    /// A lease that lapsed, because the process was stopped or the database away, is not simply renewed. Others may have
    /// taken runs in the meantime, ended them, and recorded effects that an instance here is about to begin. So it starts
    /// a new incarnation, whose claims are new: every run that is still here is claimed again and replayed, and the
    /// instances of the old one begin nothing.
    pub async fn keep(&mut self, database: &Database, changed: impl Fn(Identity)) {
        let mut backoff = Backoff::new("renew the lease");
        loop {
            tokio::time::sleep(self.duration / 3).await;
            failpoint::hit("lease.before_renewal").await;
            while let Err(error) = self.renew(database, &changed).await {
                backoff.wait(&error).await;
                if let Err(error) = self.connection.reconnect(database).await {
                    tracing::debug!("cannot connect for the lease: {error}");
                }
            }
            backoff = Backoff::new("renew the lease");
        }
    }

    async fn renew(&mut self, database: &Database, changed: &impl Fn(Identity)) -> Result<(), DatabaseError> {
        let lapsed = Instant::now() >= *self.until.borrow();
        if !lapsed
            && let Renewal::Until(until) = self.connection.renew().await?
            // The answer may have come so late that the lease was over in the meantime.
            && Instant::now() < *self.until.borrow()
        {
            self.until.send_replace(until);
            return Ok(());
        }
        let executor = self.connection.executor().to_owned();
        // The same one if the answer to the last try was lost: it may have landed.
        let incarnation = self.next.get_or_insert_with(Incarnation::fresh).clone();
        if let Some(until) = self.connection.reincarnate(&incarnation).await? {
            tracing::warn!("the lease of the executor `{executor}` lapsed; its workflows are claimed anew");
            self.next = None;
            changed(Identity { executor, incarnation });
            self.until.send_replace(until);
            return Ok(());
        }
        tracing::error!("another process has become the executor `{executor}`; its workflows are run there");
        let (identity, keeper, lease) = acquire(database, &another(&executor), self.duration).await?;
        tracing::warn!("this host is the executor `{}` now", identity.executor);
        self.connection = keeper.connection;
        changed(identity);
        self.until.send_replace(*lease.0.borrow());
        Ok(())
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

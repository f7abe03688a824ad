//! Connecting to the system database, and trying again when it is away.

use std::time::Duration;

use deadpool_postgres::{Hook, HookError, ManagerConfig, Pool, RecyclingMethod, Runtime};

use super::error::DatabaseError;
use super::url::{ConnectError, DatabaseUrl};

/// Connections for reads of the system database. Few: one statement each, never held while a guest runs.
const SYSTEM_POOL_SIZE: usize = 4;

/// How long the first connection may take until its first answer. The driver limits only the opening of a connection,
/// and something that listens and is no Postgres would leave a host waiting for ever, without a word.
pub(super) const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// On every connection of the host's own login: names that are not qualified are found in `pg_catalog` and nowhere else.
/// Guests may create functions and operators in `public`, and one with the exact types of an expression would win over the
/// system's: a host that looked there would run a guest's code with its own rights. Not as a start-up option, which
/// poolers refuse.
///
/// And nothing is compiled: the host's statements touch few rows each, whatever the planner fears, and making machine code
/// of one takes the server longer than running it ten times.
///
/// And a commit is a commit only when it is on disk, and fences are made for READ COMMITTED, also in a statement that is a
/// transaction by itself: whatever the role or the database has as its default.
const HOST_SETTINGS: &str = "SET search_path = pg_catalog; SET jit = off; SET synchronous_commit = on; \
     SET default_transaction_isolation = 'read committed'";

/// On the connections of the pool as well: there are few, and one that waits for hours for a row that somebody else has locked
/// is one that others get next, when whoever asked has gone.
const POOL_SETTINGS: &str = "SET lock_timeout = '10s'";

/// The system database (lifetime: the process): where it is, and a small pool for reads.
#[derive(Clone, Debug)]
pub struct Database {
    url: DatabaseUrl,
    pool: Pool,
}

impl Database {
    /// Connects once, to find out now and not later that it cannot be done.
    ///
    /// # Errors
    /// [`ConnectError::Tls`] or [`ConnectError::Unreachable`] with what the server said.
    pub async fn connect(url: DatabaseUrl) -> Result<Self, ConnectError> {
        let pool = pool(&url, SYSTEM_POOL_SIZE);
        let first = async {
            let client = url.connect().await?;
            client.simple_query("SELECT 1").await
        };
        match tokio::time::timeout(FIRST_ANSWER, first).await {
            Ok(Ok(_)) => Ok(Self { url, pool }),
            Ok(Err(error)) => Err(ConnectError::of(&url, error)),
            Err(_) => Err(ConnectError::silent(&url, FIRST_ANSWER)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// A connection of the pool. Statements prepared on it are kept.
    pub(super) async fn client(&self) -> Result<deadpool_postgres::Client, DatabaseError> {
        self.pool.get().await.map_err(flatten)
    }

    /// A connection of its own.
    pub(super) async fn own_client(&self) -> Result<tokio_postgres::Client, DatabaseError> {
        let client = self.url.connect().await?;
        client.batch_execute(HOST_SETTINGS).await?;
        Ok(client)
    }
}

/// The pool adds errors of its own, none of which can occur as it is configured: no time-outs, never closed.
fn flatten(error: deadpool_postgres::PoolError) -> DatabaseError {
    match error {
        deadpool_postgres::PoolError::Backend(error)
        | deadpool_postgres::PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
        other => unreachable!("a pool without time-outs and hooks failed with: {other}"),
    }
}

/// A pool of connections that are reset by nothing: only the host's own single statements run on them.
fn pool(url: &DatabaseUrl, size: usize) -> Pool {
    let manager = url.manager(ManagerConfig { recycling_method: RecyclingMethod::Fast });
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move {
                let settings = format!("{HOST_SETTINGS}; {POOL_SETTINGS}");
                client.batch_execute(&settings).await.map_err(HookError::Backend)
            })
        }))
        .build()
        .expect("a pool without time-outs needs nothing that could be missing")
}

/// Waiting between attempts to reach the database: 50 ms, doubled up to 5 s, each with up to half of jitter so that
/// many runs do not come back at the same instant. Says so once, and again every half minute.
#[derive(Debug)]
pub struct Backoff {
    what: &'static str,
    next: Duration,
    told: Option<std::time::Instant>,
}

impl Backoff {
    /// A fresh one for an operation, named as it stands after "cannot".
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, next: Duration::from_millis(50), told: None }
    }

    /// Waits after `error`.
    pub async fn wait(&mut self, error: &(dyn std::error::Error + Sync)) {
        if self.told.is_none_or(|told| told.elapsed() > Duration::from_secs(30)) {
            self.told = Some(std::time::Instant::now());
            tracing::warn!("cannot {}: {error}; trying again until it works", self.what);
        }
        let jitter = f64::from(u32::from(uuid::Uuid::new_v4().as_bytes()[0])) / 512.0;
        tokio::time::sleep(self.next.mul_f64(1.0 + jitter)).await;
        self.next = (self.next * 2).min(Duration::from_secs(5));
    }
}

/// Asks until the database answers, however long it is away: a failure of it is nobody's but its own. `what` is the
/// question, as it stands after "cannot".
pub async fn until_answered<T, E, F>(what: &'static str, mut ask: impl FnMut() -> F) -> T
where
    E: std::error::Error + Sync,
    F: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::new(what);
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => backoff.wait(&error).await,
        }
    }
}

//! Connecting to the system database, and trying again when it is away.

use std::fmt;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;

use super::error::DatabaseError;

/// Connections for reads of the system database. Few: one statement each, never held while a guest runs.
const SYSTEM_POOL_SIZE: usize = 4;

/// On every connection of the host's own login: names that are not qualified are found in `pg_catalog` and nowhere else.
/// Guests may create functions and operators in `public`, and one with the exact types of an expression would win over the
/// system's: a host that looked there would run a guest's code with its own rights. Not as a start-up option, which
/// poolers refuse.
const HOST_SETTINGS: &str = "SET search_path = pg_catalog";

/// Where the database is and who logs in. Holds a password, so it shows neither in debug output nor in errors.
#[derive(Clone)]
pub struct DatabaseUrl(pub(super) tokio_postgres::Config);

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The text is not a connection string.
    #[error("`database_url` is not valid: {0}\n  hint: write it as postgresql://user:password@host:5432/database")]
    Malformed(String),
    /// What the connection string asks for is not supported.
    #[error(
        "`database_url` asks for `sslmode={0}`, which this version does not support\n  hint: use a Unix socket or a tunnel, and `sslmode=disable`"
    )]
    Tls(&'static str),
    /// The server did not let us in.
    #[error("cannot connect to the database at {place}: {reason}")]
    Unreachable {
        /// Host, port and database, without user and password.
        place: String,
        /// What the server or the network said.
        reason: String,
    },
}

impl DatabaseUrl {
    /// Reads a connection string, as a URL or as `key=value` pairs.
    ///
    /// # Errors
    /// When it cannot be read. The error never repeats the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, ConnectError> {
        let mut config: tokio_postgres::Config =
            text.parse().map_err(|error: tokio_postgres::Error| ConnectError::Malformed(malformed(&error)))?;
        check_hosts(&config)?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(ConnectError::Tls("require"));
        }
        config.ssl_mode(SslMode::Disable);
        Ok(Self(with_defaults(config)))
    }

    /// A server on a Unix socket in `folder`, as a local Postgres is.
    #[must_use]
    pub fn unix_socket(folder: &std::path::Path, user: &str, database: &str) -> Self {
        let mut config = tokio_postgres::Config::new();
        config.host_path(folder).user(user).dbname(database).ssl_mode(SslMode::Disable);
        Self(with_defaults(config))
    }

    /// Host, port and database for people; no user, no password.
    #[must_use]
    pub fn place(&self) -> String {
        use tokio_postgres::config::Host;
        let host = match self.0.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".into(),
        };
        let port = self.0.get_ports().first().copied().unwrap_or(5432);
        format!("{host}:{port}/{}", self.0.get_dbname().unwrap_or("postgres"))
    }

    /// A connection string for another program (`psql`, a migration tool), with the password if there is one.
    #[must_use]
    pub fn to_url_for(&self, login: Option<(&str, &str)>) -> String {
        use tokio_postgres::config::Host;
        let encode = |text: &str| -> String {
            text.bytes()
                .map(|b| match b {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
                    other => format!("%{other:02X}"),
                })
                .collect()
        };
        let own_password = String::from_utf8_lossy(self.0.get_password().unwrap_or_default()).into_owned();
        let (user, password) = login.unwrap_or((self.0.get_user().unwrap_or("postgres"), &own_password));
        let secret = if password.is_empty() { String::new() } else { format!(":{}", encode(password)) };
        let host = match self.0.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => encode(&path.to_string_lossy()),
            None => "localhost".into(),
        };
        let port = self.0.get_ports().first().copied().unwrap_or(5432);
        let database = encode(self.0.get_dbname().unwrap_or("postgres"));
        format!("postgresql://{}{secret}@{host}:{port}/{database}", encode(user))
    }

    /// Opens one connection and the task that drives it. The task ends when the client is dropped.
    pub(super) async fn connect(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let (client, connection) = self.0.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %DatabaseError::from(error), "a database connection ended");
            }
        });
        Ok(client)
    }
}

fn with_defaults(mut config: tokio_postgres::Config) -> tokio_postgres::Config {
    config.application_name("dbos-host");
    if config.get_connect_timeout().is_none() {
        // Long enough for a server on the other side of the world, short enough to say soon that there is none.
        config.connect_timeout(Duration::from_secs(10));
    }
    if config.get_tcp_user_timeout().is_none() {
        // Data that nobody acknowledges for this long means that the other side is gone, not slow.
        config.tcp_user_timeout(Duration::from_secs(30));
    }
    // A server that vanished without a word is noticed within half a minute, also by a connection that only waits.
    config.keepalives_idle(Duration::from_secs(10)).keepalives_interval(Duration::from_secs(5)).keepalives_retries(3);
    config
}

/// What the parser says, where it cannot be a piece of a password: a password with an `&`, a `?` or a space goes on where
/// the parser expects an option, and is quoted as an unknown one.
fn malformed(error: &dyn std::error::Error) -> String {
    match error.source().map(ToString::to_string) {
        Some(told) if told.starts_with("invalid value for option") => told,
        _ => "it has something that is no option, or no value of one; in a password, what is neither letter nor digit is \
              written as `%` and two hexadecimal digits"
            .to_owned(),
    }
}

/// A password with an `@` that is not encoded goes on in the host, which errors and the log show.
fn check_hosts(config: &tokio_postgres::Config) -> Result<(), ConnectError> {
    let has_an_at = |host: &tokio_postgres::config::Host| match host {
        tokio_postgres::config::Host::Tcp(name) => name.contains('@'),
        tokio_postgres::config::Host::Unix(_) => false,
    };
    if config.get_hosts().iter().any(has_an_at) {
        return Err(ConnectError::Malformed("there are two `@`; in a password, it is written as `%40`".into()));
    }
    Ok(())
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.place())
    }
}

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
    /// [`ConnectError::Unreachable`] with what the server said.
    pub async fn connect(url: DatabaseUrl) -> Result<Self, ConnectError> {
        let pool = pool(&url, SYSTEM_POOL_SIZE);
        let unreachable = |reason: String| ConnectError::Unreachable { place: url.place(), reason };
        let client = url.connect().await.map_err(|e| unreachable(DatabaseError::from(e).to_string()))?;
        client.simple_query("SELECT 1").await.map_err(|e| unreachable(DatabaseError::from(e).to_string()))?;
        Ok(Self { url, pool })
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
    let manager = Manager::from_config(url.0.clone(), NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move { client.batch_execute(HOST_SETTINGS).await.map_err(HookError::Backend) })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_output_nor_errors_show_the_password() {
        let url = DatabaseUrl::parse("postgresql://app:s3cret@db.example:5433/orders").unwrap();
        assert_eq!(format!("{url:?}"), "DatabaseUrl(db.example:5433/orders)");
        let error = DatabaseUrl::parse("postgresql://app:s3cret@db.example:port/x").unwrap_err().to_string();
        assert!(!error.contains("s3cret") && error.contains("hint:"), "{error}");
    }

    #[test]
    fn a_url_for_another_program_is_encoded() {
        let url = DatabaseUrl::unix_socket(std::path::Path::new("/run/pg"), "postgres", "dbos");
        assert_eq!(url.to_url_for(None), "postgresql://postgres@%2Frun%2Fpg:5432/dbos");
        assert_eq!(url.to_url_for(Some(("app", "a/b"))), "postgresql://app:a%2Fb@%2Frun%2Fpg:5432/dbos");
    }

    #[test]
    fn tls_that_cannot_be_had_is_refused_not_ignored() {
        let error = DatabaseUrl::parse("postgresql://h/db?sslmode=require").unwrap_err().to_string();
        assert!(error.contains("sslmode=require"), "{error}");
    }
}

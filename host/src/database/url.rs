//! Where a database is, who logs in, and how a connection to it is opened.
//!
//! Every connection of the host is opened here, so that none can forget what the connection string says about TLS.

use std::fmt;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig};
use percent_encoding::utf8_percent_encode;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::connection_string::Split;
use super::error::DatabaseError;
use super::tls::{self, PLAIN, Tls, TlsError};
use crate::workflow::Code;

/// Where the database is and who logs in. Holds a password, so it shows neither in debug output nor in errors.
#[derive(Clone)]
pub struct DatabaseUrl {
    config: Config,
    tls: Tls,
}

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The text is not a connection string.
    #[error("`database_url` is not valid: {0}\n  hint: write it as postgresql://user:password@host:5432/database")]
    Malformed(String),
    /// What the connection string says about TLS cannot be done.
    #[error("`database_url` is not valid: {0}")]
    Options(#[from] TlsError),
    /// The two sides do not agree on TLS.
    #[error("TLS with the database at {place} failed: {reason}")]
    Tls {
        /// Host, port and database, without user and password.
        place: String,
        /// What is wrong, and on which side.
        reason: String,
    },
    /// There is a pooler in between that gives each transaction another session.
    #[error(
        "a pooler in transaction or statement mode is between this host and the database at {0}; advisory locks, settings and prepared \
         statements do not survive it\n  hint: use the address of the database itself, or a pool in session mode; your \
         provider may call it the direct connection"
    )]
    Pooler(String),
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
        let split = Split::of(text);
        let config: Result<Config, tokio_postgres::Error> = split.rest.parse();
        let mut config = config.map_err(|error| ConnectError::Malformed(malformed(&error)))?;
        check_hosts(&config)?;
        let tls = Tls::of(&split, &mut config)?;
        Ok(Self { config: with_defaults(config), tls })
    }

    /// A server on a Unix socket in `folder`, as a local Postgres is.
    #[must_use]
    pub fn unix_socket(folder: &std::path::Path, user: &str, database: &str) -> Self {
        let mut config = Config::new();
        config.host_path(folder).user(user).dbname(database);
        let tls = Tls::none(&mut config);
        Self { config: with_defaults(config), tls }
    }

    /// The same database for another login.
    pub(super) fn with_login(&self, user: &str, password: &str) -> Self {
        let mut other = self.clone();
        other.config.user(user).password(password);
        other
    }

    /// The name of the database.
    pub(super) fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or("postgres")
    }

    /// Host, port and database for people; no user, no password.
    #[must_use]
    pub fn place(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".into(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("{host}:{port}/{}", self.database())
    }

    /// A connection string for another program (`psql`, a migration tool), with the password if there is one.
    #[must_use]
    pub fn to_url_for(&self, login: Option<(&str, &str)>) -> String {
        let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let own_password = String::from_utf8_lossy(self.config.get_password().unwrap_or_default()).into_owned();
        let (user, password) = login.unwrap_or((self.config.get_user().unwrap_or("postgres"), &own_password));
        let secret = if password.is_empty() { String::new() } else { format!(":{}", encode(password)) };
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => encode(&path.to_string_lossy()),
            None => "localhost".into(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let (database, tls) = (encode(self.database()), self.tls.parameters());
        format!("postgresql://{}{secret}@{host}:{port}/{database}{tls}", encode(user))
    }

    /// Opens one connection and the task that drives it. The task ends when the client is dropped.
    pub(super) async fn connect(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.connector()).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %DatabaseError::from(error), "a database connection ended");
            }
        });
        Ok(client)
    }

    /// What opens the connections of a pool.
    pub(super) fn manager(&self, config: ManagerConfig) -> Manager {
        Manager::from_config(self.config.clone(), self.tls.connector(), config)
    }

    /// What the driver needs to know, TLS aside.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// What does TLS where the connection string asks for it.
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }
}

impl ConnectError {
    /// Why a connection could not be had.
    pub(super) fn of(url: &DatabaseUrl, error: tokio_postgres::Error) -> Self {
        let place = url.place();
        if let Some(reason) = tls::explain(&error) {
            return Self::Tls { place, reason };
        }
        if tls::wants_tls(&error) {
            let reason = DatabaseError::from(error);
            return Self::Tls {
                place,
                reason: format!("{reason}\n  hint: the server may want TLS: `sslmode=require`"),
            };
        }
        Self::Unreachable { place, reason: DatabaseError::from(error).to_string() }
    }

    /// For something that takes connections and says nothing.
    pub(super) fn silent(url: &DatabaseUrl, waited: Duration) -> Self {
        let reason = format!("it does not answer within {} s", waited.as_secs());
        Self::Unreachable { place: url.place(), reason }
    }

    /// The code that the error is looked up by.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Malformed(_) | Self::Options(_) => Code("configuration"),
            Self::Tls { .. } => Code("database_tls"),
            Self::Pooler(_) => Code("database_pooler"),
            Self::Unreachable { .. } => Code("database"),
        }
    }
}

fn with_defaults(mut config: Config) -> Config {
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
fn check_hosts(config: &Config) -> Result<(), ConnectError> {
    let has_an_at = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
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
    fn tls_is_a_matter_of_the_whole_url() {
        let url = DatabaseUrl::parse("postgres://h:1/d?sslmode=require").unwrap();
        assert_eq!(url.with_login("app", "p").to_url_for(None), "postgresql://app:p@h:1/d?sslmode=require");
        let error = DatabaseUrl::parse("postgres://u:s3cret@h/d?sslmode=strict").unwrap_err().to_string();
        assert!(error.contains("`sslmode` has a value") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_url_for_another_program_is_encoded() {
        let url = DatabaseUrl::unix_socket(std::path::Path::new("/run/pg"), "postgres", "dbos");
        assert_eq!(url.to_url_for(None), "postgresql://postgres@%2Frun%2Fpg:5432/dbos");
        assert_eq!(url.to_url_for(Some(("app", "a/b"))), "postgresql://app:a%2Fb@%2Frun%2Fpg:5432/dbos");
    }
}

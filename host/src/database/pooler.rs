//! Finding a pooler that gives each transaction another session.
//!
//! Problem: such a pooler (PgBouncer in transaction mode, and what cloud providers put before their databases) looks like
//! a Postgres, and everything seems to work. But the lock that shows that a host lives is taken on a session that the
//! next transaction of somebody else gets; a `SET` meets another session than the statement after it; a prepared
//! statement is there or not. A host that finds this out in the middle of its work has made promises already.
//!
//! No answer of a pooler tells its mode, so this looks at what it does. Connections that are open at the same time have
//! sessions of their own, unless somebody lends them out: then a session that one connection has used between two of its
//! transactions is held by another one, or a connection comes back from its pause with another session than before. Two
//! holders are enough for a pool that lends its sessions in turn as for one that lends the last returned first; a pool
//! that others use at the same time can only make the answer come sooner. A direct connection never looks like this.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::connection::{Database, FIRST_ANSWER};
use super::url::{ConnectError, DatabaseUrl};

/// How many connections hold a session while the first one asks for its own again.
const HOLDERS: usize = 2;

/// What tells sessions apart, on this server and from those of another one behind the same name. The process id alone
/// would not: it is small, and a host list may lead to several servers.
const SESSION: &str = "SELECT pg_catalog.concat_ws(' ', pg_catalog.pg_backend_pid(),
                              pg_catalog.pg_postmaster_start_time(), pg_catalog.inet_server_addr())";

impl Database {
    /// Makes sure that a connection has a session of its own for as long as it lives.
    ///
    /// # Errors
    /// [`ConnectError::Pooler`] when it has not.
    pub async fn check_sessions(&self) -> Result<(), ConnectError> {
        let lent = tokio::time::timeout(FIRST_ANSWER, are_sessions_lent(self.url()));
        match lent.await {
            Ok(Ok(false)) => Ok(()),
            Ok(Ok(true)) => Err(ConnectError::Pooler(self.url().place())),
            Ok(Err(error)) => Err(ConnectError::of(self.url(), error)),
            Err(_) => Err(ConnectError::silent(self.url(), FIRST_ANSWER)),
        }
    }
}

async fn are_sessions_lent(url: &DatabaseUrl) -> Result<bool, tokio_postgres::Error> {
    let asking = url.connect().await?;
    // All are open before the first is asked: a pooler may take a session for each login, which would be the next lent.
    // They stay open, and hold what they hold, until the question is answered.
    let mut holders = Vec::new();
    for _ in 0..HOLDERS {
        holders.push(url.connect().await?);
    }
    let own = session(&asking).await?;
    for holder in &holders {
        if let Err(error) = holder.simple_query("BEGIN").await {
            // Statement mode, which lends a session for one statement only, refuses transactions (class 08, the
            // protocol: Postgres itself never does).
            return if error.code().is_some_and(|code| code.code().starts_with("08")) { Ok(true) } else { Err(error) };
        }
        if session(holder).await? == own || session(&asking).await? != own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asked without a prepared statement, which would be what fails.
async fn session(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let answer = client.simple_query(SESSION).await?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::test_server::TestServer;
    use super::*;

    #[tokio::test]
    async fn a_server_lends_no_sessions() {
        let url = DatabaseUrl::unix_socket(TestServer::shared().folder(), "postgres", "postgres");
        assert!(!are_sessions_lent(&url).await.unwrap());
    }
}

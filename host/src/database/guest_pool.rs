//! The connections of an app on its own login, and how a guest's transaction begins.
//!
//! Problem: what one guest leaves behind in a session must not travel to the next one, and every round trip to the
//! database is paid for by each transaction. So a session is reset in the very message that ends a transaction, and BEGIN
//! goes out with the first statement's preparation. What could go wrong is that BEGIN fails and what is behind it takes effect
//! alone: so a guest's statement is executed only when the answer to BEGIN is there, and a session that is in no transaction
//! may only read.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};

use super::app_role::GuestLogin;
use super::connection::Database;
use super::error::DatabaseError;
use super::guest_connect::BoundedConnect;
use super::guest_patience::Patience;
use super::guest_session::GuestSession;
use super::url::DatabaseUrl;
use crate::workflow::Isolation;

/// Makes a session as if it were new: settings, roles, advisory locks, temporary tables, what it listens to, the values of
/// its sequences. Cursors are closed by the end of the transaction. Whatever begins without BEGIN may only read.
pub(super) const RESET: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
     SELECT pg_catalog.pg_advisory_unlock_all(); CLOSE ALL; DISCARD TEMP; DISCARD SEQUENCES; \
     SET default_transaction_read_only = on";

/// Connections of one app on its own login (lifetime: the process).
#[derive(Clone, Debug)]
pub struct GuestPool {
    pool: Pool,
    url: Arc<DatabaseUrl>,
    patience: Patience,
    host: Database,
}

impl GuestPool {
    /// A pool of at most `size` connections; they are opened when they are needed. A statement may take as long as
    /// `statement`, a whole transaction as long as `transaction`. `host` ends what the login itself can end no more.
    #[must_use]
    pub fn new(
        login: &GuestLogin,
        size: usize,
        (statement, transaction): (Duration, Duration),
        host: Database,
    ) -> Self {
        // `Fast`: a session was reset when its last transaction ended, or it is not given back.
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let url = Arc::new(login.url().clone());
        let manager = Manager::from_connect(url.config().clone(), BoundedConnect::to(&url), config);
        let reset = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async move { client.batch_execute(RESET).await.map_err(deadpool_postgres::HookError::Backend) })
        });
        let pool = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1).post_create(reset).build();
        let pool = pool.expect("a pool without time-outs needs nothing that could be missing");
        Self { pool, url, patience: Patience { statement, transaction }, host }
    }

    /// Makes a transaction, which begins with its first statement.
    ///
    /// # Errors
    /// When no connection can be had; the caller tries again.
    pub async fn begin(&self, isolation: Isolation, read_only: bool) -> Result<GuestSession, DatabaseError> {
        use deadpool_postgres::{HookError, PoolError};
        let client = match self.pool.get().await {
            Ok(client) => client,
            Err(PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error))) => {
                return Err(error.into());
            }
            Err(other) => unreachable!("a pool without time-outs failed with: {other}"),
        };
        let level = match isolation {
            Isolation::Serializable => "SERIALIZABLE",
            Isolation::RepeatableRead => "REPEATABLE READ",
            Isolation::ReadCommitted => "READ COMMITTED",
        };
        let access = if read_only { "READ ONLY" } else { "READ WRITE" };
        // Types that a rolled-back transaction made are remembered by numbers that may mean others now.
        client.clear_type_cache();
        // The SELECT takes the snapshot: from here on the guest cannot lower the isolation level any more.
        let settings = self.patience.settings();
        let sql = format!("BEGIN ISOLATION LEVEL {level} {access}; {settings}");
        Ok(GuestSession::new(client, Arc::clone(&self.url), sql, self.patience, self.host.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::guest_session::{Doom, Doomed, SessionEnd};
    use crate::database::test_server::TestServer;

    /// A pool with one connection, and the table `kept`, in a database of their own.
    async fn pool() -> (GuestPool, Database) {
        let database = TestServer::fresh_database().await;
        database.client().await.unwrap().batch_execute("CREATE TABLE public.kept (n int)").await.unwrap();
        let patience = (Duration::from_secs(10), Duration::from_secs(10));
        (GuestPool::new(&database.trusted_login(), 1, patience, database.clone()), database)
    }

    async fn kept(database: &Database) -> i64 {
        let client = database.client().await.unwrap();
        client.query_one("SELECT count(*) FROM public.kept", &[]).await.unwrap().get(0)
    }

    #[tokio::test]
    async fn a_statement_whose_transaction_was_not_begun_has_no_effect() {
        let (pool, database) = pool().await;
        let commits = "DO $$ BEGIN PERFORM set_config('default_transaction_read_only', 'off', false); COMMIT; \
                       INSERT INTO kept VALUES (1); END $$";
        for statement in ["INSERT INTO kept VALUES (1)", commits] {
            let client = pool.pool.get().await.unwrap();
            let begin = "BEGIN ISOLATION LEVEL WHATEVER".to_owned();
            let mut session = GuestSession::new(client, Arc::clone(&pool.url), begin, pool.patience, pool.host.clone());
            assert_eq!(session.execute(statement, "[]").await, Err(Doomed));
            let Some(Doom::NotBegun(reason)) = session.doom() else { panic!("{:?}", session.doom()) };
            assert!(reason.contains("WHATEVER") || reason.contains("whatever"), "{reason}");
            session.rollback().await;
            assert_eq!(kept(&database).await, 0, "{statement}");
        }
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_begins_is_not_the_statements_failure() {
        let (pool, _) = pool().await;
        let client = pool.pool.get().await.unwrap();
        // It does not answer, and does not let itself be cancelled, for longer than anybody waits here.
        let silent = "DO $$ DECLARE until timestamptz := clock_timestamp() + interval '8 s'; \
                      BEGIN WHILE clock_timestamp() < until LOOP \
                      BEGIN PERFORM pg_sleep(8); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$";
        let patience = Patience { statement: Duration::from_millis(100), ..pool.patience };
        let mut session = GuestSession::new(client, Arc::clone(&pool.url), silent.into(), patience, pool.host.clone());
        assert_eq!(session.query("SELECT 1", "[]").await, Err(Doomed));
        assert!(matches!(session.doom(), Some(Doom::NotBegun(_))) && session.stuck().is_none(), "{session:?}");
        session.rollback().await;
        assert_eq!(pool.pool.status().size, 0, "the connection serves nobody any more");
    }

    #[tokio::test]
    async fn a_transaction_begins_with_its_first_statement_and_leaves_nothing_behind() {
        let (pool, database) = pool().await;
        for n in 1..=3 {
            let mut session = pool.begin(Isolation::Serializable, false).await.unwrap();
            let level = session.query("SELECT current_setting('transaction_isolation') AS level", "[]").await;
            assert_eq!(level.unwrap().unwrap(), r#"[{"level":"serializable"}]"#);
            let left = "SELECT current_setting('work_mem') = '64kB' AS set, to_regclass('pg_temp.mine')::text AS made, \
                        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS locks";
            assert_eq!(session.query(left, "[]").await.unwrap().unwrap(), r#"[{"set":false,"made":null,"locks":0}]"#);
            for statement in [
                "SELECT set_config('work_mem', '64kB', false)",
                "SELECT set_config('default_transaction_read_only', 'off', false)",
                "CREATE TEMP TABLE mine (n int)",
                "SELECT pg_advisory_lock(7)",
                "INSERT INTO kept VALUES (1)",
            ] {
                session.execute(statement, "[]").await.unwrap().unwrap();
            }
            match n {
                2 => session.rollback().await,
                _ => assert_eq!(session.commit(None).await, SessionEnd::Committed),
            }
        }
        assert_eq!(kept(&database).await, 2);
        assert_eq!(pool.pool.status().size, 1, "it was one connection all the time");
        // In no transaction, it may only read.
        let client = pool.pool.get().await.unwrap();
        let error = client.batch_execute("INSERT INTO kept VALUES (1)").await.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("25006"));
    }

    #[tokio::test]
    async fn a_transaction_without_a_statement_costs_nothing_and_gives_its_connection_back() {
        let (pool, _) = pool().await;
        for _ in 0..3 {
            drop(pool.begin(Isolation::Serializable, false).await.unwrap());
            let session = pool.begin(Isolation::Serializable, true).await.unwrap();
            assert_eq!(session.commit(None).await, SessionEnd::Committed);
            pool.begin(Isolation::Serializable, false).await.unwrap().rollback().await;
        }
        assert_eq!(pool.pool.status().size, 1);
    }
}

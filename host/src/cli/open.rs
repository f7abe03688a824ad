//! Opening the database that a command works on: the configured one, or the local Postgres.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::config::{App, Config, RoleName, SqlLogin};
use super::exit::Exit;
use super::failure::Failure;
use super::progress::telling;
use crate::database::{ConnectError, Database, DatabaseUrl, GuestLogin, Readiness};
use crate::local_postgres::LocalPostgres;
use crate::workflow::AppName;

/// How often a running host looks whether its local Postgres still lives.
const LOOK_AFTER_LOCAL: Duration = Duration::from_secs(1);

/// A database that a command works on.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) database: Database,
    local: Option<Arc<LocalPostgres>>,
}

impl Opened {
    /// Opens the database; starts the local Postgres if there is no other.
    pub(crate) async fn open(config: &Config) -> Result<Self, Failure> {
        let Some(url) = &config.database_url else {
            let local = LocalPostgres::start(&config.state).await;
            let local = local.map_err(|e| Failure::to("start the local Postgres").because(e).exit(Exit::Database))?;
            let connection = local.connection();
            let url = DatabaseUrl::unix_socket(&connection.socket_folder, connection.user, connection.database);
            let database = Database::connect(url).await.map_err(not_open)?;
            return Ok(Self { database, local: Some(Arc::new(local)) });
        };
        let url = DatabaseUrl::parse(url.expose())
            .map_err(|error| Failure::to("read the configuration").because(error).exit(Exit::Configuration))?;
        let place = url.place();
        let opening = async {
            let database = Database::connect(url).await?;
            database.check_sessions().await?;
            Ok(database)
        };
        let database = telling(|| format!("connecting to the database at {place}"), opening).await;
        Ok(Self { database: database.map_err(not_open)?, local: None })
    }

    /// Opens a database that a host has made ready, for a command that only reads.
    pub(crate) async fn open_ready(config: &Config) -> Result<Self, Failure> {
        let opened = Self::open(config).await?;
        let readiness = opened.database.readiness().await;
        match readiness.map_err(|e| Failure::to("look at the database").because(e).exit(Exit::Database)) {
            Ok(Readiness::Ready) => Ok(opened),
            Ok(Readiness::NeedsMigration) => {
                opened.close().await?;
                Err(Failure::to("read the database")
                    .because("the system tables are missing or older than this program")
                    .hint("run `dbos-host migrate`")
                    .exit(Exit::Database))
            }
            Err(failure) => {
                opened.close().await?;
                Err(failure)
            }
        }
    }

    /// Brings the system tables up to date.
    pub(crate) async fn migrate(&self) -> Result<(), Failure> {
        let report = telling(|| "migrating the system tables".to_owned(), self.database.migrate()).await;
        let report = report.map_err(|e| Failure::to("migrate the system tables").because(e).exit(Exit::Database))?;
        if !report.applied.is_empty() {
            tracing::info!("migrated the system tables: {report}");
        }
        if report.is_foreign {
            tracing::warn!(
                "the tables of schema `dbos` belong to another role, and keep their settings\n  hint: have their owner run \
                 `ALTER TABLE dbos.workflow_status SET (fillfactor = 70)` and `CREATE INDEX dbos_host_unread ON \
                 dbos.notifications (destination_uuid, topic, created_at_epoch_ms, message_uuid) WHERE NOT consumed`"
            );
        }
        Ok(())
    }

    /// Checks that no two apps would have one role: what one may do, the other could do too.
    pub(crate) fn check_roles(&self, config: &Config) -> Result<(), Failure> {
        let mut owners: HashMap<String, &AppName> = HashMap::new();
        for app in &config.apps {
            let SqlLogin::Own(role) = &app.sql_login else { continue };
            let name = app.name()?;
            let role = self.database.role_of(name, role.as_ref().map(RoleName::as_str));
            if let Some(other) = owners.insert(role.clone(), name) {
                return Err(Failure::to("give each app a database role of its own")
                    .because(format!("`{role}` is the role of `{other}` and of `{name}`"))
                    .hint(format!("name another as `apps.{name}.database.role`"))
                    .exit(Exit::Configuration));
            }
        }
        Ok(())
    }

    /// The login that the app's SQL uses; makes its role if need be.
    pub(crate) async fn guest_login(&self, app: &App) -> Result<GuestLogin, Failure> {
        let role = match &app.sql_login {
            SqlLogin::Host => return Ok(self.database.trusted_login()),
            SqlLogin::Own(role) => role.as_ref().map(RoleName::as_str),
        };
        let name = app.name()?;
        let login = self.database.guest_login(name, role).await;
        let action = || Failure::to(format!("prepare the database role of `{name}`"));
        login.map_err(|error| action().because(error).exit(Exit::Database))
    }

    /// Where the database is, for the log.
    pub(crate) fn place(&self) -> String {
        match &self.local {
            Some(_) => format!("a local Postgres, socket in {}", self.database.url().place()),
            None => self.database.url().place(),
        }
    }

    /// Starts a local Postgres that has died again, for ever. Does nothing for any other database.
    pub(crate) fn look_after(&self) -> impl Future<Output = ()> + Send + use<> {
        let local = self.local.clone();
        async move {
            let Some(local) = local else { return };
            loop {
                tokio::time::sleep(LOOK_AFTER_LOCAL).await;
                if let Err(error) = local.revive().await {
                    tracing::error!("the local Postgres has died and cannot be started: {error}");
                }
            }
        }
    }

    /// Ends the work on the database; stops the local Postgres unless others use it. Whoever looked after it must have
    /// stopped before.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        drop(self.database);
        let Some(local) = self.local.and_then(Arc::into_inner) else { return Ok(()) };
        local.stop().await.map_err(|e| Failure::to("stop the local Postgres").because(e).exit(Exit::Database))
    }
}

fn not_open(error: ConnectError) -> Failure {
    let code = error.code();
    Failure::to("open the database").because(error).exit(Exit::Database).code(code)
}

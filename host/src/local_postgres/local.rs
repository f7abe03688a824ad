//! One host's use of the local Postgres, from its start to its end.

use std::path::{Path, PathBuf};

use super::create::create;
use super::error::LocalPostgresError;
use super::lock::{StartLock, UsersLock};
use super::machine::Machine;
use super::place::{PORT, Place};
use super::programs::Programs;
use super::server::{bring_up, shut_down};

/// The superuser of the cluster.
pub(super) const USER: &str = "postgres";

/// The database that everything is in.
pub(super) const DATABASE: &str = "dbos";

/// What a client needs to connect. There is no password: whoever can reach the socket may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The folder with the socket.
    pub socket_folder: PathBuf,
    /// The number in the socket's name. Nothing listens on that port.
    pub port: u16,
    /// The user, a superuser of this server.
    pub user: &'static str,
    /// The database.
    pub database: &'static str,
}

/// This host's use of the local Postgres of a state folder. It lives as long as the process.
///
/// Dropped without [`stop`](Self::stop), it leaves the server running, as a killed host does, and the next host uses it
/// again.
#[derive(Debug)]
#[must_use = "the server runs on until `stop`"]
pub struct LocalPostgres {
    place: Place,
    programs: Programs,
    users: UsersLock,
}

impl LocalPostgres {
    /// Starts the local Postgres of the state folder, or joins it if it runs. Folder, cluster and database are made if
    /// they are missing.
    ///
    /// When this returns, the server takes connections, and no other host stops it. If it does not return, there may be
    /// a server without a user; the next start uses it.
    pub async fn start(state_dir: &Path) -> Result<Self, LocalPostgresError> {
        Self::start_on(&Machine::usual(), state_dir).await
    }

    pub(super) async fn start_on(machine: &Machine, state_dir: &Path) -> Result<Self, LocalPostgresError> {
        Programs::must_exist(machine)?;
        let place = Place::prepare(state_dir, machine).await?;
        let lock = StartLock::take(&place.beside("lock")).await?;
        let users = UsersLock::join(&place.beside("users"), &lock)?;
        let data = place.data();
        let wanted = place.version_of_data();
        let programs = Programs::find(machine, place.account, wanted.map(|major| (major, data.as_path()))).await?;
        if wanted.is_none() {
            create(&place, &programs).await?;
        }
        let local = Self { place, programs, users };
        local.bring_up(&lock).await?;
        Ok(local)
    }

    /// How to connect.
    pub fn connection(&self) -> Connection {
        Connection { socket_folder: self.place.socket.clone(), port: PORT, user: USER, database: DATABASE }
    }

    /// Starts the server again if it has died, and does nothing if it lives. For a host that cannot connect any more:
    /// nobody else looks after this server. One that is dying at this very moment may still count as alive, so a host
    /// whose next attempt fails again calls this again.
    pub async fn revive(&self) -> Result<(), LocalPostgresError> {
        let lock = StartLock::take(&self.place.beside("lock")).await?;
        self.bring_up(&lock).await
    }

    /// Ends this host's use, and stops the server if nobody else uses it. Sessions that are still open are ended; what
    /// was committed is safe.
    pub async fn stop(self) -> Result<(), LocalPostgresError> {
        let lock = StartLock::take(&self.place.beside("lock")).await?;
        if !self.is_alone(&lock)? {
            tracing::debug!("leaving the local Postgres running: another host uses it");
            return Ok(());
        }
        tracing::info!("stopping the local Postgres");
        shut_down(&self.place, &self.programs).await
    }

    async fn bring_up(&self, lock: &StartLock) -> Result<(), LocalPostgresError> {
        let alone = self.is_alone(lock)?;
        bring_up(&self.place, &self.programs, alone).await
    }

    fn is_alone(&self, lock: &StartLock) -> Result<bool, LocalPostgresError> {
        self.users.is_alone(&self.place.beside("users"), lock)
    }

    /// The place, for tests that look behind the scenes.
    #[cfg(test)]
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The programs, for the same.
    #[cfg(test)]
    pub(super) fn programs(&self) -> &Programs {
        &self.programs
    }
}

//! Bringing the system database up to date, and asking whether it is.

use super::connection::Database;
use super::migration::{self, MigrationError, Readiness, Report};

impl Database {
    /// Migrates both schemas of the system database.
    ///
    /// # Errors
    /// If the database does not answer, or cannot be migrated: see [`MigrationError`].
    pub async fn migrate(&self) -> Result<Report, MigrationError> {
        let mut client = self.own_client().await.map_err(unreachable)?;
        migration::migrate(&mut client).await
    }

    /// Whether a host can work on the database; changes nothing.
    ///
    /// # Errors
    /// If the database does not answer, or is one that this host cannot work on.
    pub async fn readiness(&self) -> Result<Readiness, MigrationError> {
        let client = self.own_client().await.map_err(unreachable)?;
        migration::check(&client).await
    }
}

fn unreachable(cause: super::DatabaseError) -> MigrationError {
    MigrationError::Database { doing: "connect to the database".into(), cause }
}

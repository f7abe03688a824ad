//! Why a database cannot be migrated. Each text fits after "failed to" and ends with what to do.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::LOCK;
use super::plan::{DbosVersion, HostVersion};
use crate::database::DatabaseError;

/// Why a database cannot be migrated, or not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// An SDK made schema `dbos`, and an older one than this host needs. How it goes on from there is the SDK's to know:
    /// up to migration 99 each language has its own way.
    #[error(
        "use schema `dbos` at migration `{found}`, because this host needs `{needed}` or later\n\
         hint: run `dbos migrate` of a DBOS SDK that knows it (Python: 3.4.0 or later), then start again",
        needed = DbosVersion::NEEDED
    )]
    OldDbos {
        /// The version in the database.
        found: DbosVersion,
    },

    /// A newer host has migrated the database.
    #[error(
        "use schema `dbos_host` at migration `{found}`, because this host knows only those up to `{known}`\n\
         hint: run a dbos-host that is at least as new as the one that migrated this database"
    )]
    NewHost {
        /// The version in the database.
        found: HostVersion,
        /// The newest one in this program.
        known: HostVersion,
    },

    /// The database was made by another text of a migration than this host has.
    #[error(
        "use schema `dbos_host`, because its migration `{version}` is not the one of this host (the checksums differ)\n\
         hint: run the dbos-host that made this database, or start with an empty one"
    )]
    ChangedHost {
        /// The migration.
        version: HostVersion,
    },

    /// Another process held the migration lock all the time.
    #[error(
        "take the migration lock within {} s, because another process holds it\n\
         hint: wait until it has finished its migration, or find it by \
         `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK}`",
        .waited.as_secs()
    )]
    Locked {
        /// How long this process has tried.
        waited: Duration,
    },

    /// The database refused, or the connection was lost.
    #[error("{doing}: {cause}{}", hint(cause))]
    Database {
        /// What was being done.
        doing: String,
        /// What the database said.
        cause: DatabaseError,
    },
}

impl MigrationError {
    /// For `map_err`: names what the database was asked for.
    pub(super) fn while_doing(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        |error| Self::Database { doing, cause: error.into() }
    }
}

/// The refusal that people meet: a managed database whose role may not create schemas.
fn hint(cause: &DatabaseError) -> &'static str {
    if cause.sqlstate() == Some(SqlState::INSUFFICIENT_PRIVILEGE.code()) {
        "\nhint: the host's role needs CREATE on the database, or to own the schemas `dbos` and `dbos_host`"
    } else {
        ""
    }
}

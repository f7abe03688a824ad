//! What can go wrong with the local Postgres.
//!
//! The texts say what is the matter, so that they stand after "failed to start the local Postgres because"; a line that
//! begins with `hint: ` says what the reader can do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the local Postgres could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum LocalPostgresError {
    /// The machine has no PostgreSQL server programs.
    #[error(
        "PostgreSQL is not installed: `initdb`, `pg_ctl` and `postgres` are neither in PATH nor in \
         `{debian}/<version>/bin`\n\
         hint: install it (Debian and Ubuntu: `apt-get install postgresql`), or give another database with \
         `--database-url`"
    )]
    NoPrograms {
        /// Where Debian keeps the programs of each version.
        debian: PathBuf,
    },
    /// The data was written by a version of PostgreSQL that is not on the machine.
    #[error(
        "the data in `{data}` was made by PostgreSQL {wanted}, and this machine has {found}\n\
         hint: install that version (Debian and Ubuntu: `apt-get install postgresql-{wanted}`), or move the folder away \
         to begin with an empty database"
    )]
    OtherVersion {
        /// The cluster.
        data: PathBuf,
        /// The major version that made it.
        wanted: u32,
        /// The versions that were found, for people.
        found: String,
    },
    /// The host runs as root, and there is no user to run the server.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has no user `{name}` to run it\n\
         hint: `useradd --system {name}` makes one; or run as another user, or give another database with \
         `--database-url`"
    )]
    NoAccount {
        /// The user that was looked for.
        name: String,
    },
    /// The data belongs to a user that this process cannot act as.
    #[error(
        "`{home}` belongs to user number {owner}\n\
         hint: run as that user or as root, or choose another folder with `--state`"
    )]
    OtherOwner {
        /// The home of the server.
        home: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The user that owns the data cannot get to it.
    #[error(
        "user number {user}, who runs the server and owns `{home}`, may not pass the folders above it\n\
         hint: let others pass through them (`chmod o+x`), or choose another folder with `--state`"
    )]
    Unreachable {
        /// The home of the server.
        home: PathBuf,
        /// The user that the server runs as.
        user: u32,
    },
    /// A folder that must be private is not.
    #[error(
        "`{folder}` should be a folder of mode 0700 of user number {wanted}, but it is {found}\n\
         hint: look who made it, and remove it or correct its mode"
    )]
    UnsafeFolder {
        /// The folder.
        folder: PathBuf,
        /// The user that the server runs as.
        wanted: u32,
        /// What is there.
        found: String,
    },
    /// Other hosts use the server whose data are to be removed.
    #[error("a host that runs uses `{home}`")]
    InUse {
        /// The home of the server.
        home: PathBuf,
    },
    /// A server runs, other hosts use it, and its socket does not answer.
    #[error(
        "other hosts use the server, and nothing answers at its socket in `{socket}`\n\
         hint: stop the other hosts, then start again"
    )]
    Deaf {
        /// The socket folder.
        socket: PathBuf,
    },
    /// The server neither came up nor went away.
    #[error("the server is still {state} after {seconds} s\nhint: read `{home}/server.log`")]
    TooSlow {
        /// The home of the server.
        home: PathBuf,
        /// What it was doing when last seen.
        state: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// One of PostgreSQL's programs failed.
    #[error("`{program}` in `{folder}` {how}")]
    Program {
        /// Which one.
        program: &'static str,
        /// Where.
        folder: PathBuf,
        /// How it ended.
        how: String,
        /// What it printed, and what the server logged.
        #[source]
        said: Said,
    },
    /// The operating system refused something.
    #[error("it could not {action} `{path}`")]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

impl LocalPostgresError {
    /// For `map_err`: an error of the operating system with what was tried on which path.
    pub(super) fn system(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::System { action, path, cause }
    }
}

/// The words of another program, kept as they came.
#[derive(Debug)]
pub struct Said(pub(super) String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.trim().is_empty() { "it printed nothing" } else { self.0.trim() })
    }
}

impl std::error::Error for Said {}

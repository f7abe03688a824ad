//! An app's own migrations: `migrations/*.sql`, in the order of their names, once each.
//!
//! Each file runs in one transaction, under an advisory lock, on a session of the app's own login: the tables belong to
//! the app, and so do the triggers, defaults and checks on them, which a guest may have made and a file may set off. On a
//! session of the host they would run with the host's rights, whatever `SET ROLE` says: they can undo it.
//!
//! The app's login may not write the note that a file was applied. So the host writes it before the commit, with the number
//! of the transaction, and what became of that one says whether the note holds: also after a crash between the two.
//! A file that was changed after it was applied is an error: the database would no longer be what the files say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::error::ErrorPosition;

use super::app_role::GuestLogin;
use super::error::DatabaseError;
use crate::workflow::AppName;

/// What a run of the migrations did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AppMigrationReport {
    /// Files applied now.
    pub applied: Vec<String>,
    /// How many had been applied before.
    pub before: usize,
}

/// Migrations that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum AppMigrationError {
    /// The folder or a file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that was applied has other content now.
    #[error(
        "`{file}` was changed after it was applied\n  hint: restore it and put the change into a new file behind it"
    )]
    Changed {
        /// Its name.
        file: String,
    },
    /// A file failed. Nothing of it was applied.
    #[error("{place}: {message} (SQLSTATE {code}); nothing of this file was applied")]
    Failed {
        /// File, and line where it is known.
        place: String,
        /// What the server said.
        message: String,
        /// The class of the error.
        code: String,
    },
    /// A file ended its transaction.
    #[error(
        "`{file}` ends its own transaction (COMMIT or ROLLBACK); what it did before that is applied\n  hint: each file \
         is a transaction already; remove BEGIN, COMMIT and ROLLBACK, and undo by hand what is half done"
    )]
    OwnTransaction {
        /// Its name.
        file: String,
    },
    /// The server has forgotten what became of a transaction.
    #[error(
        "nobody knows whether `{file}` was applied: `migrate` was ended in its commit, too long ago\n  hint: if it was not, \
         delete its row from `dbos_host.app_migration`; if it was, set `transaction` there to null"
    )]
    InDoubt {
        /// Its name.
        file: String,
    },
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// How long to wait before the server is asked again what became of a transaction. It ends one whose client is gone.
const ASK_AGAIN: Duration = Duration::from_millis(100);

struct File {
    name: String,
    sql: String,
    checksum: String,
}

impl super::Database {
    /// Applies what is missing. When it returns, every file of the folder is applied, exactly once over any number of
    /// hosts. A folder that does not exist has no files.
    ///
    /// # Errors
    /// The first file that cannot be applied; those before it are.
    pub async fn migrate_app(
        &self,
        app: &AppName,
        login: &GuestLogin,
        folder: &Path,
    ) -> Result<AppMigrationReport, AppMigrationError> {
        let files = read(folder)?;
        let client = self.own_client().await?;
        // Held until this connection ends, so that a second `migrate` waits and then finds everything applied. The number
        // is this project's own, any that nobody else uses.
        client
            .execute("SELECT pg_advisory_lock(hashtextextended('dbos_host.app_migration', 0))", &[])
            .await
            .map_err(DatabaseError::from)?;
        let mut report = AppMigrationReport::default();
        for file in files {
            match settled(&client, app, &file.name).await? {
                Some(checksum) if checksum == file.checksum => report.before += 1,
                Some(_) => return Err(AppMigrationError::Changed { file: file.name }),
                None => {
                    apply(&client, login, app, &file).await?;
                    tracing::info!("applied migration `{}` of `{app}`", file.name);
                    report.applied.push(file.name);
                }
            }
        }
        Ok(report)
    }

    /// The files of the folder that are not applied yet.
    ///
    /// # Errors
    /// When the folder or the database cannot be read.
    pub async fn pending_app_migrations(&self, app: &AppName, folder: &Path) -> Result<Vec<String>, AppMigrationError> {
        let files = read(folder)?;
        let client = self.client().await?;
        let mut pending = Vec::new();
        for file in files {
            match noted(&client, app, &file.name).await? {
                Note::Applied(_) => {}
                Note::Nothing | Note::Unsettled(_) => pending.push(file.name),
            }
        }
        Ok(pending)
    }
}

fn read(folder: &Path) -> Result<Vec<File>, AppMigrationError> {
    let unreadable = |path: &Path, source| AppMigrationError::Unreadable { path: path.into(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder, error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let sql = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let checksum = Sha256::digest(sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            files.push(File { name, sql, checksum });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// What the database has about a file.
enum Note {
    Nothing,
    /// It was applied, with this checksum.
    Applied(String),
    /// Its transaction has not ended, was rolled back, or is forgotten (`None`).
    Unsettled(Option<String>),
}

async fn noted(client: &Client, app: &AppName, name: &str) -> Result<Note, DatabaseError> {
    let row = client
        .query_opt(
            "SELECT checksum, transaction IS NULL, pg_xact_status(transaction::xid8)
               FROM dbos_host.app_migration WHERE app = $1 AND name = $2",
            &[&app.as_str(), &name],
        )
        .await?;
    let Some(row) = row else { return Ok(Note::Nothing) };
    let (checksum, is_settled, status): (String, bool, Option<String>) = (row.get(0), row.get(1), row.get(2));
    Ok(if is_settled || status.as_deref() == Some("committed") {
        Note::Applied(checksum)
    } else {
        Note::Unsettled(status)
    })
}

/// The checksum with which a file was applied, when it is certain whether it was; the note says so then.
async fn settled(client: &Client, app: &AppName, name: &str) -> Result<Option<String>, AppMigrationError> {
    loop {
        match noted(client, app, name).await? {
            Note::Nothing => return Ok(None),
            Note::Applied(checksum) => {
                let sql = "UPDATE dbos_host.app_migration SET transaction = NULL WHERE app = $1 AND name = $2 AND transaction IS NOT NULL";
                client.execute(sql, &[&app.as_str(), &name]).await.map_err(DatabaseError::from)?;
                return Ok(Some(checksum));
            }
            Note::Unsettled(Some(status)) if status == "aborted" => {
                let sql = "DELETE FROM dbos_host.app_migration WHERE app = $1 AND name = $2";
                client.execute(sql, &[&app.as_str(), &name]).await.map_err(DatabaseError::from)?;
                return Ok(None);
            }
            Note::Unsettled(Some(_)) => tokio::time::sleep(ASK_AGAIN).await,
            Note::Unsettled(None) => return Err(AppMigrationError::InDoubt { file: name.into() }),
        }
    }
}

async fn apply(client: &Client, login: &GuestLogin, app: &AppName, file: &File) -> Result<(), AppMigrationError> {
    let database = |error: tokio_postgres::Error| AppMigrationError::Database(error.into());
    // A session of its own for each file: what one sets is not there in the next.
    let as_app = login.url().connect().await.map_err(database)?;
    as_app.batch_execute("BEGIN").await.map_err(database)?;
    let number = transaction_id(&as_app).await?;
    if let Err(error) = as_app.batch_execute(&file.sql).await {
        as_app.batch_execute("ROLLBACK").await.map_err(database)?;
        return Err(failed(file, error));
    }
    if transaction_id(&as_app).await? != number {
        as_app.batch_execute("ROLLBACK").await.map_err(database)?;
        return Err(AppMigrationError::OwnTransaction { file: file.name.clone() });
    }
    client
        .execute(
            "INSERT INTO dbos_host.app_migration (app, name, checksum, transaction) VALUES ($1, $2, $3, $4)",
            &[&app.as_str(), &file.name, &file.checksum, &number],
        )
        .await
        .map_err(database)?;
    let committed = as_app.batch_execute("COMMIT").await;
    // The commit may have been made although its answer was lost.
    match (settled(client, app, &file.name).await?, committed) {
        (Some(_), _) => Ok(()),
        (None, Err(error)) => Err(failed(file, error)),
        (None, Ok(())) => Err(AppMigrationError::OwnTransaction { file: file.name.clone() }),
    }
}

/// Named in full: the app's login decides itself where its session looks for names.
async fn transaction_id(client: &Client) -> Result<String, AppMigrationError> {
    let sql = "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text";
    let row = client.query_one(sql, &[]).await.map_err(DatabaseError::from)?;
    Ok(row.get(0))
}

fn failed(file: &File, error: tokio_postgres::Error) -> AppMigrationError {
    let Some(db) = error.as_db_error() else { return AppMigrationError::Database(error.into()) };
    let line = match db.position() {
        Some(ErrorPosition::Original(position)) => Some(line_of(&file.sql, *position)),
        _ => None,
    };
    let place = line.map_or_else(|| format!("`{}`", file.name), |line| format!("`{}` line {line}", file.name));
    AppMigrationError::Failed { place, message: db.message().into(), code: db.code().code().into() }
}

/// The line, from 1, of the character at `position`, from 1, as Postgres counts.
fn line_of(sql: &str, position: u32) -> usize {
    let before = usize::try_from(position.saturating_sub(1)).unwrap_or(usize::MAX);
    sql.chars().take(before).filter(|c| *c == '\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_position_is_counted_from_one() {
        assert_eq!(line_of("a\nb\nc", 1), 1);
        assert_eq!(line_of("a\nb\nc", 3), 2);
        assert_eq!(line_of("ä\nb\nc", 5), 3);
    }

    #[test]
    fn files_are_read_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["002_b.sql", "001_a.sql", "README.md"] {
            std::fs::write(folder.path().join(name), "SELECT 1").unwrap();
        }
        let names: Vec<_> = read(folder.path()).unwrap().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["001_a.sql", "002_b.sql"]);
        assert!(read(&folder.path().join("none")).unwrap().is_empty());
    }
}

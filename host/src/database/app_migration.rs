//! An app's own migrations: `migrations/*.sql`, in the order of their names, once each.
//!
//! Each file runs in one transaction with the note that it was applied, under an advisory lock, as the app's role: the
//! tables belong to the app. A file that was changed after it was applied is an error: the database would no longer be
//! what the files say.

use std::path::{Path, PathBuf};

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
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

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
        let as_app = login.url().connect().await.map_err(DatabaseError::from)?;
        let path = as_app.query_one("SELECT current_setting('search_path')", &[]).await.map_err(DatabaseError::from)?;
        let path: String = path.get(0);
        let mut report = AppMigrationReport::default();
        for file in files {
            match applied(&client, app, &file.name).await? {
                Some(checksum) if checksum == file.checksum => report.before += 1,
                Some(_) => return Err(AppMigrationError::Changed { file: file.name }),
                None => {
                    apply(&client, app, login, &path, &file).await?;
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
            if applied(&client, app, &file.name).await?.is_none() {
                pending.push(file.name);
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

async fn applied(client: &Client, app: &AppName, name: &str) -> Result<Option<String>, DatabaseError> {
    let row = client
        .query_opt("SELECT checksum FROM dbos_host.app_migration WHERE app = $1 AND name = $2", &[&app.as_str(), &name])
        .await?;
    Ok(row.map(|row| row.get(0)))
}

async fn apply(
    client: &Client,
    app: &AppName,
    login: &GuestLogin,
    path: &str,
    file: &File,
) -> Result<(), AppMigrationError> {
    let database = |error: tokio_postgres::Error| AppMigrationError::Database(error.into());
    client.batch_execute("BEGIN").await.map_err(database)?;
    let before = transaction_id(client).await?;
    // As the app would see it: its own role, and the path on which it finds its tables.
    client.execute("SELECT set_config('search_path', $1, true)", &[&path]).await.map_err(database)?;
    if let Some(role) = login.role() {
        let role = role.replace('"', "\"\"");
        client.batch_execute(&format!("SET LOCAL ROLE \"{role}\"")).await.map_err(database)?;
    }
    if let Err(error) = client.batch_execute(&file.sql).await {
        client.batch_execute("ROLLBACK").await.map_err(database)?;
        return Err(failed(file, error));
    }
    if transaction_id(client).await? != before {
        client.batch_execute("ROLLBACK").await.map_err(database)?;
        return Err(AppMigrationError::OwnTransaction { file: file.name.clone() });
    }
    client.batch_execute("RESET ROLE; SET LOCAL search_path = pg_catalog").await.map_err(database)?;
    client
        .execute(
            "INSERT INTO dbos_host.app_migration (app, name, checksum) VALUES ($1, $2, $3)",
            &[&app.as_str(), &file.name, &file.checksum],
        )
        .await
        .map_err(database)?;
    client.batch_execute("COMMIT").await.map_err(|error| failed(file, error))
}

async fn transaction_id(client: &Client) -> Result<String, AppMigrationError> {
    let row = client.query_one("SELECT pg_current_xact_id()::text", &[]).await.map_err(DatabaseError::from)?;
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

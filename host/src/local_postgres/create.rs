//! Makes the cluster, whole or not at all.
//!
//! `initdb` takes seconds, and a host may be killed at any of them. So the cluster is made under another name and
//! renamed when it is complete, with the database in it: where `data` exists, it is good. Whoever calls this holds the
//! start lock.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Stdio;

use super::error::LocalPostgresError;
use super::local::{DATABASE, USER};
use super::place::Place;
use super::programs::Programs;
use super::server::run;

/// How the names of clusters in the making begin.
pub(super) const UNFINISHED: &str = "unfinished-";

/// Makes the cluster of `place`. When this returns, `data` is complete and on disk; if it does not return, there is no
/// `data`, and the next host begins anew.
pub(super) async fn create(place: &Place, programs: &Programs) -> Result<(), LocalPostgresError> {
    let home = &place.home;
    tracing::info!("creating a local Postgres {} in `{}`", programs.major(), home.display());
    remove_unfinished(home);
    // A new name each time: an `initdb` that outlived its host may still be writing under the old one.
    let name = format!("{UNFINISHED}{}", uuid::Uuid::new_v4().simple());
    let mut initdb = place.account.command(&programs.program("initdb"), home);
    initdb.arg("--pgdata").arg(&name).arg(format!("--username={USER}"));
    // The folder of mode 0700 around the socket is the protection; there is no address that anybody could connect to.
    initdb.args(["--auth-local=trust", "--auth-host=reject"]);
    // Order by bytes, so that an upgrade of the machine's locales cannot break an index; but letters are Unicode's.
    initdb.args(["--encoding=UTF8", "--locale=C", "--lc-ctype=C.UTF-8", "--no-instructions"]);
    run(initdb, "initdb", home).await?;
    create_database(place, programs, &name).await?;
    let data = place.data();
    std::fs::rename(home.join(&name), &data).map_err(LocalPostgresError::system("create", &data))?;
    File::open(home).and_then(|folder| folder.sync_all()).map_err(LocalPostgresError::system("write", home))
}

/// Removes what interrupted attempts left. A rest that cannot be removed takes space and does no harm.
fn remove_unfinished(home: &Path) {
    for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
            && let Err(cause) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!("could not remove `{}`: {cause}", entry.path().display());
        }
    }
}

/// Makes the database before the server ever runs, with the single-user mode that `initdb` itself uses: no client
/// program is needed, and the database is there exactly if the cluster is.
async fn create_database(place: &Place, programs: &Programs, name: &str) -> Result<(), LocalPostgresError> {
    let home = &place.home;
    let mut command = place.account.command(&programs.program("postgres"), home);
    command.args(["--single", "-D", name, "-c", "exit_on_error=true", "postgres"]);
    // A file, not a pipe, so that there is nobody who could stop reading.
    let statement = tempfile::tempfile().and_then(|mut file| {
        writeln!(file, "CREATE DATABASE {DATABASE}")?;
        file.rewind()?;
        Ok(file)
    });
    command.stdin(Stdio::from(statement.map_err(LocalPostgresError::system("write a file for", home))?));
    run(command, "postgres --single", home).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unfinished_clusters_are_removed() {
        let home = tempfile::tempdir().unwrap();
        for name in ["unfinished-1/base", "unfinished-2", "data", "socket"] {
            std::fs::create_dir_all(home.path().join(name)).unwrap();
        }
        remove_unfinished(home.path());
        let mut left: Vec<_> =
            std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["data", "socket"]);
    }
}

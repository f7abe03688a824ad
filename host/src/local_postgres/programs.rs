//! Finds PostgreSQL's server programs.
//!
//! Debian keeps them out of PATH, in one folder for each major version. A cluster can only be opened by the major
//! version that made it, so an upgrade of the machine must not make the host pick a newer one for old data.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::LocalPostgresError;
use super::machine::Machine;

/// What a folder must hold to be of use.
const NEEDED: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// The programs of one version of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    folder: PathBuf,
    major: u32,
}

impl Programs {
    /// Fails on a machine without PostgreSQL. Asked first, so that a newcomer is told what to install before anything
    /// is created, and before the lack of a user `postgres` is noticed.
    pub(super) fn must_exist(machine: &Machine) -> Result<(), LocalPostgresError> {
        if candidates(machine.search_path.as_deref(), &machine.debian).is_empty() {
            return Err(LocalPostgresError::NoPrograms { debian: machine.debian.clone() });
        }
        Ok(())
    }

    /// Finds the programs that `account` can run: of version `wanted` if data of that version exists, else the ones in
    /// PATH (somebody chose them), else the newest of Debian's.
    pub(super) async fn find(
        machine: &Machine,
        account: Account,
        wanted: Option<(u32, &Path)>,
    ) -> Result<Self, LocalPostgresError> {
        let mut found = Vec::new();
        for folder in candidates(machine.search_path.as_deref(), &machine.debian) {
            if let Some(major) = ask_version(&folder.join("postgres"), account).await {
                found.push(Self { folder, major });
            }
        }
        match wanted {
            None => found.into_iter().next(),
            Some((major, data)) if !found.is_empty() => {
                let versions = found.iter().map(|programs| programs.major.to_string()).collect::<Vec<_>>().join(", ");
                let Some(programs) = found.into_iter().find(|programs| programs.major == major) else {
                    let data = data.to_owned();
                    return Err(LocalPostgresError::OtherVersion { data, wanted: major, found: versions });
                };
                Some(programs)
            }
            Some(_) => None,
        }
        .ok_or_else(|| LocalPostgresError::NoPrograms { debian: machine.debian.clone() })
    }

    /// The path of one of the programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The major version.
    pub(super) fn major(&self) -> u32 {
        self.major
    }
}

/// The folders that hold all programs, the preferred ones first.
fn candidates(search_path: Option<&OsStr>, debian: &Path) -> Vec<PathBuf> {
    let in_path = search_path.into_iter().flat_map(std::env::split_paths).filter_map(|folder| {
        // Distributions link single programs into PATH; the others are where the link points to.
        Some(folder.join("pg_ctl").canonicalize().ok()?.parent()?.to_owned())
    });
    let mut of_debian: Vec<(u32, PathBuf)> = std::fs::read_dir(debian)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    of_debian.sort_by_key(|(version, _)| std::cmp::Reverse(*version));

    let mut folders = Vec::new();
    for folder in in_path.chain(of_debian.into_iter().map(|(_, folder)| folder)) {
        if !folders.contains(&folder) && NEEDED.iter().all(|name| is_program(&folder.join(name))) {
            folders.push(folder);
        }
    }
    folders
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|seen| seen.is_file() && seen.permissions().mode() & 0o111 != 0)
}

/// The major version that `postgres --version` prints, or nothing if `account` cannot run it.
async fn ask_version(postgres: &Path, account: Account) -> Option<u32> {
    let output = account.command(postgres, Path::new("/")).arg("--version").output().await.ok()?;
    parse_version(std::str::from_utf8(&output.stdout).ok()?)
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` or `postgres (PostgreSQL) 19beta1`.
fn parse_version(text: &str) -> Option<u32> {
    let number = text.split_once("(PostgreSQL) ")?.1;
    let end = number.find(|character: char| !character.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a folder with programs that only know their version.
    fn install(folder: &Path, version: &str) {
        std::fs::create_dir_all(folder).unwrap();
        for name in NEEDED {
            let path = folder.join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho \"{name} (PostgreSQL) {version}\"\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    fn machine(root: &Path, search_path: &Path) -> Machine {
        Machine {
            search_path: Some(search_path.as_os_str().to_owned()),
            debian: root.join("debian"),
            shared: root.join("shared"),
            sockets: root.join("sockets"),
        }
    }

    const OWN: Account = Account::Own { uid: 0 };

    #[tokio::test]
    async fn the_newest_of_debians_versions_is_taken_by_number_not_by_letter() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "17"] {
            install(&root.path().join("debian").join(version).join("bin"), &format!("{version}.2 (Debian)"));
        }
        std::fs::remove_file(root.path().join("debian/17/bin/initdb")).unwrap();
        let machine = machine(root.path(), Path::new("/nowhere"));
        let found = Programs::find(&machine, OWN, None).await.unwrap();
        assert_eq!(found.major(), 15, "17 lacks `initdb`, and 9 is older");
        assert_eq!(found.program("pg_ctl"), root.path().join("debian/15/bin/pg_ctl"));
    }

    #[tokio::test]
    async fn path_goes_first_and_links_are_followed() {
        let root = tempfile::tempdir().unwrap();
        install(&root.path().join("debian/17/bin"), "17.0");
        install(&root.path().join("own"), "16devel");
        std::fs::create_dir(root.path().join("links")).unwrap();
        std::os::unix::fs::symlink(root.path().join("own/pg_ctl"), root.path().join("links/pg_ctl")).unwrap();
        let machine = machine(root.path(), &root.path().join("links"));
        assert_eq!(Programs::find(&machine, OWN, None).await.unwrap().major(), 16);
    }

    #[tokio::test]
    async fn old_data_gets_the_version_that_made_it() {
        let root = tempfile::tempdir().unwrap();
        install(&root.path().join("debian/15/bin"), "15.1");
        install(&root.path().join("debian/17/bin"), "17.1");
        let machine = machine(root.path(), Path::new("/nowhere"));
        let data = Path::new("/data");
        assert_eq!(Programs::find(&machine, OWN, Some((15, data))).await.unwrap().major(), 15);
        let error = Programs::find(&machine, OWN, Some((14, data))).await.unwrap_err().to_string();
        assert!(
            error.starts_with("the data in `/data` was made by PostgreSQL 14, and this machine has 17, 15\n"),
            "{error}"
        );
        assert!(error.contains("\nhint: install that version (Debian and Ubuntu: `apt-get install postgresql-14`)"));
    }

    #[tokio::test]
    async fn a_machine_without_postgres_is_told_what_to_install() {
        let root = tempfile::tempdir().unwrap();
        let machine = machine(root.path(), Path::new("/nowhere"));
        let error = Programs::find(&machine, OWN, None).await.unwrap_err();
        assert!(error.to_string().contains("\nhint: install it (Debian and Ubuntu: `apt-get install postgresql`)"));
        assert_eq!(Programs::must_exist(&machine).unwrap_err().to_string(), error.to_string());

        install(&root.path().join("debian/15/bin"), "15.1");
        Programs::must_exist(&machine).unwrap();
    }

    #[test]
    fn versions_of_all_sorts_are_read() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(parse_version("postgres (PostgreSQL) 16"), Some(16));
        assert_eq!(parse_version("something else 16"), None);
    }
}

//! The user that the server runs as.
//!
//! PostgreSQL refuses to run as root, and the data must belong to the user that runs it. So a host of an ordinary user
//! runs the server as that user, and a root host as whoever owns the data already, else as `postgres`.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::error::LocalPostgresError;

/// The number of the user root.
const ROOT: u32 = 0;

/// The user that the server runs as, and how to act as it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// The user that the host runs as.
    Own {
        /// Its number.
        uid: u32,
    },
    /// Another user, which root can become.
    Other {
        /// Its number.
        uid: u32,
        /// The number of its group.
        gid: u32,
    },
}

impl Account {
    /// The account for a home that belongs to `owner` (user, group), or that does not exist yet.
    pub(super) async fn choose(home: &Path, owner: Option<(u32, u32)>) -> Result<Self, LocalPostgresError> {
        let own = rustix::process::geteuid().as_raw();
        match owner {
            Some((uid, _)) if own != ROOT && uid != own => {
                Err(LocalPostgresError::OtherOwner { home: home.to_owned(), owner: uid })
            }
            _ if own != ROOT => Ok(Self::Own { uid: own }),
            Some((uid, gid)) if uid != ROOT => Ok(Self::Other { uid, gid }),
            // A home of root's own is one that a killed host had made but not yet handed over.
            _ => Self::named("postgres").await,
        }
    }

    async fn named(name: &str) -> Result<Self, LocalPostgresError> {
        match (ask_id("-u", name).await, ask_id("-g", name).await) {
            (Some(uid), Some(gid)) => Ok(Self::Other { uid, gid }),
            _ => Err(LocalPostgresError::NoAccount { name: name.to_owned() }),
        }
    }

    /// The number of the user.
    pub(super) fn uid(self) -> u32 {
        match self {
            Self::Own { uid } | Self::Other { uid, .. } => uid,
        }
    }

    /// A command that runs as this user in `folder`.
    ///
    /// It gets a process group of its own, so that a Ctrl-C for the host does not end it half-way, and no settings of
    /// PostgreSQL from the host's environment: a `PGPORT` there is meant for another server.
    pub(super) fn command(self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).process_group(0).env("LC_ALL", "C");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Whether the user can pass through `folder`. The user itself is asked, not the mode bits: access lists, mounts
    /// and the folders above have their say too.
    pub(super) async fn can_enter(self, folder: &Path) -> bool {
        let mut command = self.command(Path::new("test"), Path::new("/"));
        command.arg("-x").arg(folder).status().await.is_ok_and(|status| status.success())
    }

    /// Makes the folder if it is missing, readable for this user only.
    pub(super) fn make_folder(self, folder: &Path) -> Result<(), LocalPostgresError> {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};

        let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
        if let Err(cause) = made
            && cause.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(LocalPostgresError::system("create the folder", folder)(cause));
        }
        let seen = std::fs::symlink_metadata(folder).map_err(LocalPostgresError::system("look at", folder))?;
        if let Self::Other { uid, gid } = self
            && seen.is_dir()
            && seen.uid() == ROOT
        {
            lchown(folder, Some(uid), Some(gid)).map_err(LocalPostgresError::system("hand over", folder))?;
        }
        self.check_folder(folder)
    }

    /// Says whether the folder is what `make_folder` makes. Somebody else may have made it: a symbolic link, or a
    /// folder that others can read, would give the database away.
    fn check_folder(self, folder: &Path) -> Result<(), LocalPostgresError> {
        use std::os::unix::fs::MetadataExt;

        let seen = std::fs::symlink_metadata(folder).map_err(LocalPostgresError::system("look at", folder))?;
        let found = if !seen.is_dir() {
            "no folder".to_owned()
        } else if seen.uid() != self.uid() || seen.mode() & 0o077 != 0 {
            format!("a folder of mode {:04o} of user number {}", seen.mode() & 0o7777, seen.uid())
        } else {
            return Ok(());
        };
        Err(LocalPostgresError::UnsafeFolder { folder: folder.to_owned(), wanted: self.uid(), found })
    }
}

/// Asks the machine's user database, wherever it is kept, for the number of a user or of its group.
async fn ask_id(option: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([option, name]).stdin(Stdio::null()).output().await.ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn own() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[tokio::test]
    async fn root_runs_the_server_as_postgres_or_as_the_owner_of_the_data() {
        let home = Path::new("/home-of-the-server");
        let fresh = Account::choose(home, None).await.unwrap();
        let foreign = Account::choose(home, Some((12_345, 678))).await;
        if own() == ROOT {
            assert_eq!(ask_id("-u", "postgres").await, Some(fresh.uid()));
            assert_eq!(foreign.unwrap(), Account::Other { uid: 12_345, gid: 678 });
            assert_eq!(Account::choose(home, Some((ROOT, 0))).await.unwrap(), fresh);
        } else {
            assert_eq!(fresh, Account::Own { uid: own() });
            let refused = foreign.unwrap_err().to_string();
            assert!(refused.starts_with("`/home-of-the-server` belongs to user number 12345\nhint: "), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_user_that_does_not_exist_is_an_error_with_a_hint() {
        let error = Account::named("nobody-has-this-name").await.unwrap_err().to_string();
        assert!(error.contains("no user `nobody-has-this-name`") && error.contains("\nhint: `useradd"), "{error}");
    }

    #[test]
    fn a_folder_that_others_may_read_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("socket");
        let account = Account::Own { uid: own() };
        account.make_folder(&folder).unwrap();
        account.make_folder(&folder).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700);

        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o750)).unwrap();
        let error = account.make_folder(&folder).unwrap_err().to_string();
        assert!(error.contains(&format!("but it is a folder of mode 0750 of user number {}\n", own())), "{error}");
    }

    #[test]
    fn a_symbolic_link_is_no_folder() {
        let temporary = tempfile::tempdir().unwrap();
        let link = temporary.path().join("socket");
        std::os::unix::fs::symlink(temporary.path(), &link).unwrap();
        let error = Account::Own { uid: own() }.make_folder(&link).unwrap_err().to_string();
        assert!(error.contains("but it is no folder\n"), "{error}");
    }
}

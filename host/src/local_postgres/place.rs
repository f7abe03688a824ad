//! Decides where the server's home and its socket are.
//!
//! Both belong under the state folder, where a user expects them and removes them. Two things can be in the way. A root
//! host runs the server as another user, who cannot get into a folder such as `/root`. And the path of a Unix socket
//! may have 107 bytes at most, which a deep checkout exceeds.
//!
//! A home elsewhere gets a random name, which a file in the state folder remembers. A name made from the state folder's
//! path would bring removed data back after `rm -rf .dbos`, and lose them when the folder is moved.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::account::Account;
use super::error::LocalPostgresError;
use super::machine::Machine;

/// The file in the state folder that says where the home is, if it is elsewhere.
const POINTER: &str = "postgres-home";

/// The port that a socket's name is made from. Nothing listens on it.
pub(super) const PORT: u16 = 5432;

/// `sun_path` has 108 bytes on Linux, one of them for the zero at the end.
const LONGEST_SOCKET_PATH: usize = 107;

/// Where one local Postgres lives, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The folder that holds the cluster and the server's log. Absolute, without symbolic links.
    pub(super) home: PathBuf,
    /// The folder that holds the socket.
    pub(super) socket: PathBuf,
    /// The user that the server runs as, who owns both.
    pub(super) account: Account,
}

impl Place {
    /// Finds the place for a state folder, which is created if it is missing. When this returns, the home exists, is
    /// private to the account, and the account can get to it; so does the socket's folder.
    pub(super) async fn prepare(state: &Path, machine: &Machine) -> Result<Self, LocalPostgresError> {
        std::fs::create_dir_all(state).map_err(LocalPostgresError::system("create the folder", state))?;
        let state = state.canonicalize().map_err(LocalPostgresError::system("look at", state))?;
        let home = match read_pointer(&state)? {
            Some(home) => home,
            None => choose_home(&state, machine).await?,
        };
        let account = Account::choose(&home, owner(&home)?).await?;
        account.make_folder(&home)?;
        if !account.can_enter(&home).await {
            return Err(LocalPostgresError::Unreachable { home, user: account.uid() });
        }
        let socket = socket_folder(&home, account, machine);
        account.make_folder(&socket)?;
        Ok(Self { home, socket, account })
    }

    /// The place of a state folder that has one. Makes nothing.
    pub(super) async fn existing(state: &Path, machine: &Machine) -> Result<Option<Self>, LocalPostgresError> {
        let state = match state.canonicalize() {
            Ok(state) => state,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(LocalPostgresError::system("look at", state)(cause)),
        };
        let home = read_pointer(&state)?.unwrap_or_else(|| state.join("postgres"));
        let Some(owner) = owner(&home)? else { return Ok(None) };
        let account = Account::choose(&home, Some(owner)).await?;
        let socket = socket_folder(&home, account, machine);
        Ok(Some(Self { home, socket, account }))
    }

    /// The cluster.
    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The path of the socket that clients connect to.
    pub(super) fn socket_path(&self) -> PathBuf {
        socket_in(&self.socket)
    }

    /// A file beside the home, for locks: the account, which need not be the host's user, must not be able to put
    /// something else there.
    pub(super) fn beside(&self, extension: &str) -> PathBuf {
        self.home.with_extension(extension)
    }

    /// The major version of the data, if there are any.
    pub(super) fn version_of_data(&self) -> Option<u32> {
        std::fs::read_to_string(self.data().join("PG_VERSION")).ok()?.trim().parse().ok()
    }
}

/// The home under the state folder, unless the account of a new one could not reach it there.
async fn choose_home(state: &Path, machine: &Machine) -> Result<PathBuf, LocalPostgresError> {
    let usual = state.join("postgres");
    if owner(&usual)?.is_some() || Account::choose(&usual, None).await?.can_enter(state).await {
        return Ok(usual);
    }
    let shared = &machine.shared;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(shared)
        .map_err(LocalPostgresError::system("create the folder", shared))?;
    let chosen = shared.join(uuid::Uuid::new_v4().simple().to_string());
    let home = write_pointer(state, &chosen)?;
    tracing::info!(
        "the user who runs the local Postgres cannot get into `{}`, so its data go to `{}`",
        state.display(),
        home.display()
    );
    Ok(home)
}

/// In the home, if its path is short enough.
fn socket_folder(home: &Path, account: Account, machine: &Machine) -> PathBuf {
    let inside = home.join("socket");
    if fits_a_socket(&inside) { inside } else { machine.sockets.join(short_name(home, account)) }
}

/// Forgets where the home is; the next one is chosen anew.
pub(super) fn forget_pointer(state: &Path) -> Result<(), LocalPostgresError> {
    let pointer = state.join(POINTER);
    match std::fs::remove_file(&pointer) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(LocalPostgresError::system("remove", &pointer)(cause))
        }
        _ => Ok(()),
    }
}

fn read_pointer(state: &Path) -> Result<Option<PathBuf>, LocalPostgresError> {
    let pointer = state.join(POINTER);
    match std::fs::read_to_string(&pointer) {
        Ok(text) => Ok(Some(PathBuf::from(text.trim_end()))),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(LocalPostgresError::system("read", &pointer)(cause)),
    }
}

/// Remembers `chosen`, unless another host that starts at the same moment was faster; then its choice stands. The file
/// appears whole or not at all, so a crash leaves no half path.
fn write_pointer(state: &Path, chosen: &Path) -> Result<PathBuf, LocalPostgresError> {
    let pointer = state.join(POINTER);
    let failed = || LocalPostgresError::system("write", &pointer);
    let mut file = tempfile::NamedTempFile::new_in(state).map_err(failed())?;
    writeln!(file, "{}", chosen.display()).and_then(|()| file.as_file().sync_all()).map_err(failed())?;
    match file.persist_noclobber(&pointer) {
        Ok(_) => Ok(chosen.to_owned()),
        Err(refused) if refused.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Ok(read_pointer(state)?.unwrap_or_else(|| chosen.to_owned()))
        }
        Err(refused) => Err(failed()(refused.error)),
    }
}

/// Who owns the folder, if it exists: user and group.
fn owner(folder: &Path) -> Result<Option<(u32, u32)>, LocalPostgresError> {
    match std::fs::symlink_metadata(folder) {
        Ok(seen) => Ok(Some((seen.uid(), seen.gid()))),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(LocalPostgresError::system("look at", folder)(cause)),
    }
}

/// Whether the socket can live in this folder: its path is short enough, and the server's settings can name it. They
/// travel inside two sorts of quotes, so a path with quotes, backslashes or line breaks goes elsewhere instead.
fn fits_a_socket(folder: &Path) -> bool {
    let bytes = folder.as_os_str().as_bytes();
    let awkward = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'\'' | b'"' | b'\\');
    socket_in(folder).as_os_str().len() <= LONGEST_SOCKET_PATH
        && folder.to_str().is_some()
        && !bytes.iter().any(awkward)
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join(format!(".s.PGSQL.{PORT}"))
}

/// A short name that is always the same for this home, so that a second host finds the socket of the first.
fn short_name(home: &Path, account: Account) -> String {
    let digest = Sha256::digest(home.as_os_str().as_bytes());
    let hash = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("dbos-host-{}-{hash}", account.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_of_107_bytes_fits_and_one_more_does_not() {
        let name = "/.s.PGSQL.5432".len();
        let longest = format!("/{}", "d".repeat(107 - name - 1));
        assert!(fits_a_socket(Path::new(&longest)));
        assert!(!fits_a_socket(Path::new(&format!("{longest}d"))));
    }

    #[test]
    fn a_path_that_quotes_cannot_hold_does_not_fit() {
        assert!(fits_a_socket(Path::new("/home/me/My Projects, new/$HOME/ü")));
        for awkward in ["/a'b", "/a\"b", "/a\\b", "/a\nb"] {
            assert!(!fits_a_socket(Path::new(awkward)), "{awkward:?}");
        }
    }

    #[test]
    fn the_first_of_two_pointers_stands() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read_pointer(state.path()).unwrap(), None);
        let first = write_pointer(state.path(), Path::new("/one")).unwrap();
        let second = write_pointer(state.path(), Path::new("/two")).unwrap();
        assert_eq!((first.as_path(), second.as_path()), (Path::new("/one"), Path::new("/one")));
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 1, "no temporary file may stay");
    }
}

//! Where on this machine things are looked for and put. Only tests use other places than the usual ones.

use std::ffi::OsString;
use std::path::PathBuf;

/// The places outside the state folder that this module touches.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// The variable PATH.
    pub(super) search_path: Option<OsString>,
    /// Where Debian keeps the server programs, in `<version>/bin`: they are not in PATH there.
    pub(super) debian: PathBuf,
    /// Where a root host puts data that the user `postgres` could not reach under the state folder.
    pub(super) shared: PathBuf,
    /// Where the socket goes when the state folder's path is too long for one. Not `$TMPDIR`, which may be long too,
    /// and not `$XDG_RUNTIME_DIR`, which goes away when the user logs out while the server still runs.
    pub(super) sockets: PathBuf,
}

impl Machine {
    /// This machine.
    pub(super) fn usual() -> Self {
        Self {
            search_path: std::env::var_os("PATH"),
            debian: PathBuf::from("/usr/lib/postgresql"),
            shared: PathBuf::from("/var/lib/dbos-host"),
            sockets: PathBuf::from("/tmp"),
        }
    }
}

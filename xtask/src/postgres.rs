//! The PostgreSQL programs that a local database is made with.
//!
//! Debian's package does more than we want: it creates a cluster and starts it on the usual port. Nothing asked for
//! that, so it is told not to while it is installed here, and the machine's configuration is then as it was.
//!
//! This module must not know how a local database is made; `dbos-host` does that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{apt, shell};

/// All that a local database needs.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Debian keeps the server's programs out of the search path, in one folder for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Read by the package's scripts when they decide whether to create a cluster.
const SETTINGS: &str = "/etc/postgresql-common/createcluster.d";

/// When this returns, `dbos-host` finds the programs.
pub(crate) fn ensure() -> Result<()> {
    if is_there(Path::new(DEBIAN)) {
        return Ok(());
    }
    shell::say("PostgreSQL is missing: installing it");
    {
        let _no_cluster = if shell::is_root() { Some(NoCluster::set(Path::new(SETTINGS))?) } else { None };
        apt::install(&["postgresql"])?;
    }
    if !is_there(Path::new(DEBIAN)) {
        bail!("find `{}` in `PATH` or in `{DEBIAN}/*/bin` after installing PostgreSQL", PROGRAMS.join("`, `"));
    }
    Ok(())
}

fn is_there(debian: &Path) -> bool {
    let versions = fs::read_dir(debian).into_iter().flatten().filter_map(Result::ok);
    let complete = |folder: PathBuf| PROGRAMS.iter().all(|program| folder.join(program).is_file());
    PROGRAMS.iter().all(|program| shell::find_program(program).is_some())
        || versions.map(|version| version.path().join("bin")).any(complete)
}

/// While this lives, Debian's package creates no cluster.
struct NoCluster {
    file: PathBuf,
    /// The folders that did not exist before, the innermost first.
    created: Vec<PathBuf>,
}

impl NoCluster {
    fn set(folder: &Path) -> Result<Self> {
        let created = folder.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
        fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))?;
        let file = folder.join("dbos-host-xtask.conf");
        fs::write(&file, "create_main_cluster = false\n").with_context(|| format!("write `{}`", file.display()))?;
        Ok(Self { file, created })
    }
}

impl Drop for NoCluster {
    fn drop(&mut self) {
        // Nothing depends on this: what is left over only says that no cluster is to be created. A folder that the
        // package uses by now is not empty and stays.
        let _ = fs::remove_file(&self.file);
        for folder in &self.created {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_counts_only_with_all_its_programs() {
        let debian = tempfile::tempdir().unwrap();
        let programs = debian.path().join("15/bin");
        fs::create_dir_all(&programs).unwrap();
        // On a machine with the programs in the search path the question is answered before the folder is looked at.
        let elsewhere = is_there(&debian.path().join("nothing"));
        for program in PROGRAMS {
            assert_eq!(is_there(debian.path()), elsewhere);
            fs::write(programs.join(program), "").unwrap();
        }
        assert!(is_there(debian.path()));
    }

    #[test]
    fn the_setting_leaves_no_trace_but_what_others_use() {
        let etc = tempfile::tempdir().unwrap();
        let folder = etc.path().join("postgresql-common/createcluster.d");
        let setting = NoCluster::set(&folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("dbos-host-xtask.conf")).unwrap(), "create_main_cluster = false\n");
        fs::write(etc.path().join("postgresql-common/root.crt"), "").unwrap();
        drop(setting);
        assert!(!folder.exists());
        assert!(etc.path().join("postgresql-common/root.crt").exists());
    }
}

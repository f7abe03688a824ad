//! Removes the local Postgres with everything in it.
//!
//! A host may be killed in the middle of this as well, and a cluster of which half is gone must not be taken for a good
//! one. So the cluster first gets the name of one that was never finished, which every start sweeps away. The locks stay:
//! a lock on a file that is gone is one that nobody else sees.

use std::path::{Path, PathBuf};

use super::create::UNFINISHED;
use super::error::LocalPostgresError;
use super::lock::{StartLock, UsersLock};
use super::look::{Seen, look};
use super::machine::Machine;
use super::place::{Place, forget_pointer};
use super::programs::Programs;
use super::server::shut_down;

/// The local Postgres of a state folder, found but not started.
#[derive(Debug)]
pub struct LocalData {
    machine: Machine,
    state: PathBuf,
    place: Place,
}

impl LocalData {
    /// Looks for it. `None`: the state folder has none.
    pub async fn find(state: &Path) -> Result<Option<Self>, LocalPostgresError> {
        Self::find_on(Machine::usual(), state).await
    }

    pub(super) async fn find_on(machine: Machine, state: &Path) -> Result<Option<Self>, LocalPostgresError> {
        let place = Place::existing(state, &machine).await?;
        Ok(place.map(|place| Self { machine, state: state.to_owned(), place }))
    }

    /// The folder that holds all of it.
    pub fn home(&self) -> &Path {
        &self.place.home
    }

    /// How many bytes its files have, as far as this process can see them.
    pub fn bytes(&self) -> u64 {
        size(&self.place.home)
    }

    /// Stops the server and removes its home. `force`: even while hosts use it, which then have no database any more.
    ///
    /// When this returns, there is nothing left but the locks. If it does not return, the data are there, or the next
    /// start begins with an empty database.
    pub async fn remove(self, force: bool) -> Result<(), LocalPostgresError> {
        let place = &self.place;
        let lock = StartLock::take(&place.beside("lock")).await?;
        let users = UsersLock::join(&place.beside("users"), &lock)?;
        if !users.is_alone(&place.beside("users"), &lock)? && !force {
            return Err(LocalPostgresError::InUse { home: place.home.clone() });
        }
        // A server that a killed host left behind runs on. If none does, its programs may be gone from the machine.
        if !matches!(look(place).await?, Seen::Gone { .. }) {
            let data = place.data();
            let wanted = place.version_of_data().map(|major| (major, data.as_path()));
            let programs = Programs::find(&self.machine, place.account, wanted).await?;
            shut_down(place, &programs).await?;
        }
        let data = place.data();
        let unfinished = place.home.join(format!("{UNFINISHED}{}", uuid::Uuid::new_v4().simple()));
        match std::fs::rename(&data, &unfinished) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(LocalPostgresError::system("rename", &data)(cause));
            }
            _ => {}
        }
        std::fs::remove_dir_all(&place.home).map_err(LocalPostgresError::system("remove", &place.home))?;
        forget_pointer(&self.state)
    }
}

/// The bytes of the files below a folder; what cannot be seen, or goes away meanwhile, counts nothing.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        _ => entry.metadata().map_or(0, |seen| seen.len()),
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_state_folder_without_a_server_has_nothing_to_remove() {
        let state = tempfile::tempdir().unwrap();
        assert!(LocalData::find(state.path()).await.unwrap().is_none());
        assert!(LocalData::find(&state.path().join("none")).await.unwrap().is_none());
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0, "looking makes nothing");
    }

    #[tokio::test]
    async fn a_cluster_is_removed_but_not_from_under_a_host() {
        let state = tempfile::tempdir().unwrap();
        let home = state.path().join("postgres");
        std::fs::create_dir_all(home.join("data/base")).unwrap();
        std::fs::write(home.join("data/base/1"), "12345").unwrap();
        let found = || async { LocalData::find(state.path()).await.unwrap().unwrap() };
        let data = found().await;
        assert_eq!((data.home(), data.bytes()), (home.canonicalize().unwrap().as_path(), 5));

        let lock = StartLock::take(&home.with_extension("lock")).await.unwrap();
        let user = UsersLock::join(&home.with_extension("users"), &lock).unwrap();
        drop(lock);
        assert!(matches!(data.remove(false).await, Err(LocalPostgresError::InUse { .. })));
        assert!(home.join("data/base/1").exists());

        drop(user);
        found().await.remove(false).await.unwrap();
        assert!(!home.exists() && home.with_extension("lock").exists());
    }
}

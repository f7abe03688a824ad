//! The two locks that hosts which share a local Postgres take.
//!
//! * `postgres.lock` is held, exclusively and briefly, by whoever starts or stops the server: two hosts must not both
//!   make a cluster, and one must not stop the server while another is about to use it.
//! * `postgres.users` is held, shared, by each host for as long as it uses the server. Whoever can turn it into an
//!   exclusive lock is alone, and is the only one that may stop the server.
//!
//! They are `flock` locks: the kernel drops them when the process ends in whatever way, so a killed host blocks nobody.
//! The files are never removed, since a lock on a removed file is one that nobody else sees.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::error::LocalPostgresError;

/// Proof that nobody else starts or stops the server now.
#[derive(Debug)]
pub(super) struct StartLock {
    _file: File,
}

impl StartLock {
    /// Waits until the lock is free and takes it. A plain thread waits, which, unlike a blocking task, does not keep a
    /// program that was told to end from ending.
    pub(super) async fn take(path: &Path) -> Result<Self, LocalPostgresError> {
        let file = open(path)?;
        if try_lock(&file, FlockOperation::NonBlockingLockExclusive, path)? {
            return Ok(Self { _file: file });
        }
        tracing::info!("waiting for another host that is starting or stopping the local Postgres");
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let locked = loop {
                match flock(&file, FlockOperation::LockExclusive) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other,
                }
            };
            // An error means that nobody waits any more; the file, and with it the lock, is dropped.
            let _ = sender.send(locked.map(|()| file));
        });
        let locked = receiver.await.map_err(|_| io::Error::other("the thread that waits has gone"));
        let file = locked.and_then(|result| result.map_err(io::Error::from));
        Ok(Self { _file: file.map_err(LocalPostgresError::system("lock", path))? })
    }
}

/// This host's mark that it uses the server.
#[derive(Debug)]
pub(super) struct UsersLock {
    file: File,
}

impl UsersLock {
    /// Joins the users. The start lock keeps everybody else from trying to be alone at this moment.
    pub(super) fn join(path: &Path, _proof: &StartLock) -> Result<Self, LocalPostgresError> {
        let file = open(path)?;
        share(&file, path)?;
        Ok(Self { file })
    }

    /// Says whether this host is the only user. It is one afterwards, as before.
    pub(super) fn is_alone(&self, path: &Path, _proof: &StartLock) -> Result<bool, LocalPostgresError> {
        let alone = try_lock(&self.file, FlockOperation::NonBlockingLockExclusive, path)?;
        // Even a failed attempt gives the shared lock up. Nobody can use the gap: it takes the start lock to be alone.
        share(&self.file, path)?;
        Ok(alone)
    }
}

fn open(path: &Path) -> Result<File, LocalPostgresError> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(LocalPostgresError::system("open the lock", path))
}

fn share(file: &File, path: &Path) -> Result<(), LocalPostgresError> {
    if try_lock(file, FlockOperation::NonBlockingLockShared, path)? {
        return Ok(());
    }
    let cause = io::Error::other("another program holds it exclusively");
    Err(LocalPostgresError::system("lock", path)(cause))
}

/// Tries to take a lock without waiting; false if somebody else's is in the way.
fn try_lock(file: &File, operation: FlockOperation, path: &Path) -> Result<bool, LocalPostgresError> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(LocalPostgresError::system("lock", path)(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_user_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (lock, users) = (folder.path().join("lock"), folder.path().join("users"));
        let proof = StartLock::take(&lock).await.unwrap();
        let first = UsersLock::join(&users, &proof).unwrap();
        assert!(first.is_alone(&users, &proof).unwrap());
        let second = UsersLock::join(&users, &proof).unwrap();
        assert!(!first.is_alone(&users, &proof).unwrap());
        assert!(!second.is_alone(&users, &proof).unwrap(), "asking must not cost the first one its place");
        drop(first);
        assert!(second.is_alone(&users, &proof).unwrap());
    }

    #[tokio::test]
    async fn the_start_lock_is_handed_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = StartLock::take(&path).await.unwrap();
        let mut second = Box::pin(StartLock::take(&path));
        tokio::select! {
            biased;
            _ = &mut second => panic!("two hosts hold the start lock"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        second.await.unwrap();
    }
}

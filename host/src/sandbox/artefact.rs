//! Compiled components on disk, so that a restart does not compile again.
//!
//! Loading native code from a file is trusting whoever can write the file. So the folder belongs to this user and is closed
//! to everybody else, which is verified each time it is opened, and a file is taken only under a name that has the digest of
//! the component and wasmtime's own compatibility hash (version, settings, processor).

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::workflow::ComponentDigest;

/// A folder that cannot be used as a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made or looked at.
    #[error("cannot use the folder `{path}`: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else could put code there.
    #[error("the folder `{path}` {reason}, so somebody else could put code there\n  hint: remove it; it is made anew")]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A folder of compiled components (lifetime: the process).
#[derive(Debug, Clone)]
pub struct ArtefactCache {
    folder: PathBuf,
}

impl ArtefactCache {
    /// Opens the folder; makes it if it is missing.
    ///
    /// # Errors
    /// When it cannot be made, or others may write to it.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io { path: folder.into(), source };
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(error)),
        }
        // Not following links: a link would be somebody's way to choose the place.
        let found = fs::symlink_metadata(folder).map_err(io)?;
        let own = rustix::process::geteuid().as_raw();
        let reason = if !found.is_dir() {
            "is not a folder".into()
        } else if found.uid() != own {
            format!("belongs to user {} and not to user {own}", found.uid())
        } else if found.mode() & 0o077 != 0 {
            format!("has mode {:o} and not 700", found.mode() & 0o777)
        } else {
            return Ok(Self { folder: folder.into() });
        };
        Err(CacheError::Unsafe { path: folder.into(), reason })
    }

    fn path(&self, engine: &Engine, digest: &ComponentDigest) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
    }

    /// The component from the cache, or compiled and put there. A file that cannot be loaded is compiled again.
    ///
    /// # Errors
    /// When the bytes cannot be compiled.
    pub(super) fn load(&self, engine: &Engine, digest: &ComponentDigest, bytes: &[u8]) -> wasmtime::Result<Component> {
        let path = self.path(engine, digest);
        if path.exists() {
            match deserialize(engine, &path) {
                Ok(component) => return Ok(component),
                Err(error) => tracing::warn!("`{}` cannot be loaded and is made anew: {error}", path.display()),
            }
        }
        let component = Component::from_binary(engine, bytes)?;
        if let Err(error) = self.store(&path, &component.serialize()?) {
            tracing::warn!("cannot keep the compiled component in `{}`: {error}", path.display());
        }
        Ok(component)
    }

    /// Whole or not at all: a killed process leaves at most a temporary file.
    fn store(&self, path: &Path, artefact: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(artefact)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

#[expect(unsafe_code, reason = "wasmtime cannot verify native code; the folder's owner and mode are verified instead")]
fn deserialize(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by `store` from `Component::serialize`: `open` has verified that only this user can
    // write to the folder, and files get their name only when they are complete.
    unsafe { Component::deserialize_file(engine, path) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("cache");
        ArtefactCache::open(&folder).expect("a fresh folder");
        assert_eq!(fs::metadata(&folder).expect("it is there").mode() & 0o777, 0o700);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).expect("may change it");
        let error = ArtefactCache::open(&folder).expect_err("others may write").to_string();
        assert!(error.contains("mode 770") && error.contains("hint:"), "{error}");
    }

    #[test]
    fn a_link_is_refused() {
        let temporary = tempfile::tempdir().expect("a folder");
        let link = temporary.path().join("link");
        std::os::unix::fs::symlink(temporary.path(), &link).expect("a link");
        assert!(ArtefactCache::open(&link).expect_err("a link").to_string().contains("is not a folder"));
    }
}

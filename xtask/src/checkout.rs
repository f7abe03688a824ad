//! Several checkouts, one target folder.
//!
//! Cargo tells what is fresh by the names of a workspace's packages, which are the same in every checkout, and by the times
//! of its files. So after a build in one checkout, an older file of another one passes for built, and what is tested is not
//! what is there. Whoever builds in another checkout than the last one therefore marks its sources as new: the workspace's
//! own code is compiled again, its dependencies are not.

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::shell;

/// What is compiled, or read by something that is.
const SOURCES: [&str; 5] = ["md", "rs", "sql", "toml", "wit"];

/// Folders in which no sources are.
const NOT_SOURCES: [&str; 3] = [".dbos", ".git", "target"];

/// Makes `root` the checkout that builds into `target`.
pub(crate) fn claim(root: &Path, target: &Path) -> Result<()> {
    let note = target.join("checkout");
    let own = root.to_string_lossy();
    match fs::read_to_string(&note) {
        Ok(last) if last == own => return Ok(()),
        Ok(_) => {
            shell::say("another checkout was built here last; this one's own code is compiled again");
            renew(root)?;
        }
        // Nobody has built yet.
        Err(_) => {}
    }
    fs::create_dir_all(target).with_context(|| format!("create `{}`", target.display()))?;
    fs::write(&note, own.as_bytes()).with_context(|| format!("write `{}`", note.display()))
}

fn renew(folder: &Path) -> Result<()> {
    let unreadable = || format!("read `{}`", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let (path, kind) = (entry.path(), entry.file_type().with_context(unreadable)?);
        let name = entry.file_name();
        if kind.is_dir() && !NOT_SOURCES.iter().any(|other| name == *other) {
            renew(&path)?;
        } else if kind.is_file() && path.extension().is_some_and(|end| SOURCES.iter().any(|source| end == *source)) {
            let file = File::options().append(true).open(&path);
            let renewed = file.and_then(|file| file.set_modified(SystemTime::now()));
            renewed.with_context(|| format!("mark `{}` as new", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_sources_of_another_checkout_are_new_and_those_of_the_same_are_left_alone() {
        let folder = std::env::temp_dir().join(format!("checkout-{}", std::process::id()));
        let (target, old) = (folder.join("cache"), SystemTime::now() - Duration::from_secs(3600));
        let age = |root: &Path| {
            fs::create_dir_all(root.join("src")).unwrap();
            let source = root.join("src/lib.rs");
            File::create(&source).unwrap().set_modified(old).unwrap();
            source
        };
        let is_old = |path: &Path| fs::metadata(path).unwrap().modified().unwrap() <= old;
        let (first, second) = (folder.join("first"), folder.join("second"));
        let (source, other) = (age(&first), age(&second));
        claim(&first, &target).unwrap();
        claim(&first, &target).unwrap();
        assert!(is_old(&source), "the first checkout has nothing to fear");
        claim(&second, &target).unwrap();
        assert!(!is_old(&other) && is_old(&source));
        fs::remove_dir_all(&folder).unwrap();
    }
}

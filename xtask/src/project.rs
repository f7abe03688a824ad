//! Where the checkout is, and where things that outlive it are kept.
//!
//! CI and newcomers work in fresh clones. A target folder inside of the clone would cost them ten minutes of compiling
//! each time, so what is built lies in the user's cache folder, shared by all clones.
//!
//! This module must not know what is kept there, apart from the target folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{checkout, shell};

/// The checkout and the folders that belong to it. Lives as long as the process.
pub(crate) struct Project {
    /// The workspace's root.
    pub(crate) root: PathBuf,
    /// Everything that is kept between runs, and by all clones.
    pub(crate) cache: PathBuf,
    /// Cargo's target folder for the host and everything else that runs natively.
    pub(crate) target: PathBuf,
}

impl Project {
    pub(crate) fn locate() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the workspace");
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = cache_folder(variable("XDG_CACHE_HOME"), variable("HOME"))?;
        let target = target_folder(root, &cache, variable("CARGO_TARGET_DIR"));
        fs::create_dir_all(&cache).with_context(|| format!("create `{}`", cache.display()))?;
        checkout::claim(root, &target)?;
        Ok(Self { root: root.to_owned(), cache, target })
    }

    /// Cargo for the host's workspace.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = cargo_in(&self.root, &self.target);
        command.arg(subcommand);
        command
    }

    /// A program that cargo built in the development profile.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// Waits until no other run of ours works on `what`. The lock ends with the returned file, a killed process included.
    pub(crate) fn lock(&self, what: &str) -> Result<File> {
        let path = self.cache.join(format!("{what}.lock"));
        let file = File::create(&path).with_context(|| format!("create `{}`", path.display()))?;
        if file.try_lock().is_err() {
            shell::say(&format!("waiting for another run that prepares the {what} …"));
            file.lock().with_context(|| format!("lock `{}`", path.display()))?;
        }
        Ok(file)
    }
}

/// Cargo in `folder`, without the variables that `cargo run` set for this program: they name a cargo that need not be the
/// one of the toolchain that is asked for, and a package that is not the one that is built.
pub(crate) fn cargo_in(folder: &Path, target: &Path) -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "CARGO" || text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.current_dir(folder).env("CARGO_TARGET_DIR", target);
    command
}

/// The same command with another program: arguments, variables and folder are taken over.
pub(crate) fn with_program(template: &Command, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(template.get_args());
    for (name, value) in template.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(folder) = template.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

fn cache_folder(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf> {
    // The XDG rules say that a relative path is to be ignored.
    let base = xdg.filter(|path| path.is_absolute()).or_else(|| Some(home?.join(".cache")));
    Ok(base.context("find a cache folder: neither `XDG_CACHE_HOME` nor `HOME` is set")?.join("dbos-host"))
}

/// Cargo takes a relative target folder from where it is started; we start it in several folders.
fn target_folder(root: &Path, cache: &Path, configured: Option<PathBuf>) -> PathBuf {
    configured.map_or_else(|| cache.join("target"), |path| root.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_xdg_rules_put_it() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(cache_folder(path("/x"), path("/home/me")).unwrap(), Path::new("/x/dbos-host"));
        assert_eq!(cache_folder(path("x"), path("/home/me")).unwrap(), Path::new("/home/me/.cache/dbos-host"));
        assert_eq!(cache_folder(None, path("/home/me")).unwrap(), Path::new("/home/me/.cache/dbos-host"));
        assert!(cache_folder(None, None).is_err());
    }

    #[test]
    fn the_target_folder_is_absolute_and_outside_of_the_clone_unless_told_otherwise() {
        let (root, cache) = (Path::new("/clone"), Path::new("/cache"));
        assert_eq!(target_folder(root, cache, None), Path::new("/cache/target"));
        assert_eq!(target_folder(root, cache, Some("/mine".into())), Path::new("/mine"));
        assert_eq!(target_folder(root, cache, Some("out".into())), Path::new("/clone/out"));
    }

    #[test]
    fn another_program_is_run_in_the_same_way() {
        let mut template = cargo_in(Path::new("/clone"), Path::new("/target"));
        template.args(["component", "build"]);
        let command = with_program(&template, Path::new("/bin/other"));
        assert_eq!(command.get_program(), "/bin/other");
        assert_eq!(command.get_current_dir(), template.get_current_dir());
        assert!(command.get_args().eq(template.get_args()));
        assert!(command.get_envs().eq(template.get_envs()));
    }

    #[test]
    fn cargo_does_not_inherit_what_cargo_run_set_for_us() {
        // This test runs under cargo, which sets `CARGO_PKG_NAME`.
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let command = cargo_in(Path::new("/clone"), Path::new("/target"));
        let removed = command.get_envs().find(|(name, _)| *name == "CARGO_PKG_NAME");
        assert_eq!(removed.map(|(_, value)| value), Some(None));
    }
}

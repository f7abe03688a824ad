//! A Rust toolchain that can build guests.
//!
//! A guest needs the standard library for a WASI target, which is not part of a fresh installation. On most machines
//! rustup downloads it. In a closed network it cannot; there the repository has a recipe that makes a toolchain of
//! Debian's packages, `dbos-guest`, which is taken if it is there. Whether a target is installed is asked of the compiler,
//! which knows it however it came to the machine.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::cli::failure::Failure;
use crate::workflow::Code;

/// What the toolchain of the recipe is called in rustup.
const LINKED: &str = "dbos-guest";

/// How guests are built on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Toolchain {
    /// With the toolchain that the project uses anyway.
    Usual,
    /// With the one of the recipe.
    Linked,
}

impl Toolchain {
    /// Makes the command use it.
    pub(super) fn apply(self, command: &mut Command) {
        if self == Self::Linked {
            command.env("RUSTUP_TOOLCHAIN", LINKED);
        }
    }
}

/// When this returns, the project in `folder` can be compiled for `target` with the toolchain that it names.
pub(super) async fn ensure(folder: &Path, target: &str) -> Result<Toolchain, Failure> {
    for toolchain in [Toolchain::Usual, Toolchain::Linked] {
        if knows(toolchain, folder, target).await {
            return Ok(toolchain);
        }
    }
    tracing::info!("the target {target} of Rust is missing: asking rustup for it");
    let mut add = Command::new("rustup");
    // One retry: a closed network answers the same each time.
    add.args(["target", "add", target]).current_dir(folder).env("RUSTUP_MAX_RETRIES", "1").stdin(Stdio::null());
    let reason = match add.status().await {
        Ok(status) if status.success() => return Ok(Toolchain::Usual),
        Ok(status) => format!("`rustup target add {target}` ended with {status}"),
        Err(error) => format!("`rustup` cannot be started: {error}"),
    };
    Err(Failure::to("find a Rust that compiles to WebAssembly")
        .because(reason)
        .hint(format!("with rustup and a network: `rustup target add {target}`"))
        .hint("on Debian without them: `cargo xtask guest-toolchain --debian` in a checkout of dbos-host, once")
        .code(Code("no_toolchain")))
}

/// Whether the standard library for the target is installed.
async fn knows(toolchain: Toolchain, folder: &Path, target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    toolchain.apply(&mut rustc);
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(folder);
    // A toolchain that is not there, or is too old to know the target, is one that cannot build guests.
    let Ok(output) = rustc.stdin(Stdio::null()).stderr(Stdio::null()).output().await else { return false };
    output.status.success() && has_library(&PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Whether the folder has Rust's standard library.
fn has_library(folder: &Path) -> bool {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| {
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_installed_when_its_library_is() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!has_library(&folder.path().join("none")));
        std::fs::write(folder.path().join("libcore-1.rlib"), "").expect("a file");
        assert!(!has_library(folder.path()));
        std::fs::write(folder.path().join("libstd-1.rlib"), "").expect("a file");
        assert!(has_library(folder.path()));
    }

    #[tokio::test]
    async fn a_target_that_nobody_has_is_not_known() {
        assert!(!knows(Toolchain::Usual, Path::new("/"), "no-such-target").await);
    }

    #[test]
    fn only_our_own_toolchain_changes_a_command() {
        let mut command = Command::new("cargo");
        Toolchain::Usual.apply(&mut command);
        assert_eq!(command.as_std().get_envs().count(), 0);
        Toolchain::Linked.apply(&mut command);
        let variables: Vec<_> = command.as_std().get_envs().collect();
        assert_eq!(variables, [("RUSTUP_TOOLCHAIN".as_ref(), Some("dbos-guest".as_ref()))]);
    }
}

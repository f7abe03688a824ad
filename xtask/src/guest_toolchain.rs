//! Makes sure that Rust can be compiled to WebAssembly components.
//!
//! A guest needs the standard library for `wasm32-wasip2` (and for `wasm32-wasip1`, which `cargo component` builds for).
//! On most machines rustup downloads it. In a closed network it cannot, while Debian's packages can often be had: then
//! a toolchain of our own, `dbos-guest`, is put together from them.
//!
//! This module must not know how that toolchain is made, nor what is built with it.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::project::Project;
use crate::{debian_sysroot, shell};

/// The targets that guests are built for.
pub(crate) const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-wasip2"];

/// What our own toolchain is called in rustup.
pub(crate) const LINKED_NAME: &str = "dbos-guest";

/// How guests are built on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuestToolchain {
    /// The toolchain that builds the host has the targets.
    Usual,
    /// Our own, linked in rustup under [`LINKED_NAME`].
    Linked,
}

impl GuestToolchain {
    /// Makes the command use this toolchain.
    pub(crate) fn apply(self, command: &mut Command) -> &mut Command {
        match self {
            Self::Usual => command,
            Self::Linked => command.env("RUSTUP_TOOLCHAIN", LINKED_NAME),
        }
    }
}

/// When this returns, guests can be built with the toolchain that it names.
pub(crate) fn ensure(project: &Project) -> Result<GuestToolchain> {
    if rustup_has_targets()? {
        return Ok(GuestToolchain::Usual);
    }
    // Asked before rustup is: where it cannot download, it takes a while to find that out, in every run anew.
    if debian_sysroot::is_ready(project) {
        return Ok(GuestToolchain::Linked);
    }
    shell::say("the WebAssembly targets of Rust are missing: asking rustup for them");
    // One retry: a closed network answers the same each time.
    let mut add = Command::new("rustup");
    add.args(["target", "add"]).args(TARGETS).env("RUSTUP_MAX_RETRIES", "1").stdin(Stdio::null());
    if shell::succeeds(&mut add)? {
        return Ok(GuestToolchain::Usual);
    }
    shell::say("rustup cannot have them here: building them from Debian's packages, once");
    from_debian(project)
}

/// The same from Debian's packages, even where rustup has the targets.
pub(crate) fn from_debian(project: &Project) -> Result<GuestToolchain> {
    debian_sysroot::ensure(project)?;
    Ok(GuestToolchain::Linked)
}

/// Prints the environment in which cargo builds guests, as lines for a shell.
pub(crate) fn describe(toolchain: GuestToolchain) -> Result<()> {
    match toolchain {
        GuestToolchain::Usual => shell::print("# the toolchain in use builds guests; nothing has to be set"),
        GuestToolchain::Linked => shell::print(&format!("export RUSTUP_TOOLCHAIN={LINKED_NAME}")),
    }
}

fn rustup_has_targets() -> Result<bool> {
    let mut list = Command::new("rustup");
    list.args(["target", "list", "--installed"]).stderr(Stdio::null());
    let Ok(output) = list.output() else { bail!("start `rustup`\nhint: install Rust with rustup, then try again") };
    // A toolchain that rustup only links answers with an error here: it has no list of targets.
    let installed = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && TARGETS.iter().all(|target| installed.lines().any(|line| line == *target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_toolchain_changes_a_command() {
        let mut command = Command::new("cargo");
        GuestToolchain::Usual.apply(&mut command);
        assert_eq!(command.get_envs().count(), 0);
        GuestToolchain::Linked.apply(&mut command);
        let variables: Vec<_> = command.get_envs().collect();
        assert_eq!(variables, [("RUSTUP_TOOLCHAIN".as_ref(), Some("dbos-guest".as_ref()))]);
    }
}

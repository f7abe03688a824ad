//! Debian's packages: the way to install what is missing.
//!
//! Only root can install. Anybody else gets an error with the command to run, never a prompt for a password: that would
//! hang a run that nobody watches.
//!
//! This module must not know what the packages are needed for.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::shell;

/// When this returns, all of `packages` are installed.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.iter().all(|package| is_installed(package)) {
        return Ok(());
    }
    let by_hand = format!("apt-get update && apt-get install {}", packages.join(" "));
    if shell::find_program("apt-get").is_none() {
        bail!(
            "install `{}`: this machine has no `apt-get`\nhint: install what these packages have",
            packages.join(" ")
        );
    }
    if !shell::is_root() {
        bail!("install packages without being root\nhint: run this as root, then try again:\n  {by_hand}");
    }
    shell::say(&format!("installing Debian's packages {}", packages.join(", ")));
    // A fresh machine often has no package lists at all, or old ones that name files which are gone.
    shell::run(apt_get().args(["-qq", "update"]))?;
    shell::run(apt_get().args(["-qq", "install", "--yes", "--no-install-recommends"]).args(packages))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]).stderr(Stdio::null());
    query.output().is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

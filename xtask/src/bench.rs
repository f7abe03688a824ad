//! `cargo xtask bench`: builds the host as users get it, and runs the bench.
//!
//! This module must not know what is measured.

use anyhow::Result;

use crate::project::Project;
use crate::{guests, postgres, shell};

/// Builds what is measured and what measures, and runs it with `arguments`.
pub(crate) fn run(project: &Project, arguments: &[&str]) -> Result<()> {
    postgres::ensure()?;
    let guests = guests::all(project)?;
    shell::say("building the host with the profile for users (the first time takes ten minutes)");
    let mut build = project.cargo("build");
    shell::run(build.args(["--release", "--package", "dbos-host", "--package", "dbos-host-bench"]))?;
    let programs = project.target.join("release");
    let mut bench = std::process::Command::new(programs.join("dbos-host-bench"));
    bench.args(arguments).env("DBOS_HOST_BIN", programs.join("dbos-host")).env("DBOS_HOST_GUESTS", guests);
    shell::run(&mut bench)
}

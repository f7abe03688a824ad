//! `cargo xtask bench`: builds the host as users get it, and runs the bench.
//!
//! This module must not know what is measured.

use anyhow::Result;

use crate::project::Project;
use crate::{guests, postgres, python, shell};

/// Builds what is measured and what measures, and runs it with `arguments`.
pub(crate) fn run(project: &Project, arguments: &[&str]) -> Result<()> {
    postgres::ensure()?;
    let guests = guests::all(project)?;
    shell::say("building the host with the profile for users (the first time takes ten minutes)");
    let mut build = project.cargo("build");
    shell::run(build.args(["--release", "--package", "dbos-host", "--package", "dbos-host-bench"]))?;
    let programs = project.target.join("release");
    // Without a registry of packages the host can be measured all the same, and the results say what is missing.
    let peer = python::with_server(project).unwrap_or_else(|error| {
        shell::say(&format!("nothing will be compared with DBOS Python: failed to {error:#}"));
        std::path::PathBuf::new()
    });
    let mut bench = std::process::Command::new(programs.join("dbos-host-bench"));
    bench
        .args(arguments)
        .env("DBOS_HOST_BIN", programs.join("dbos-host"))
        .env("DBOS_HOST_GUESTS", guests)
        .env("DBOS_BENCH_PEER", peer);
    shell::run(&mut bench)
}

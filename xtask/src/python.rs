//! A Python with the real `dbos` package, which the tests and the bench compare this host with.
//!
//! The tests need that package and nothing else; the bench serves it behind the HTTP server that its users have, in an
//! environment of its own, so that the tests never see more than they say they need.
//!
//! This module must not know what is compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::project::Project;
use crate::{apt, shell};

/// The version whose tables and behaviour this host keeps to.
const DBOS: &str = "3.4.0";

/// What serves it in the bench. With fixed versions, since a figure of another version is another figure.
const SERVER: [&str; 2] = ["fastapi==0.165.0", "uvicorn[standard]==0.54.0"];

/// When this returns, the Python that it names can import `dbos`.
pub(crate) fn ensure(project: &Project) -> Result<PathBuf> {
    environment(project, &project.cache.join(format!("python-dbos-{DBOS}")), &[])
}

/// The same with what serves it over HTTP.
pub(crate) fn with_server(project: &Project) -> Result<PathBuf> {
    environment(project, &project.cache.join(format!("python-dbos-{DBOS}-served")), &SERVER)
}

fn environment(project: &Project, environment: &Path, more: &[&str]) -> Result<PathBuf> {
    let _lock = project.lock("python")?;
    let python = environment.join("bin/python");
    // Written last: an environment cannot be built elsewhere and renamed, its programs have its path in them. It names
    // what it was made of, because an environment does not outlive an update of its Python.
    let complete = environment.join("complete");
    let version = system_python()? + &more.join(" ");
    if fs::read_to_string(&complete).is_ok_and(|made_for| made_for == version) {
        return Ok(python);
    }
    shell::say(&format!("making the Python environment `{}`, once", environment.display()));
    if environment.exists() {
        fs::remove_dir_all(environment).with_context(|| format!("remove `{}`", environment.display()))?;
    }
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &format!("dbos=={DBOS}")]);
    pip.args(more);
    shell::run(pip.stdin(Stdio::null()))?;
    fs::write(&complete, version).with_context(|| format!("write `{}`", complete.display()))?;
    Ok(python)
}

/// Makes sure of a `python3` that can make environments, and says which it is.
fn system_python() -> Result<String> {
    let can_make_environments = || {
        let mut python = Command::new("python3");
        python.args(["-c", "import ensurepip, sys, venv; print(sys.executable, sys.version)"]);
        let output = python.stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if let Some(version) = can_make_environments() {
        return Ok(version);
    }
    apt::install(&["python3", "python3-venv"])?;
    can_make_environments().context("make a Python environment: `python3` has no `venv` after installing it")
}

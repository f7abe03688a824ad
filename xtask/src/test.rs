//! `cargo xtask test`: everything that CI checks, in one command.
//!
//! A check that runs only in CI is found out too late, so CI runs this and nothing else. What is quick and often wrong
//! comes first; the first failure ends the run, and the times are told in any case.
//!
//! The choice of packages is about compile time. Cargo compiles a dependency anew for each set of features that a choice
//! of packages asks of it, and wasmtime takes minutes: so what is built is always the same choice, with the host's fail
//! points. The host as users get it differs by that one feature, and only the linter looks at it.
//!
//! This module must not know what the tests test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::project::{Project, cargo_in};
use crate::{guests, postgres, python, shell};

/// The package with the integration tests: it needs programs, guests and Python.
const INTEGRATION: &str = "dbos-host-tests";

/// Tests that compare times. Beside others they would measure those.
const MEASUREMENTS: &str = "neighbours::";

/// Named fail points, and a clock that tests can move.
const FAILPOINTS: &str = "dbos-host/failpoints";

/// Runs every check.
pub(crate) fn everything(project: &Project) -> Result<()> {
    let mut report = Report::default();
    let result = lints(project, &mut report).and_then(|()| {
        let guests = report.step("guests", || guests::all(project))?;
        report.step("unit tests and examples in the documentation", || unit_tests(project))?;
        integration(project, &mut report, &guests, &[])
    });
    report.print();
    result
}

/// Runs the integration tests whose names have one of the filters in them, and no other check.
pub(crate) fn filtered(project: &Project, filter: &[&str]) -> Result<()> {
    let mut report = Report::default();
    let result = report
        .step("guests", || guests::all(project))
        .and_then(|guests| integration(project, &mut report, &guests, filter));
    report.print();
    result
}

fn lints(project: &Project, report: &mut Report) -> Result<()> {
    report.step("formatting", || {
        shell::run(project.cargo("fmt").args(["--all", "--check"]))?;
        for workspace in guests::workspaces(project) {
            shell::run(cargo_in(&workspace, &project.target).args(["fmt", "--all", "--check"]))?;
        }
        Ok(())
    })?;
    report.step("lints, as users get it", || shell::run(&mut clippy(project, &[])))?;
    report.step("lints, with fail points", || shell::run(&mut clippy(project, &["--features", FAILPOINTS])))?;
    report.step("documentation", || {
        let mut doc = project.cargo("doc");
        shell::run(doc.args(["--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    })
}

fn clippy(project: &Project, features: &[&str]) -> Command {
    let mut command = project.cargo("clippy");
    command.args(["--workspace", "--all-targets"]).args(features).args(["--", "-D", "warnings"]);
    command
}

fn unit_tests(project: &Project) -> Result<()> {
    let mut test = project.cargo("test");
    shell::run(test.args(["--workspace", "--exclude", INTEGRATION, "--features", FAILPOINTS]))
}

/// Prepares what the integration tests need, and runs them.
fn integration(project: &Project, report: &mut Report, guests: &Path, filter: &[&str]) -> Result<()> {
    let (programs, python) = report.step("programs for the integration tests", || {
        postgres::ensure()?;
        Ok((tested_programs(project)?, python::ensure(project)?))
    })?;
    let suite = |arguments: &[&str]| {
        let mut test = project.cargo("test");
        test.args(["--package", INTEGRATION, "--"]).args(arguments);
        test.env("DBOS_HOST_BIN", programs.join("dbos-host")).env("GUESTBOOK_BIN", programs.join("guestbook"));
        test.env("DBOS_HOST_GUESTS", guests).env("DBOS_PYTHON", &python);
        test.env("DBOS_HOST_GUEST_TARGET", guests::target(project));
        shell::run(&mut test)
    };
    if !filter.is_empty() {
        return report.step("integration tests", || suite(filter));
    }
    report.step("integration tests", || suite(&["--skip", MEASUREMENTS]))?;
    report.step("measurements, one at a time", || suite(&[MEASUREMENTS, "--test-threads", "1"]))
}

/// Builds the programs with fail points and copies them: in the target folder, any other build would replace them by
/// programs without, in the middle of the tests.
fn tested_programs(project: &Project) -> Result<PathBuf> {
    let mut build = project.cargo("build");
    shell::run(build.args(["--workspace", "--exclude", INTEGRATION, "--bins", "--features", FAILPOINTS]))?;
    let folder = project.target.join("tested");
    fs::create_dir_all(&folder).with_context(|| format!("create `{}`", folder.display()))?;
    for name in ["dbos-host", "guestbook"] {
        let (built, kept) = (project.program(name), folder.join(name));
        // A running program cannot be written to; one that is removed runs on.
        if kept.exists() {
            fs::remove_file(&kept).with_context(|| format!("remove `{}`", kept.display()))?;
        }
        fs::copy(&built, &kept).with_context(|| format!("copy `{}`", built.display()))?;
    }
    Ok(folder)
}

/// What was done and how long it took.
#[derive(Default)]
struct Report {
    steps: Vec<Step>,
}

struct Step {
    title: &'static str,
    time: Duration,
    passed: bool,
}

impl Report {
    fn step<T>(&mut self, title: &'static str, check: impl FnOnce() -> Result<T>) -> Result<T> {
        shell::say(&format!("\n=== {title}"));
        let start = Instant::now();
        let result = check();
        self.steps.push(Step { title, time: start.elapsed(), passed: result.is_ok() });
        result
    }

    fn print(&self) {
        shell::say(&format!("\n=== summary\n{}", self.summary()));
    }

    fn summary(&self) -> String {
        let line = |step: &Step| {
            let verdict = if step.passed { "ok" } else { "FAILED" };
            format!("{:>8}  {:<6}  {}\n", in_words(step.time), verdict, step.title)
        };
        let total = self.steps.iter().map(|step| step.time).sum();
        self.steps.iter().map(line).chain([format!("{:>8}  in all\n", in_words(total))]).collect()
    }
}

/// `4.2 s` or `12:07 min`.
fn in_words(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{}:{:02} min", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_step_gives_its_value_and_a_failure_is_reported_with_its_time() {
        let mut report = Report::default();
        assert_eq!(report.step("one", || Ok(1)).unwrap(), 1);
        assert!(report.step("two", || -> Result<()> { bail!("fail") }).is_err());
        report.steps[0].time = Duration::from_millis(4_240);
        report.steps[1].time = Duration::from_secs(727);
        assert_eq!(report.summary(), "   4.2 s  ok      one\n12:07 min  FAILED  two\n12:11 min  in all\n");
    }
}

//! `cargo xtask fuzz`: runs the fuzzers of `fuzz/`, one after another.
//!
//! `cargo fuzz` wants a nightly toolchain for its sanitizers, and watches every crate, which means compiling wasmtime once
//! more, slowly. There is no `unsafe` code here that a sanitizer could look into, and what is to be watched is one crate:
//! the host's. So cargo builds the fuzzers like everything else, and this program stands in for the compiler (as cargo's
//! `RUSTC_WRAPPER`) to add the flags to that one crate. `cargo fuzz run -s none TARGET` works too, for who has it.
//!
//! What a fuzzer tried and found useful is kept in the cache folder, so that the next run begins there. A case that makes
//! it fail is written to `fuzz/corpus`, where an ordinary test runs it from then on.
//!
//! This module must not know what the fuzzers look into.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::project::{Project, cargo_in};
use crate::shell;

/// How long each fuzzer runs unless told otherwise.
const SECONDS: u64 = 60;

/// A case that takes longer, in seconds, has found a hang; one that needs more memory, in MiB, a bomb. Both are far from
/// what an honest input of this size needs.
const TIMEOUT: u32 = 10;
const MEMORY_MIB: u32 = 2048;

/// The largest input, in bytes: what hides behind larger ones is seen by reading.
const LONGEST: u32 = 64 * 1024;

/// Set when this program stands in for the compiler.
const AS_COMPILER: &str = "DBOS_HOST_FUZZ_COMPILER";

/// The crate that is watched.
const WATCHED: &str = "dbos_host";

/// What counts the branches that are taken, and tells what values are compared with.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Compiles, if cargo has called this program in place of the compiler.
pub(crate) fn as_compiler() -> Option<Result<ExitCode>> {
    std::env::var_os(AS_COMPILER)?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    Some(compile(&arguments))
}

fn compile(arguments: &[OsString]) -> Result<ExitCode> {
    let (compiler, arguments) = arguments.split_first().context("be called as cargo calls a wrapper")?;
    let mut command = Command::new(compiler);
    command.args(arguments).args(if is_watched(arguments) { &FLAGS[..] } else { &[] });
    let status = command.status().with_context(|| format!("run `{}`", Path::new(compiler).display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_watched(arguments: &[OsString]) -> bool {
    arguments.windows(2).any(|pair| pair[0] == "--crate-name" && pair[1] == WATCHED)
        && arguments.windows(2).any(|pair| pair[0] == "--crate-type" && pair[1] == "lib")
}

/// What is to be run, and for how long.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    targets: Vec<String>,
    seconds: u64,
}

impl Wish {
    fn parse(arguments: &[&str], known: &[String]) -> Result<Self> {
        let mut wish = Wish { targets: Vec::new(), seconds: SECONDS };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            match argument {
                "--seconds" => {
                    let number = arguments.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                    wish.seconds = number.context("understand `--seconds`: a number of seconds follows it")?;
                }
                name if known.iter().any(|known| known == name) => wish.targets.push(name.to_owned()),
                other => bail!("find the fuzzer `{other}`\nhint: there are: {}", known.join(", ")),
            }
        }
        if wish.targets.is_empty() {
            wish.targets = known.to_vec();
        }
        Ok(wish)
    }
}

/// Runs the fuzzers that `arguments` name, or all.
pub(crate) fn run(project: &Project, arguments: &[&str]) -> Result<()> {
    let wish = Wish::parse(arguments, &targets(project)?)?;
    build(project, &wish.targets)?;
    for (number, target) in wish.targets.iter().enumerate() {
        shell::say(&format!("\n=== {target} ({} of {}), {} seconds", number + 1, wish.targets.len(), wish.seconds));
        fuzz(project, target, wish.seconds)?;
    }
    Ok(())
}

/// The names of the fuzzers.
fn targets(project: &Project) -> Result<Vec<String>> {
    let folder = project.root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("read `{}`", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn build(project: &Project, targets: &[String]) -> Result<()> {
    let mut cargo = cargo_in(&project.root.join("fuzz"), &project.target);
    cargo.args(["build", "--locked"]);
    for target in targets {
        cargo.args(["--bin", target]);
    }
    let this = std::env::current_exe().context("find this program")?;
    shell::run(cargo.env("RUSTC_WRAPPER", this).env(AS_COMPILER, "1"))
}

fn fuzz(project: &Project, target: &str, seconds: u64) -> Result<()> {
    let (kept, found) = (project.cache.join("fuzz").join(target), project.root.join("fuzz/corpus").join(target));
    fs::create_dir_all(&kept).with_context(|| format!("create `{}`", kept.display()))?;
    let mut fuzzer = Command::new(project.program(target));
    fuzzer.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={TIMEOUT}"));
    fuzzer.arg(format!("-rss_limit_mb={MEMORY_MIB}")).arg(format!("-max_len={LONGEST}"));
    // The slash makes it a folder.
    fuzzer.arg(format!("-artifact_prefix={}/", found.display())).args(["-print_final_stats=1", "-print_funcs=0"]);
    fuzzer.arg(&kept).arg(&found);
    shell::run(&mut fuzzer).with_context(|| format!("run the fuzzer `{target}` without a finding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_is_watched() {
        let arguments = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(is_watched(&arguments("--crate-name dbos_host --edition=2024 src/lib.rs --crate-type lib")));
        assert!(!is_watched(&arguments("--crate-name dbos_host --edition=2024 src/main.rs --crate-type bin")));
        assert!(!is_watched(&arguments("--crate-name wasmtime --edition=2024 src/lib.rs --crate-type lib")));
    }

    #[test]
    fn fuzzers_are_chosen_by_name_and_all_if_none_is() {
        let known = ["a".to_owned(), "b".to_owned()];
        assert_eq!(Wish::parse(&[], &known).unwrap(), Wish { targets: known.to_vec(), seconds: SECONDS });
        let wish = Wish { targets: vec!["b".to_owned()], seconds: 5 };
        assert_eq!(Wish::parse(&["b", "--seconds", "5"], &known).unwrap(), wish);
        assert!(Wish::parse(&["c"], &known).unwrap_err().to_string().contains("there are: a, b"));
        assert!(Wish::parse(&["--seconds"], &known).is_err());
    }
}

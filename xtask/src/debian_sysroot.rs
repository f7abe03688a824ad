//! A Rust toolchain for guests from Debian's packages.
//!
//! Debian has a current compiler with the sources of its standard library (`rustc-web`, made for web browsers), but not
//! the library compiled for WASI. So it is compiled here, once, and laid out as rustup lays out an installed target. The
//! layout is a folder of our own: Debian's files stay as they are, and only the installation of packages needs root.
//!
//! What can go wrong: the run is killed half-way (the folder gets its name only when it is complete), two runs at once (a
//! lock), and an update of Debian's compiler, which cannot read the old library (the folder is named after the compiler).
//!
//! This module must not know what is built with the toolchain.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::guest_toolchain::{LINKED_NAME, TARGETS};
use crate::project::{Project, cargo_in, with_program};
use crate::wasi_libc::WasiLibc;
use crate::{apt, shell};

/// The compiler, cargo, the library's sources, LLVM's tools and the linker, of the version of that LLVM. Debian's cargo
/// downloads the library's dependencies, and only recommends the certificates that it needs for that.
const PACKAGES: [&str; 6] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22", "ca-certificates"];
const LINKER: &str = "/usr/lib/llvm-22/bin/lld";

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const RUSTLIB: &str = "/usr/lib/rustlib";

/// True when the toolchain is complete, linked, and of the compiler that is installed now.
pub(crate) fn is_ready(project: &Project) -> bool {
    Path::new(RUSTC).exists()
        && Compiler::installed().is_ok_and(|compiler| {
            let sysroot = compiler.sysroot(project);
            sysroot.is_dir() && is_linked(&sysroot)
        })
}

/// When this returns, `cargo +dbos-guest build --target wasm32-wasip2` works.
pub(crate) fn ensure(project: &Project) -> Result<()> {
    let _lock = project.lock("guest-toolchain")?;
    apt::install(&PACKAGES)?;
    let compiler = Compiler::installed()?;
    let sysroot = compiler.sysroot(project);
    if !sysroot.is_dir() {
        shell::say("compiling Rust's standard library for WASI (about two minutes)");
        // Under the lock this can only be what a killed run left.
        let staging = project.cache.join("guest-toolchain/staging");
        remove_folder(&staging)?;
        fs::create_dir_all(&staging)?;
        build(&compiler, &staging, &sysroot).context("build the standard library for WASI")?;
        remove_folder(&staging)?;
    }
    if !is_linked(&sysroot) {
        shell::run(Command::new("rustup").args(["toolchain", "link", LINKED_NAME]).arg(&sysroot))?;
    }
    Ok(())
}

/// What Debian's compiler says about itself.
#[derive(Debug, PartialEq, Eq)]
struct Compiler {
    release: String,
    commit: String,
    host: String,
}

impl Compiler {
    fn installed() -> Result<Self> {
        let text = shell::output(Command::new(RUSTC).arg("-vV"))?;
        Self::parse(&text).with_context(|| format!("understand what `{RUSTC} -vV` says: `{text}`"))
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let commit = field("commit-hash")?.get(..8)?;
        Some(Self { release: field("release")?.to_owned(), commit: commit.to_owned(), host: field("host")?.to_owned() })
    }

    fn sysroot(&self, project: &Project) -> PathBuf {
        project.cache.join(format!("guest-toolchain/{}-{}", self.release, self.commit))
    }
}

/// Builds everything inside `staging` and gives it the name `sysroot` as the last thing.
fn build(compiler: &Compiler, staging: &Path, sysroot: &Path) -> Result<()> {
    let libc = WasiLibc::download(&staging.join("wasi-libc"))?;
    let compiled = compile_library(staging)?;
    let unfinished = staging.join("sysroot");
    lay_out_host(compiler, &unfinished, sysroot)?;
    for target in TARGETS {
        let library = unfinished.join("lib/rustlib").join(target).join("lib");
        fs::create_dir_all(&library)?;
        copy_rlibs(&compiled.join(target).join("release/deps"), &library)?;
        libc.copy_to(target, &library.join("self-contained"))?;
    }
    fs::rename(&unfinished, sysroot).with_context(|| format!("rename to `{}`", sysroot.display()))
}

/// Compiles the standard library for all targets as the dependency of an empty crate, and returns the target folder.
fn compile_library(staging: &Path) -> Result<PathBuf> {
    let package = staging.join("crate");
    fs::create_dir_all(package.join("src"))?;
    fs::write(package.join("Cargo.toml"), "[package]\nname = \"empty\"\nversion = \"0.0.0\"\n[workspace]\n")?;
    fs::write(package.join("src/lib.rs"), "#![no_std]\n")?;
    let target = staging.join("target");
    let mut cargo = cargo_in(&package, &target);
    // Building the library is an unstable feature of cargo. The bitcode is for guests with link-time optimisation.
    cargo
        .env("RUSTC", RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes")
        .args(["build", "--release", "--quiet"]);
    for name in TARGETS {
        cargo.args(["--target", name]);
    }
    // Not `cargo` on the search path: that is rustup's, which would choose its own compiler.
    shell::run(&mut with_program(&cargo, Path::new(CARGO)))?;
    Ok(target)
}

/// The part that every toolchain has: compiler, cargo, and the host's library for build scripts and macros.
fn lay_out_host(compiler: &Compiler, unfinished: &Path, sysroot: &Path) -> Result<()> {
    let programs = unfinished.join("bin");
    fs::create_dir_all(&programs)?;
    // The compiler looks for libraries beside itself, and a link would lead it back to Debian's folders.
    let rustc = programs.join("rustc");
    fs::write(&rustc, format!("#!/bin/sh\nexec {RUSTC} --sysroot '{}' \"$@\"\n", sysroot.display()))?;
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755))?;
    symlink(CARGO, programs.join("cargo"))?;

    let debian = Path::new(RUSTLIB).join(&compiler.host);
    let host = unfinished.join("lib/rustlib").join(&compiler.host);
    let tools = host.join("bin");
    fs::create_dir_all(&tools)?;
    symlink(debian.join("lib"), host.join("lib"))?;
    symlink(debian.join("bin/wasm-component-ld"), tools.join("wasm-component-ld"))?;
    symlink(LINKER, tools.join("rust-lld"))?;
    Ok(())
}

fn copy_rlibs(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("read `{}`", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            fs::copy(entry.path(), to.join(&*name))?;
        }
    }
    Ok(())
}

/// True when rustup's name for our toolchain leads to this very folder.
fn is_linked(sysroot: &Path) -> bool {
    let Ok(found) = Command::new("rustup").args(["which", "rustc", "--toolchain", LINKED_NAME]).output() else {
        return false;
    };
    // Rustup answers with a path through its own link.
    let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    match (path.canonicalize(), sysroot.join("bin/rustc").canonicalize()) {
        (Ok(linked), Ok(ours)) => found.status.success() && linked == ours,
        _ => false,
    }
}

fn remove_folder(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("remove `{}`", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolchain_is_named_after_the_compiler() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\n\
                    commit-hash: ac68faa20c58cbccd01ee7208bf3b6e93a7d7f96\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\n";
        let compiler = Compiler::parse(text).unwrap();
        let project = Project { root: "/clone".into(), cache: "/cache".into(), target: "/target".into() };
        assert_eq!(compiler.sysroot(&project), Path::new("/cache/guest-toolchain/1.96.0-ac68faa2"));
        assert_eq!(compiler.host, "x86_64-unknown-linux-gnu");
    }

    #[test]
    fn a_compiler_that_says_something_else_is_not_guessed_at() {
        assert_eq!(Compiler::parse("rustc 1.63.0\nrelease: 1.63.0\ncommit-hash: unknown\n"), None);
    }

    #[test]
    fn the_empty_crate_is_not_part_of_the_library() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["libstd-1.rlib", "libempty-2.rlib", "libstd-1.rmeta"] {
            fs::write(from.path().join(name), name).unwrap();
        }
        copy_rlibs(from.path(), to.path()).unwrap();
        let copied: Vec<_> = fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(copied, ["libstd-1.rlib"]);
    }
}

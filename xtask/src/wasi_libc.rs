//! The C library that Rust's standard library for WASI is linked with, from Debian's package `wasi-libc`.
//!
//! Debian 12 has a version that is too old to know `wasm32-wasip2`; its backports have a newer one. Adding a suite to the
//! machine's configuration to get one file would be rude, so the package is downloaded with package lists of our own and
//! unpacked into a folder. That needs no root either.
//!
//! This module must not know how a toolchain is laid out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// The files that Rust links a WASI program with.
const FILES: [&str; 3] = ["crt1-command.o", "crt1-reactor.o", "libc.a"];

/// An unpacked package.
pub(crate) struct WasiLibc {
    libraries: PathBuf,
}

impl WasiLibc {
    /// Downloads and unpacks the package inside of `folder`.
    pub(crate) fn download(folder: &Path) -> Result<Self> {
        let configured = Apt::new(folder.join("configured"), None)?;
        if let Some(found) = configured.fetch()? {
            return Ok(found);
        }
        let sources = configured.backports()?;
        shell::say("the configured `wasi-libc` does not know wasm32-wasip2: taking the one of the backports");
        let backports = Apt::new(folder.join("backports"), Some(&sources))?;
        backports.fetch()?.context("find a package `wasi-libc` with wasm32-wasip2, in the backports neither")
    }

    /// Copies what a program for `target` is linked with.
    pub(crate) fn copy_to(&self, target: &str, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        for file in FILES {
            let from = self.libraries.join(target).join(file);
            fs::copy(&from, folder.join(file)).with_context(|| format!("copy `{}`", from.display()))?;
        }
        Ok(())
    }

    fn knows(&self, target: &str) -> bool {
        FILES.iter().all(|file| self.libraries.join(target).join(file).is_file())
    }
}

/// `apt-get` with lists and a cache of its own, and maybe other sources than the machine's.
struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(folder: PathBuf, sources: Option<&str>) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial", "download"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let mut options = vec![
            format!("Dir::State::lists={}", folder.join("lists").display()),
            format!("Dir::Cache={}", folder.join("cache").display()),
            // As root, apt downloads as a user who cannot look into this folder, and complains about it.
            "APT::Sandbox::User=root".to_owned(),
        ];
        if let Some(sources) = sources {
            let file = folder.join("sources.list");
            fs::write(&file, sources)?;
            options.push(format!("Dir::Etc::sourcelist={}", file.display()));
            options.push("Dir::Etc::sourceparts=-".to_owned());
        }
        Ok(Self { folder, options })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command.arg("-qq").args(arguments).current_dir(self.folder.join("download")).stdin(Stdio::null());
        command
    }

    /// The package of these sources, unpacked. None: there is none, or it does not know wasm32-wasip2.
    fn fetch(&self) -> Result<Option<WasiLibc>> {
        shell::run(&mut self.command(&["update"]))?;
        if !shell::succeeds(&mut self.command(&["download", "wasi-libc"]))? {
            return Ok(None);
        }
        let mut files = fs::read_dir(self.folder.join("download"))?;
        let Some(package) = files.next().transpose()? else { bail!("find what `apt-get download` downloaded") };
        let unpacked = self.folder.join("unpacked");
        shell::run(Command::new("dpkg").arg("-x").arg(package.path()).arg(&unpacked))?;
        let libc = WasiLibc { libraries: unpacked.join("usr/lib") };
        Ok(libc.knows("wasm32-wasip2").then_some(libc))
    }

    /// Sources of the backports, at the archives that this machine uses already.
    fn backports(&self) -> Result<String> {
        let release = fs::read_to_string("/etc/os-release").context("read `/etc/os-release`")?;
        let codename = codename(&release).context("find `VERSION_CODENAME` in `/etc/os-release`")?;
        let targets = shell::output(&mut self.command(&[
            "indextargets",
            "--format",
            "$(CODENAME) $(REPO_URI)",
            "Created-By: Packages",
        ]))?;
        backport_sources(&targets, codename)
            .with_context(|| format!("find an archive for `{codename}` among apt's configured sources"))
    }
}

fn codename(os_release: &str) -> Option<&str> {
    os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).map(|name| name.trim_matches('"'))
}

/// One line for each archive that has the release itself. `targets` has lines of a codename and an address.
fn backport_sources(targets: &str, codename: &str) -> Option<String> {
    let archives = targets.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| *name == codename);
    let mut lines: Vec<String> = archives.map(|(_, uri)| format!("deb {uri} {codename}-backports main\n")).collect();
    lines.dedup();
    (!lines.is_empty()).then(|| lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backports_come_from_the_archives_that_are_configured() {
        let targets =
            "bookworm a:/debian/\nbookworm a:/debian/\nbookworm-updates a:/debian/\nbookworm-security a:/security/\n";
        assert_eq!(backport_sources(targets, "bookworm").unwrap(), "deb a:/debian/ bookworm-backports main\n");
        assert_eq!(backport_sources(targets, "trixie"), None);
    }

    #[test]
    fn the_codename_is_read_with_and_without_quotes() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm"));
        assert_eq!(codename("VERSION_CODENAME=\"trixie\"\n"), Some("trixie"));
        assert_eq!(codename("ID=arch\n"), None);
    }

    #[test]
    fn a_package_with_a_file_missing_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let libc = WasiLibc { libraries: folder.path().to_owned() };
        fs::create_dir(folder.path().join("wasm32-wasip2")).unwrap();
        for file in FILES {
            assert!(!libc.knows("wasm32-wasip2"));
            fs::write(folder.path().join("wasm32-wasip2").join(file), "").unwrap();
        }
        assert!(libc.knows("wasm32-wasip2"));
    }
}

//! Asking cargo about a project, and letting it build.
//!
//! What cargo prints for people goes where it always goes, standard error. What it tells programs is read here: a folder
//! could hold components of yesterday, while cargo says what it has just made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::toolchain::Toolchain;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::workflow::Code;

/// A project that can be built.
#[derive(Debug)]
pub(super) struct Project {
    folder: PathBuf,
    /// Whether it is set up for `cargo component`.
    cargo_component: bool,
}

impl Project {
    /// Asks cargo what is in the folder.
    pub(super) async fn read(folder: &Path) -> Result<Self, Failure> {
        let mut cargo = cargo(folder);
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = cargo.stdin(Stdio::null()).output().await.map_err(|error| {
            Failure::to("start `cargo`")
                .because(error)
                .hint("install Rust with rustup, then try again")
                .code(Code("no_toolchain"))
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::to(format!("read the project in `{}`", folder.display()))
                .because(said)
                .hint("go into the folder of the project, or name it with `--project`; `dbos-host new` makes one")
                .exit(Exit::NotFound));
        }
        let metadata = String::from_utf8_lossy(&output.stdout);
        Ok(Self { folder: folder.to_owned(), cargo_component: wants_cargo_component(&metadata) })
    }

    /// The target that it is compiled for.
    pub(super) fn target(&self) -> &'static str {
        if self.cargo_component { "wasm32-wasip1" } else { "wasm32-wasip2" }
    }

    /// Builds it, and returns the components that came out.
    pub(super) async fn build(&self, toolchain: Toolchain, more: &[String]) -> Result<Vec<PathBuf>, Failure> {
        let mut command = cargo(&self.folder);
        toolchain.apply(&mut command);
        if self.cargo_component {
            command.args(["component", "build", "--release"]);
        } else {
            command.args(["build", "--release", "--target", self.target()]);
        }
        command.arg("--message-format=json-render-diagnostics").args(more);
        // It dies with this command: nobody waits for what it makes.
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        let action = || Failure::to("build the project").code(Code("build_failed"));
        let output = command.stdout(Stdio::piped()).spawn().map_err(|error| action().because(error))?;
        let output = output.wait_with_output().await.map_err(|error| action().because(error))?;
        if output.status.success() {
            return Ok(components(&String::from_utf8_lossy(&output.stdout)));
        }
        let failed = action().because(format!("cargo ended with {}; what is wrong stands above", output.status));
        // The code of cargo itself for a command that it does not have.
        let no_such_command = self.cargo_component && output.status.code() == Some(101);
        Err(if no_such_command && !has_cargo_component(&self.folder).await {
            failed.hint("this project is set up for `cargo component`: `cargo install cargo-component --locked`")
        } else {
            failed
        })
    }
}

/// Cargo in `folder`, without the variables of a cargo that may have started this program: they name a compiler and a
/// package that are not those of the project.
fn cargo(folder: &Path) -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "CARGO" || text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.current_dir(folder);
    command
}

async fn has_cargo_component(folder: &Path) -> bool {
    let mut version = cargo(folder);
    version.args(["component", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().await.is_ok_and(|status| status.success())
}

/// Whether one of the packages that cargo tells about has a section for `cargo component`.
fn wants_cargo_component(metadata: &str) -> bool {
    let metadata: Value = serde_json::from_str(metadata).unwrap_or_default();
    let packages = metadata["packages"].as_array();
    packages.into_iter().flatten().any(|package| package["metadata"]["component"].is_object())
}

/// The components among the files that cargo's messages name, fresh ones included. Lines that are no messages come from
/// build scripts and other programs.
fn components(messages: &str) -> Vec<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut files = BTreeSet::new();
    for message in messages {
        let named = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        files.extend(named.filter(|file| file.ends_with(".wasm")).map(PathBuf::from));
    }
    files.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_read_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["/t/deps/libdep.rlib"]}
   Creating component /t/a.wasm
{"reason":"compiler-artifact","fresh":true,"filenames":["/t/a.wasm","/t/liba.rlib"]}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(components(messages), [Path::new("/t/a.wasm")]);
    }

    #[test]
    fn a_project_says_whether_it_wants_cargo_component() {
        assert!(!wants_cargo_component(r#"{"packages":[{"metadata":null}]}"#));
        assert!(wants_cargo_component(r#"{"packages":[{"metadata":{"component":{"package":"a:b"}}}]}"#));
    }
}

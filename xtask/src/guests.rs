//! Builds the programs that are compiled to WebAssembly: the examples, the guide's in both ways that it shows, and the
//! programs that the tests run.
//!
//! They are workspaces of their own, with another target and maybe another toolchain than the host: in the host's target
//! folder the two would throw out each other's work. Every component is copied to one folder under its own name, so that
//! whoever needs it does not have to know who built it.
//!
//! This module must not know what the programs do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::guest_toolchain::{self, GuestToolchain};
use crate::project::{Project, cargo_in, with_program};
use crate::shell;

/// The version that is tested here. It is installed beside a user's own, so that both can differ.
const CARGO_COMPONENT: &str = "0.21.1";

/// The guide's example, the others, and the workspace of the programs for tests.
const GREETING: &str = "examples/greeting";
const OTHERS: &[&str] = &["examples/approval", "examples/chat", "examples/fan_out", "examples/order"];
const TESTS: &str = "tests/guests";

/// Builds the greeting example as its guide does, by `cargo build --target wasm32-wasip2`.
pub(crate) fn greeting(project: &Project) -> Result<PathBuf> {
    let builder = Builder::new(project)?;
    let mut components = builder.build(GREETING)?;
    match (components.pop(), components.is_empty()) {
        (Some(component), true) => Ok(component),
        _ => bail!("build `{GREETING}`: exactly one component was expected"),
    }
}

/// Builds everything. Returns the folder, in which exactly these components are then.
pub(crate) fn all(project: &Project) -> Result<PathBuf> {
    let builder = Builder::new(project)?;
    let mut components = builder.build(GREETING)?;
    components.push(builder.build_greeting_with_cargo_component()?);
    for example in OTHERS {
        components.extend(builder.build(example)?);
    }
    if project.root.join(TESTS).join("Cargo.toml").exists() {
        components.extend(builder.build(TESTS)?);
    }
    remove_others(&builder.folder, &components)?;
    Ok(builder.folder)
}

/// Builds everything and prints where it is.
pub(crate) fn print_all(project: &Project) -> Result<()> {
    let folder = all(project)?;
    let files: Result<BTreeSet<PathBuf>> = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect();
    files?.iter().try_for_each(|file| shell::print(&file.display().to_string()))
}

/// The folders of workspaces with guests: what formats and checks code has to visit them as well.
pub(crate) fn workspaces(project: &Project) -> Vec<PathBuf> {
    let folders = [GREETING, TESTS].into_iter().chain(OTHERS.iter().copied()).map(|name| project.root.join(name));
    folders.filter(|folder| folder.join("Cargo.toml").exists()).collect()
}

/// The target folder of all guests.
pub(crate) fn target(project: &Project) -> PathBuf {
    project.cache.join("guest-target")
}

/// Builds guests with one toolchain. Lives for one command.
struct Builder<'a> {
    project: &'a Project,
    toolchain: GuestToolchain,
    target: PathBuf,
    folder: PathBuf,
}

impl<'a> Builder<'a> {
    fn new(project: &'a Project) -> Result<Self> {
        let toolchain = guest_toolchain::ensure(project)?;
        let folder = project.cache.join("guests");
        fs::create_dir_all(&folder).with_context(|| format!("create `{}`", folder.display()))?;
        Ok(Self { project, toolchain, target: target(project), folder })
    }

    fn cargo(&self, workspace: &str) -> Command {
        let mut command = cargo_in(&self.project.root.join(workspace), &self.target);
        self.toolchain.apply(&mut command);
        command
    }

    /// Builds all members of a workspace and returns their components, copied.
    fn build(&self, workspace: &str) -> Result<Vec<PathBuf>> {
        shell::say(&format!("building the guests of `{workspace}`"));
        let mut cargo = self.cargo(workspace);
        cargo.args(["build", "--release", "--workspace", "--target", "wasm32-wasip2"]);
        // Cargo itself says what it built: a folder could have components of members that are gone.
        cargo.arg("--message-format=json-render-diagnostics");
        shell::show(&cargo);
        let built = built_components(&shell::output(&mut cargo)?)?;
        if built.is_empty() {
            bail!("build `{workspace}`: no component came out\nhint: a guest's crate type is `cdylib`");
        }
        built.iter().map(|file| self.keep(file, file.file_stem().context("name a component")?.as_ref())).collect()
    }

    fn build_greeting_with_cargo_component(&self) -> Result<PathBuf> {
        let program = install_cargo_component(self.project)?;
        shell::say(&format!("building `{GREETING}` with cargo component"));
        // By its path: cargo would take the first `cargo-component` on the search path, which may be a user's own.
        let mut cargo = self.cargo(GREETING);
        cargo.args(["component", "build", "--release"]);
        shell::run(&mut with_program(&cargo, &program))?;
        self.keep(&self.target.join("wasm32-wasip1/release/greeting.wasm"), Path::new("greeting-component"))
    }

    fn keep(&self, file: &Path, name: &Path) -> Result<PathBuf> {
        let kept = self.folder.join(name).with_extension("wasm");
        fs::copy(file, &kept).with_context(|| format!("copy `{}`", file.display()))?;
        Ok(kept)
    }
}

/// When this returns, the program that it names is installed.
fn install_cargo_component(project: &Project) -> Result<PathBuf> {
    let _lock = project.lock("cargo-component")?;
    let root = project.cache.join(format!("cargo-component-{CARGO_COMPONENT}"));
    // Cargo puts the program there as the last thing, so it is complete if it is there.
    let program = root.join("bin/cargo-component");
    if !program.is_file() {
        shell::say("installing cargo-component, once (about eight minutes)");
        let target = project.cache.join("cargo-component-target");
        let mut cargo = cargo_in(&project.cache, &target);
        cargo.args(["install", "cargo-component", "--locked", "--version", CARGO_COMPONENT, "--root"]).arg(&root);
        shell::run(&mut cargo)?;
        fs::remove_dir_all(&target).with_context(|| format!("remove `{}`", target.display()))?;
    }
    Ok(program)
}

/// The `.wasm` files among what cargo's JSON messages say was built, fresh ones included.
fn built_components(messages: &str) -> Result<Vec<PathBuf>> {
    let mut components = BTreeSet::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: serde_json::Value = serde_json::from_str(line).context("read cargo's messages")?;
        let files = message["filenames"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
        components.extend(files.filter(|file| file.ends_with(".wasm")).map(PathBuf::from));
    }
    Ok(components.into_iter().collect())
}

/// Removes components that are not built any more: a test that still ran one would prove nothing.
fn remove_others(folder: &Path, components: &[PathBuf]) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !components.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("remove `{}`", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_read_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["/t/deps/libdep.rlib","/t/deps/libdep.rmeta"]}
{"reason":"compiler-artifact","fresh":true,"filenames":["/t/b.wasm","/t/libb.rlib"]}
{"reason":"build-script-executed","out_dir":"/t/out"}
a line of a build script
{"reason":"compiler-artifact","filenames":["/t/a.wasm"]}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(built_components(messages).unwrap(), [Path::new("/t/a.wasm"), Path::new("/t/b.wasm")]);
    }

    #[test]
    fn components_of_yesterday_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, gone) = (folder.path().join("kept.wasm"), folder.path().join("gone.wasm"));
        fs::write(&kept, "").unwrap();
        fs::write(&gone, "").unwrap();
        remove_others(folder.path(), std::slice::from_ref(&kept)).unwrap();
        assert!(kept.exists());
        assert!(!gone.exists());
    }
}

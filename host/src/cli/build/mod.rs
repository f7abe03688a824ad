//! `dbos-host build`: from a guest project to a component that is known to load.
//!
//! `cargo build` alone leaves a newcomer with three riddles: the target that is not installed, the file that is somewhere
//! under `target`, and a component that only the host can judge. This command finds a toolchain that can build guests
//! ([`toolchain`]), lets cargo work and speak as always ([`cargo`]), loads what came out, and prints where it is.

mod cargo;
mod toolchain;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::component::{self, summary};
use super::config::Limits;
use super::exit::Exit;
use super::failure::Failure;
use super::output;
use crate::sandbox::Component;
use crate::workflow::Code;

/// Compile the project here to a component, and check that it loads
#[derive(Debug, Args)]
#[command(after_help = "Runs `cargo build --release --target wasm32-wasip2`, or `cargo component build --release` if \
Cargo.toml has a section `package.metadata.component`. The first line that is printed is the path of the component.

Examples:
  dbos-host build
  dbos-host build -- --features fancy --locked
  dbos-host run \"$(dbos-host build | head -1)\"")]
pub(crate) struct BuildArgs {
    /// The folder of the project
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    project: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// More arguments for cargo, after `--`
    #[arg(last = true, value_name = "CARGO ARGUMENTS")]
    cargo: Vec<String>,
}

/// Builds the project and shows what came out.
pub(crate) async fn execute(args: &BuildArgs) -> Result<Exit, Failure> {
    let project = cargo::Project::read(&args.project).await?;
    let toolchain = toolchain::ensure(&args.project, project.target()).await?;
    let files = project.build(toolchain, &args.cargo).await?;
    if files.is_empty() {
        return Err(Failure::to("build the project")
            .because("cargo made no component")
            .hint("a guest has `crate-type = [\"cdylib\"]` in the section `[lib]` of its Cargo.toml")
            .code(Code("no_component"))
            .exit(Exit::Component));
    }
    let temporary = tempfile::tempdir().map_err(|error| Failure::to("make a temporary folder").because(error))?;
    let sandbox = component::sandbox(&Limits::default(), temporary.path())?;
    let mut told = Vec::new();
    for file in files {
        let (bytes, component) = component::load(&sandbox, &file).await?;
        told.push((file, bytes.len(), component));
    }
    output::print(&if args.json { as_json(&told) } else { for_people(&told) })?;
    Ok(Exit::Success)
}

fn as_json(told: &[(PathBuf, usize, Component)]) -> String {
    let one = |(file, bytes, component): &(PathBuf, usize, Component)| json!({ "path": file, "digest": component.digest().as_str(), "bytes": bytes });
    format!("{:#}", told.iter().map(one).collect::<Value>())
}

fn for_people(told: &[(PathBuf, usize, Component)]) -> String {
    let one = |(file, bytes, component): &(PathBuf, usize, Component)| {
        let (digest, summary) = (component.digest(), summary(component));
        format!("{}\ndigest   {digest}\nsize     {bytes} bytes\nhas      {summary}", shortest(file).display())
    };
    told.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

/// The path from here, if the file is below the working folder.
fn shortest(file: &Path) -> &Path {
    let here = std::env::current_dir().ok();
    here.as_deref().and_then(|here| file.strip_prefix(here).ok()).unwrap_or(file)
}

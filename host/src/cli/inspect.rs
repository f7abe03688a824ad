//! `dbos-host inspect`: what a component contains.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::component;
use super::config::Limits;
use super::exit::Exit;
use super::failure::Failure;
use super::output;
use super::table::{Table, cut, whole};
use crate::sandbox::Component;
use crate::workflow::{Parameter, StepKind};

/// Show a component's digest, imports, workflows, steps and routes
#[derive(Debug, Args)]
#[command(after_help = "Needs no configuration and no database, and runs nothing but the component's own description \
of itself.

Examples:
  dbos-host inspect greeting.wasm
  dbos-host inspect greeting.wasm --json")]
pub(crate) struct InspectArgs {
    /// The component
    #[arg(value_name = "WASM")]
    pub(crate) wasm: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Shows the component.
pub(crate) async fn execute(args: &InspectArgs) -> Result<Exit, Failure> {
    let temporary = tempfile::tempdir().map_err(|error| Failure::to("make a temporary folder").because(error))?;
    let sandbox = component::sandbox(&Limits::default(), temporary.path())?;
    let (bytes, component) = component::load(&sandbox, &args.wasm).await?;
    let text = if args.json { as_json(&component, bytes.len()) } else { for_people(&component, bytes.len()) };
    output::print(&text)?;
    Ok(Exit::Success)
}

fn as_json(component: &Component, bytes: usize) -> String {
    let manifest: Value = serde_json::from_str(component.manifest_json()).unwrap_or_default();
    let value = json!({
        "digest": component.digest().as_str(), "bytes": bytes, "imports": component.imports(), "manifest": manifest,
    });
    format!("{value:#}")
}

fn for_people(component: &Component, bytes: usize) -> String {
    let manifest = component.manifest();
    let mut table = Table::new([whole("KIND"), whole("NAME"), cut("DETAILS", 16)]);
    for workflow in &manifest.workflows {
        table.push(["workflow".into(), workflow.name.clone(), parameters(&workflow.parameters)]);
    }
    for step in &manifest.steps {
        let (kind, options) = match &step.kind {
            StepKind::Transaction { isolation, read_only } => {
                let access = if *read_only { ", read only" } else { "" };
                ("transaction", format!("{}{access}", isolation.as_str()))
            }
            StepKind::Communicator { retry, .. } if retry.attempts == 1 => ("communicator", "1 attempt".into()),
            StepKind::Communicator { retry, .. } => ("communicator", format!("{} attempts", retry.attempts)),
        };
        table.push([kind.into(), step.name.clone(), format!("{} {options}", parameters(&step.parameters))]);
    }
    for route in &manifest.routes {
        table.push(["route".into(), route.name.clone(), format!("{} {}", route.method, route.path.as_str())]);
    }
    let imports: String = component.imports().iter().map(|name| format!("\n  {name}")).collect();
    format!(
        "digest   {}\nsize     {bytes} bytes\nsdk      {}\n\n{}\n\nimports{imports}",
        component.digest(),
        manifest.sdk,
        table.for_output()
    )
}

fn parameters(parameters: &[Parameter]) -> String {
    let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    format!("({})", names.join(", "))
}

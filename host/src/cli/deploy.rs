//! `dbos-host deploy`: makes a component the one that new workflows start on.

use std::path::PathBuf;

use clap::Args;

use super::args::ConfigArgs;
use super::component::{self, summary};
use super::config::{Config, Overrides};
use super::exit::Exit;
use super::failure::Failure;
use super::open::Opened;
use super::output;

/// Store a component in the database and start new workflows on it
#[derive(Debug, Args)]
#[command(
    after_help = "Running hosts need no restart. Workflows that run already go on with the version that started \
them. Deploying an earlier version again is a rollback.

Example:
  dbos-host deploy target/wasm32-wasip2/release/greeting.wasm"
)]
pub(crate) struct DeployArgs {
    /// The component
    #[arg(value_name = "WASM")]
    pub(crate) wasm: PathBuf,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

impl DeployArgs {
    /// What the arguments say in place of the configuration file.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides { wasm: Some(self.wasm.clone()), ..self.config.overrides() }
    }
}

/// Stores the component and makes it current.
pub(crate) async fn execute(args: &DeployArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.overrides())?;
    let sandbox = component::sandbox(&config.limits, &config.state)?;
    let (bytes, component) = component::load(&sandbox, config.app.wasm()?).await?;
    let name = config.app.name()?;
    let opened = Opened::open(&config).await?;
    let deployed = async {
        opened.migrate().await?;
        let action = || Failure::to("deploy the component").exit(Exit::Database);
        let stored = opened.database.store_component(component.digest(), &bytes, component.manifest_json()).await;
        stored.map_err(|error| action().because(error))?;
        opened.database.deploy(name, component.digest(), true).await.map_err(|error| action().because(error))?;
        output::print(&format!("deployed `{name}` {} with {}", component.digest().short(), summary(&component)))
    }
    .await;
    let closed = opened.close().await;
    deployed?;
    closed?;
    Ok(Exit::Success)
}

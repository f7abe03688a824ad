//! `dbos-host deploy`: makes a component the one that new workflows start on.

use std::path::PathBuf;

use clap::Args;

use super::apps;
use super::args::ConfigArgs;
use super::component::{self, summary};
use super::config::{Config, Overrides};
use super::exit::Exit;
use super::failure::Failure;
use super::open::Opened;
use super::output;
use crate::workflow::AppName;

/// Store a component in the database and start new workflows on it
#[derive(Debug, Args)]
#[command(
    after_help = "Running hosts need no restart. Workflows that run already go on with the version that started \
them. Deploying an earlier version again is a rollback.

Examples:
  dbos-host deploy target/wasm32-wasip2/release/greeting.wasm
  dbos-host deploy orders.wasm --app orders
  dbos-host deploy --app orders        the component that `apps.orders.wasm` in dbos-config.yaml names"
)]
pub(crate) struct DeployArgs {
    /// The component; without it, `wasm` of the configuration, or those of all its `apps`
    #[arg(value_name = "WASM")]
    pub(crate) wasm: Option<PathBuf>,

    /// The app that it is for; to be given with WASM if the configuration has several
    #[arg(long, value_name = "NAME", value_parser = AppName::parse)]
    pub(crate) app: Option<AppName>,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

impl DeployArgs {
    /// What the arguments say in place of the configuration file.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides { wasm: self.wasm.clone(), app: self.app.clone(), ..self.config.overrides() }
    }
}

/// Stores the components and makes them current.
pub(crate) async fn execute(args: &DeployArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.overrides())?;
    let sandbox = component::sandbox(&config.limits, &config.state)?;
    let wanted = |name: &AppName| args.app.as_ref().is_none_or(|wanted| wanted == name);
    let chosen = config.apps.iter().filter(|app| app.name().map_or(true, wanted));
    let loaded = apps::load(&sandbox, chosen).await?;
    let opened = Opened::open(&config).await?;
    let deployed = async {
        opened.migrate().await?;
        apps::check_with_deployed(&opened, &config, &loaded).await?;
        for app in &loaded {
            app.deploy(&opened, true).await?;
            let (name, component) = (app.name, &app.component);
            output::print(&format!("deployed `{name}` {} with {}", component.digest().short(), summary(component)))?;
        }
        Ok::<_, Failure>(())
    }
    .await;
    let closed = opened.close().await;
    deployed?;
    closed?;
    Ok(Exit::Success)
}

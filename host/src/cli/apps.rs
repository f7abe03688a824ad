//! The apps of a host: loaded and deployed when it starts, and followed while it runs.
//!
//! All of them are read and checked before anything of one is written: a host that cannot serve its apps together (two
//! have a workflow of one name, say) must say so before new workflows start on a component that no host can serve.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::component::{self, summary};
use super::config::{App as AppConfig, Config, Limits};
use super::exit::Exit;
use super::failure::Failure;
use super::open::Opened;
use crate::calls::Outbound;
use crate::database::GuestPool;
use crate::executor::{App, AppSettings, Executor};
use crate::sandbox::{Component, Sandbox};
use crate::trigger::{RouteConflict, Routes};
use crate::workflow::{AppName, ComponentDigest, Manifest, NameClash, check_unique};

/// How often a host asks whether another component was deployed.
const LOOK_FOR_DEPLOYMENTS: Duration = Duration::from_secs(2);

/// Database connections for the SQL of one app. Postgres serves a hundred in all as it comes, several hosts share them,
/// and more than a few for each core make it slower.
const MAX_SQL_CONNECTIONS: u32 = 20;

/// The same for the SQL of all apps of a host, which divide them; but an app with fewer than two would have its steps wait
/// for each other, however little the others do.
const MAX_SQL_CONNECTIONS_OF_ALL: u32 = 40;
const LEAST_SQL_CONNECTIONS: u32 = 2;

/// An app of the configuration with the component that its file holds.
pub(crate) struct Loaded<'a> {
    pub(crate) name: &'a AppName,
    pub(crate) component: Component,
    bytes: Vec<u8>,
    config: &'a AppConfig,
}

/// Reads, compiles and checks the components of these apps, one by one and together.
pub(crate) async fn load<'a>(
    sandbox: &Sandbox,
    apps: impl IntoIterator<Item = &'a AppConfig>,
) -> Result<Vec<Loaded<'a>>, Failure> {
    let mut loaded = Vec::new();
    for config in apps {
        // The component first: its file name is the name of the app if no other is given.
        let wasm = config.wasm()?;
        let name = config.name()?;
        let (bytes, component) = component::load(sandbox, wasm).await?;
        loaded.push(Loaded { name, component, bytes, config });
    }
    check_together(loaded.iter().map(|app| (app.name, &**app.component.manifest())))?;
    Ok(loaded)
}

/// Why apps cannot be served by one host.
#[derive(Debug, thiserror::Error)]
enum Clash {
    #[error(transparent)]
    Names(#[from] NameClash),
    #[error(transparent)]
    Routes(#[from] RouteConflict),
}

impl From<Clash> for Failure {
    fn from(clash: Clash) -> Self {
        let code = match &clash {
            Clash::Names(_) => NameClash::CODE,
            Clash::Routes(_) => RouteConflict::CODE,
        };
        Self::to("serve these apps together").because(clash).exit(Exit::Component).code(code)
    }
}

fn check_together<'a>(apps: impl Iterator<Item = (&'a AppName, &'a Manifest)> + Clone) -> Result<(), Clash> {
    check_unique(apps.clone())?;
    Ok(Routes::check(apps)?)
}

/// Checks that a component which is about to be deployed fits to what is deployed for the other apps of the configuration:
/// a host that serves them all would not start with it.
pub(crate) async fn check_with_deployed(opened: &Opened, config: &Config, apps: &[Loaded<'_>]) -> Result<(), Failure> {
    let action = |error| Failure::to("look at the other apps").because(error).exit(Exit::Database);
    let mut others = Vec::new();
    for other in &config.apps {
        let name = other.name()?;
        if apps.iter().any(|app| app.name == name) {
            continue;
        }
        let Some(deployed) = opened.database.deployed(name).await.map_err(action)? else { continue };
        let manifest = opened.database.component_manifest(&deployed).await.map_err(action)?;
        // One that this host cannot read is for the host that starts with it to complain about.
        others.extend(manifest.and_then(|json| Manifest::parse(&json).ok()).map(|manifest| (name, manifest)));
    }
    let others = others.iter().map(|(name, manifest)| (*name, manifest));
    Ok(check_together(others.chain(apps.iter().map(|app| (app.name, &**app.component.manifest()))))?)
}

impl Loaded<'_> {
    /// Stores the component, and makes it current: in any case (`again`), or if the app has never had it. Returns the
    /// digest of the current one.
    pub(crate) async fn deploy(&self, opened: &Opened, again: bool) -> Result<ComponentDigest, Failure> {
        let action = || Failure::to(format!("deploy the component of `{}`", self.name)).exit(Exit::Database);
        let digest = self.component.digest();
        let stored = opened.database.store_component(digest, &self.bytes, self.component.manifest_json()).await;
        stored.map_err(|error| action().because(error))?;
        opened.database.deploy(self.name, digest, again).await.map_err(|error| action().because(error))
    }
}

/// Deploys what the database has not seen, and makes the apps as they are served.
pub(crate) async fn put_together(
    config: &Config,
    opened: &Opened,
    sandbox: &Sandbox,
    loaded: Vec<Loaded<'_>>,
) -> Result<Vec<App>, Failure> {
    opened.check_roles(config)?;
    let limits = &config.limits;
    let share = (MAX_SQL_CONNECTIONS_OF_ALL / u32::try_from(loaded.len().max(1)).unwrap_or(u32::MAX))
        .clamp(LEAST_SQL_CONNECTIONS, MAX_SQL_CONNECTIONS)
        .min(limits.steps.get());
    let mut current = Vec::new();
    for app in loaded {
        current.push((app.name, app.config, deploy(opened, sandbox, app).await?));
    }
    // What is current may be another component than the one that was loaded.
    check_together(current.iter().map(|(name, _, component)| (*name, &**component.manifest())))?;
    let mut apps = Vec::new();
    for (name, config, component) in current {
        apps.push(put_one_together(config, opened, name, component, (share, limits)).await?);
    }
    Ok(apps)
}

/// Stores the component and makes it current if the app has never had it. Returns the current one.
async fn deploy(opened: &Opened, sandbox: &Sandbox, app: Loaded<'_>) -> Result<Arc<Component>, Failure> {
    let deployed = app.deploy(opened, false).await?;
    let Loaded { name, component, .. } = app;
    if deployed == *component.digest() {
        return Ok(Arc::new(component));
    }
    tracing::warn!(
        "new workflows start on {}, which was deployed after this component of `{name}`; to go back, run \
         `dbos-host deploy` with it",
        deployed.short()
    );
    let action = || Failure::to(format!("load the deployed component of `{name}`"));
    let stored = opened.database.load_component(&deployed).await;
    let Some(stored) = stored.map_err(|error| action().because(error).exit(Exit::Database))? else {
        tracing::warn!("{} is not in this database; new workflows start on this component", deployed.short());
        return Ok(Arc::new(component));
    };
    let current = sandbox.load(stored.bytes).await.map_err(|error| action().because(error).exit(Exit::Component))?;
    Ok(Arc::new(current))
}

async fn put_one_together(
    config: &AppConfig,
    opened: &Opened,
    name: &AppName,
    current: Arc<Component>,
    (connections, limits): (u32, &Limits),
) -> Result<App, Failure> {
    let login = opened.guest_login(config).await?;
    let pending = opened.database.pending_app_migrations(name, &config.migrations).await;
    match pending.map_err(|error| Failure::to(format!("look at the migrations of `{name}`")).because(error))? {
        none if none.is_empty() => {}
        some => tracing::warn!("not applied yet to `{name}`: {}; run `dbos-host migrate`", some.join(", ")),
    }
    let outbound =
        Outbound::to(config.outbound.clone()).map_err(|error| Failure::to("prepare outgoing HTTP").because(error))?;
    let env = config.env.iter().map(|(key, value)| (key.clone(), value.expose().to_owned())).collect();
    let connections = usize::try_from(connections).unwrap_or(1);
    let patience = (limits.statement, limits.transaction);
    let sql = GuestPool::new(&login, connections, patience, opened.database.clone());
    let log_bytes_per_second = limits.log_bytes_per_second;
    Ok(App::new(AppSettings { name: name.clone(), env, outbound, sql, log_bytes_per_second }, current))
}

/// Starts new runs on what was deployed last, also by another host. What cannot be served beside the other apps is not
/// taken, and the app goes on with what it has.
pub(crate) async fn follow_deployments(
    executor: Arc<Executor>,
    sandbox: Sandbox,
    replace: impl Fn(Routes) + Send + Sync,
) {
    let mut refused: HashMap<AppName, ComponentDigest> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK_FOR_DEPLOYMENTS).await;
        for app in executor.apps() {
            let current = app.current().digest().clone();
            let deployed = match executor.database().deployed(app.name()).await {
                Ok(Some(deployed)) if deployed != current => deployed,
                _ => continue,
            };
            let component = match app.component(&deployed, executor.database(), &sandbox).await {
                Ok(component) => component,
                Err(error) => {
                    tracing::debug!("{error}");
                    continue;
                }
            };
            if let Err(clash) = check_beside_others(&executor, app, &component) {
                // Asked again each time: the other app may change. Told once.
                if refused.insert(app.name().clone(), deployed.clone()).as_ref() != Some(&deployed) {
                    let current = current.short();
                    tracing::error!(
                        "app `{}` {} was deployed and cannot be served; it goes on with {current}: {clash}",
                        app.name(),
                        deployed.short()
                    );
                }
                continue;
            }
            tracing::info!("app `{}` {} was deployed: {}", app.name(), deployed.short(), summary(&component));
            app.set_current(component);
            match Routes::of(executor.apps()) {
                Ok(routes) => replace(routes),
                Err(error) => tracing::error!("the new routes cannot be served: {error}"),
            }
        }
    }
}

fn check_beside_others(executor: &Executor, candidate: &App, component: &Arc<Component>) -> Result<(), Clash> {
    let all: Vec<_> = executor
        .apps()
        .map(|app| {
            let is_candidate = app.name() == candidate.name();
            (app.name(), if is_candidate { Arc::clone(component) } else { app.current() })
        })
        .collect();
    check_together(all.iter().map(|(name, component)| (*name, &**component.manifest())))
}

//! `dbos-host run`: serves the apps of the configuration until it is told to stop.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::oneshot;

use super::apps::{self, Loaded};
use super::args::{ConfigArgs, ServeArgs};
use super::component::{self, summary};
use super::config::{Config, Overrides};
use super::executor_id;
use super::exit::Exit;
use super::failure::Failure;
use super::open::Opened;
use super::shutdown::Shutdown;
use crate::admin::AdminServer;
use crate::clock::Clock;
use crate::executor::{Executor, PUT_OFF, Parts};
use crate::recovery::{self, Keeper};
use crate::retention::{self, Keep};
use crate::sandbox::Sandbox;
use crate::trigger::{RouteConflict, Routes, Server};
use crate::workflow::{AppName, Code};

/// How long running calls may go on after the first signal.
const GRACE: Duration = Duration::from_secs(5);

/// How long the database may take afterwards for each of the two things that it is told: the attempts, and the end of the
/// lease. Both are courtesies. Together with the grace it is less than the ten seconds after which `docker stop` kills.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serve the app or apps, and take up what an earlier run left
#[derive(Debug, Args)]
#[command(
    after_help = "A component that this database has not seen is deployed: new workflows start on it. Workflows \
that an earlier version started go on with that version.

Examples:
  dbos-host run target/wasm32-wasip2/release/greeting.wasm
  dbos-host run greeting.wasm --listen 0.0.0.0:80
  dbos-host run        the component that `wasm` in dbos-config.yaml names, or those of all its `apps`

Ctrl-C ends it gracefully, a second Ctrl-C at once; either way the next run goes on where \
this one was."
)]
pub(crate) struct RunArgs {
    /// The component; without it, `wasm` of the configuration
    #[arg(value_name = "WASM")]
    pub(crate) wasm: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    #[command(flatten)]
    pub(crate) serve: ServeArgs,

    /// Print the log lines that a workflow repeats when it is replayed
    #[arg(long)]
    pub(crate) show_replayed_logs: bool,
}

impl RunArgs {
    /// What the arguments say in place of the configuration file.
    pub(crate) fn overrides(&self) -> Overrides {
        let mut overrides = self.config.overrides();
        overrides.wasm = self.wasm.clone();
        self.serve.apply(&mut overrides);
        overrides
    }
}

/// Runs the host until it is told to stop.
pub(crate) async fn execute(args: &RunArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.overrides())?;
    let shutdown = Shutdown::listen().map_err(|error| Failure::to("listen for signals").because(error))?;
    tracing::info!("dbos-host {}", env!("CARGO_PKG_VERSION"));
    match &config.file {
        Some(file) => tracing::info!("configuration: {}", file.display()),
        None => tracing::info!("configuration: defaults, since there is no `dbos-config.yaml` here"),
    }
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let sandbox = component::sandbox(&config.limits, &config.state)?;
    let Some(loaded) = shutdown.unless_requested(apps::load(&sandbox, &config.apps)).await else {
        return Ok(stopped_before_it_served());
    };
    let loaded = loaded?;
    let Some(opened) = open(&config, &shutdown).await? else { return Ok(stopped_before_it_served()) };
    let prepared = shutdown.unless_requested(prepare(args, &config, &opened, sandbox.clone(), loaded)).await;
    let served = match prepared {
        Some(Ok(prepared)) => {
            until_told_to_stop(&opened, prepared, sandbox, shutdown).await;
            Ok(Exit::Success)
        }
        Some(Err(failure)) => Err(failure),
        // What was begun in the database is rolled back by the server, or can be begun again.
        None => Ok(stopped_before_it_served()),
    };
    let closed = opened.close().await;
    let exit = served?;
    closed?;
    Ok(exit)
}

fn stopped_before_it_served() -> Exit {
    tracing::info!("stopped before anything was served");
    Exit::Success
}

/// Opens the database; `None` if the host is told to stop first. Nobody would stop a local Postgres that is left in the
/// middle of its start, so that start comes to its end first.
async fn open(config: &Config, shutdown: &Shutdown) -> Result<Option<Opened>, Failure> {
    let mut opening = pin!(Opened::open(config));
    if let Some(opened) = shutdown.unless_requested(&mut opening).await {
        return opened.map(Some);
    }
    if config.database_url.is_none() {
        tracing::info!("stopping as soon as the local Postgres has started and can be stopped");
        opening.await?.close().await?;
    }
    Ok(None)
}

/// A host that is about to serve.
struct Prepared {
    executor: Arc<Executor>,
    keeper: Keeper,
    server: Server,
    admin: Option<AdminServer>,
    /// Which finished runs of the apps are kept.
    keep: Vec<(AppName, Keep)>,
}

/// Everything that is to be done before requests are taken.
async fn prepare(
    args: &RunArgs,
    config: &Config,
    opened: &Opened,
    sandbox: Sandbox,
    loaded: Vec<Loaded<'_>>,
) -> Result<Prepared, Failure> {
    opened.migrate().await?;
    for app in &loaded {
        tracing::info!("app `{}` {} with {}", app.name, app.component.digest().short(), summary(&app.component));
    }
    tracing::info!("database: {}", opened.place());
    let apps = apps::put_together(config, opened, &sandbox, loaded).await?;

    let wanted = executor_id::of(config)?;
    let database_failed = |error| Failure::to("register this host").because(error).exit(Exit::Database);
    let (identity, keeper, lease) =
        recovery::acquire(&opened.database, &wanted, of_test("DBOS_HOST_TEST_LEASE_MS", recovery::LEASE))
            .await
            .map_err(database_failed)?;
    tracing::debug!("executor `{}`", identity.executor);
    let executor = Executor::new(Parts {
        database: opened.database.clone(),
        secret: opened.database.secret().await.map_err(database_failed)?,
        sandbox: sandbox.clone(),
        clock: Clock::system(),
        lease,
        identity,
        apps,
        slots: component::slots(&config.limits),
        limits: component::run_limits(&config.limits),
        show_replayed_logs: args.show_replayed_logs,
        put_off: of_test("DBOS_HOST_TEST_PUT_OFF_MS", PUT_OFF),
    });
    let routes = Routes::of(executor.apps()).map_err(|error| {
        Failure::to("serve the apps' routes").because(error).exit(Exit::Component).code(RouteConflict::CODE)
    })?;
    let server = Server::bind(config.listen, Arc::clone(&executor), routes, config.limits.http)
        .await
        .map_err(|error| Failure::to("serve HTTP").because(error).code(Code("cannot_listen")))?;
    let admin = admin(config, &executor).await?;
    tracing::info!("listening on http://{}", server.address());
    let keep = config.apps.iter().map(|app| Ok((app.name()?.clone(), app.retention)));
    let keep = keep.collect::<Result<_, Failure>>()?;
    Ok(Prepared { executor, keeper, server, admin, keep })
}

/// The operator's door, unless it is turned off.
async fn admin(config: &Config, executor: &Arc<Executor>) -> Result<Option<AdminServer>, Failure> {
    let Some(address) = config.admin.address() else { return Ok(None) };
    let server = AdminServer::bind(address, Arc::clone(executor)).await;
    let server =
        server.map_err(|error| Failure::to("serve the admin API").because(error).code(Code("cannot_listen")))?;
    tracing::info!("admin server on http://{}", server.address());
    Ok(Some(server))
}

/// Serves, and does everything that a host does beside that, until a signal; then lets what runs come to an end.
async fn until_told_to_stop(opened: &Opened, prepared: Prepared, sandbox: Sandbox, shutdown: Shutdown) {
    let Prepared { executor, keeper, server, admin, keep } = prepared;
    let (everything_ended, ended) = oneshot::channel();
    let keeping = tokio::spawn(keep_identity(Arc::clone(&executor), keeper, ended));
    let watching =
        tokio::spawn(recovery::watch(Arc::clone(&executor), of_test("DBOS_HOST_TEST_LEASE_MS", recovery::LEASE) / 3));
    let background = [
        tokio::spawn(async move {
            if let Some(admin) = admin {
                admin.serve().await;
            }
        }),
        tokio::spawn(Arc::clone(&executor).take_up_due()),
        tokio::spawn(Arc::clone(&executor).tell_reasons()),
        tokio::spawn(recovery::follow_changes(
            Arc::clone(&executor),
            of_test("DBOS_HOST_TEST_LOOK_MS", recovery::LOOK_EVERY),
        )),
        tokio::spawn(recovery::undo_what_failed(Arc::clone(&executor))),
        tokio::spawn(apps::follow_deployments(Arc::clone(&executor), sandbox, server.replace_routes())),
        tokio::spawn(opened.look_after()),
        tokio::spawn(retention::keep(opened.database.clone(), keep)),
    ];
    let asked = shutdown.clone();
    let serving = tokio::spawn(server.serve(async move {
        asked.requested().await;
    }));

    shutdown.requested().await;
    tracing::info!("stopping: running calls have {} s, unfinished workflows go on at the next start", GRACE.as_secs());
    executor.stop();
    // A host that stops takes nothing over.
    watching.abort();
    let ended = tokio::time::timeout(GRACE, async { tokio::join!(executor.quiet(), serving) }).await;
    match ended {
        Ok((_, Err(error))) => tracing::error!("the HTTP server ended: {error}"),
        Ok(_) => {}
        Err(_) => tracing::warn!("some calls did not end in time; what they began is recorded or is done again"),
    }
    for task in background {
        task.abort();
        // Ended or aborted, it holds nothing any more.
        let _ = task.await;
    }
    give_attempts_back(opened, &executor).await;
    drop(everything_ended);
    if tokio::time::timeout(FAREWELL, keeping).await.is_err() {
        tracing::debug!("the lease was not ended; it runs out by itself");
    }
}

/// An operator's restart is nothing that a run could be blamed for. Without the database the attempts stay counted.
async fn give_attempts_back(opened: &Opened, executor: &Executor) {
    let claims = executor.interrupted();
    match tokio::time::timeout(FAREWELL, opened.database.give_back_attempts(&claims)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("cannot give attempts back: {error}"),
        Err(_) => tracing::warn!("cannot give attempts back: the database does not answer"),
    }
}

/// Keeps the lease until it is told that everything has come to its end, then ends it so that others need not wait. As
/// long as calls run here, nobody else may take their runs.
async fn keep_identity(executor: Arc<Executor>, mut keeper: Keeper, ended: oneshot::Receiver<()>) {
    let database = executor.database().clone();
    tokio::select! {
        () = keeper.keep(&database, |identity| executor.change_identity(identity)) => {}
        _ = ended => {}
    }
    keeper.release().await;
}

/// A time that tests set: take-overs do not wait for ten seconds, a host finds out by a refused write and not by looking,
/// writes share a commit however slow the machine is.
#[cfg(feature = "failpoints")]
fn of_test(variable: &str, usual: Duration) -> Duration {
    let milliseconds = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    milliseconds.map_or(usual, Duration::from_millis)
}

#[cfg(not(feature = "failpoints"))]
fn of_test(_variable: &str, usual: Duration) -> Duration {
    usual
}

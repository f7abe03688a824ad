//! `dbos-host migrate`: brings the database up to date.

use std::process::Stdio;

use clap::Args;

use super::args::ConfigArgs;
use super::config::Config;
use super::exit::Exit;
use super::failure::Failure;
use super::open::Opened;
use super::output;
use crate::database::GuestLogin;

/// Create or update the system tables and those of the apps
#[derive(Debug, Args)]
#[command(after_help = "Applies the files `migrations/*.sql` in the order of their names, each once and in a \
transaction, then runs the commands under `database.migrate` of the configuration.

Examples:
  dbos-host migrate
  DBOS_DATABASE_URL=postgres://admin@db.example.com/shop dbos-host migrate")]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Migrates the system tables and the app's own.
pub(crate) async fn execute(args: &MigrateArgs) -> Result<Exit, Failure> {
    let config = Config::load(args.config.overrides())?;
    // Before the database is opened, which may mean to create one.
    for app in &config.apps {
        app.name()?;
    }
    let opened = Opened::open(&config).await?;
    let migrated = migrate(&config, &opened).await;
    let closed = opened.close().await;
    migrated?;
    closed?;
    Ok(Exit::Success)
}

async fn migrate(config: &Config, opened: &Opened) -> Result<(), Failure> {
    opened.migrate().await?;
    opened.check_roles(config)?;
    for app in &config.apps {
        let name = app.name()?;
        let login = opened.guest_login(app).await?;
        let report = opened.database.migrate_app(name, &login, &app.migrations).await;
        let action = || Failure::to(format!("migrate the tables of `{name}`"));
        let report = report.map_err(|error| action().because(error).exit(Exit::Database))?;
        if report.applied.is_empty() && report.before == 0 {
            // Told with the folder, for one that is misspelt has none either.
            tracing::info!("there are no migrations of `{name}` in `{}`", app.migrations.display());
        } else if report.applied.is_empty() {
            tracing::info!("the {} migrations of `{name}` were applied before", report.before);
        }
        for command in &app.migrate {
            run(command, config, &login).await?;
        }
    }
    output::print("Completed schema migration")
}

/// Runs a command of another migration tool, as the app: it finds the database in `DATABASE_URL`.
async fn run(command: &str, config: &Config, login: &GuestLogin) -> Result<(), Failure> {
    tracing::info!("running `{command}`");
    let action = || Failure::to(format!("run `{command}`"));
    let status = tokio::process::Command::new("sh")
        .args(["-c", command])
        .current_dir(&config.folder)
        .env("DATABASE_URL", login.url().to_url_for(None))
        .stdin(Stdio::null())
        .status()
        .await
        .map_err(|error| action().because(error))?;
    if status.success() { Ok(()) } else { Err(action().because(format!("it ended with {status}"))) }
}

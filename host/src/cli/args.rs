//! The grammar of the command line.
//!
//! Only what is written on it: what an argument means together with the configuration file and the environment is the
//! matter of `config`, what a command does stands with the command.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::build::BuildArgs;
use super::completions::CompletionsArgs;
use super::config::reference::ConfigReferenceArgs;
use super::config::{AdminListen, ExecutorId, Listen, Overrides, Secret};
use super::deploy::DeployArgs;
use super::inspect::InspectArgs;
use super::log::LogArgs;
use super::migrate::MigrateArgs;
use super::new::NewArgs;
use super::output::ColorChoice;
use super::reset::ResetArgs;
use super::retention::RetentionArgs;
use super::run::RunArgs;
use super::version::VersionArgs;
use super::workflow::WorkflowArgs;

/// Runs durable workflows, compiled to WebAssembly components, on Postgres
#[derive(Debug, Parser)]
#[command(name = "dbos-host", version, after_help = AFTER_HELP)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) log: LogArgs,

    /// Colours: `auto`, `always` or `never`
    // Read before the others: see `entry`.
    #[arg(long, global = true, value_name = "WHEN", value_enum, hide_possible_values = true)]
    #[arg(default_value = "auto", hide_default_value = true, help_heading = "Output")]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(NewArgs),
    Build(BuildArgs),
    Inspect(InspectArgs),
    Reset(ResetArgs),
    Migrate(MigrateArgs),
    Run(RunArgs),
    Deploy(DeployArgs),
    Retention(RetentionArgs),
    Workflow(WorkflowArgs),
    Config(ConfigReferenceArgs),
    Version(VersionArgs),
    Completions(CompletionsArgs),
}

const AFTER_HELP: &str = "`dbos-host COMMAND --help` has the options, `docs/command-line.md` all of it.";

/// Where the configuration and the database are: for every command that needs them.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file [default: dbos-config.yaml, if it exists]
    #[arg(long, value_name = "FILE", env = "DBOS_CONFIG", hide_env_values = true, help_heading = "Configuration")]
    pub(crate) config: Option<PathBuf>,

    /// The database, `postgres://user@host/name` [default: a local one]
    #[arg(long, value_name = "URL", env = "DBOS_DATABASE_URL", hide_env_values = true)]
    #[arg(help_heading = "Configuration")]
    pub(crate) database_url: Option<Secret>,

    /// The folder for what is kept on this machine [default: .dbos]
    #[arg(long, value_name = "FOLDER", env = "DBOS_STATE", hide_env_values = true, help_heading = "Configuration")]
    pub(crate) state: Option<PathBuf>,
}

impl ConfigArgs {
    /// What these arguments say in place of the configuration file.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            // A variable that is set to nothing is how many tools say "not set".
            database_url: self.database_url.clone().filter(|url| !url.is_empty()),
            state: self.state.clone(),
            ..Overrides::default()
        }
    }
}

/// Arguments of a host that serves.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address and port for HTTP; a port alone means this machine only [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS", env = "DBOS_LISTEN", hide_env_values = true)]
    pub(crate) listen: Option<Listen>,

    /// The address and port of the admin server, on this machine only, or `off` [default: 127.0.0.1:3001]
    #[arg(long, value_name = "ADDRESS", env = "DBOS_ADMIN_LISTEN", hide_env_values = true)]
    pub(crate) admin_listen: Option<AdminListen>,

    /// The name by which this host owns its workflows [default: kept in the state folder]
    #[arg(long, value_name = "ID", env = "DBOS_EXECUTOR_ID", hide_env_values = true)]
    pub(crate) executor_id: Option<ExecutorId>,
}

impl ServeArgs {
    /// Adds what these arguments say to `overrides`.
    pub(crate) fn apply(&self, overrides: &mut Overrides) {
        overrides.listen = self.listen.map(SocketAddr::from);
        overrides.admin = self.admin_listen;
        overrides.executor_id = self.executor_id.clone();
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::workflow::WorkflowCommand;
    use crate::workflow::Status;

    fn parse(line: &str) -> Result<Command, String> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command).map_err(|error| error.to_string())
    }

    #[test]
    fn run_takes_a_component_and_overrides() {
        let line = "dbos-host run a.wasm --listen 0.0.0.0:80 --state /s --config c.yaml --database-url postgres://u:p@h/d \
                    --show-replayed-logs --executor-id blue --admin-listen off";
        let Ok(Command::Run(run)) = parse(line) else { panic!("`run` was expected") };
        assert!(run.show_replayed_logs);
        let overrides = run.overrides();
        assert_eq!(overrides.wasm, Some(PathBuf::from("a.wasm")));
        assert_eq!(overrides.config, Some(PathBuf::from("c.yaml")));
        assert_eq!(overrides.state, Some(PathBuf::from("/s")));
        assert_eq!(overrides.listen, Some(SocketAddr::from(([0, 0, 0, 0], 80))));
        assert_eq!(overrides.admin, Some(AdminListen::Off));
        assert_eq!(overrides.executor_id.as_ref().map(ToString::to_string), Some("blue".to_owned()));
        assert_eq!(overrides.database_url.as_ref().map(Secret::expose), Some("postgres://u:p@h/d"));
    }

    #[test]
    fn the_database_url_is_not_shown() {
        let Ok(command) = parse("dbos-host migrate --database-url postgres://u:sesame@h/d") else {
            panic!("`migrate` was expected")
        };
        assert!(!format!("{command:?}").contains("sesame"));
    }

    #[test]
    fn an_empty_database_url_is_none() {
        let line = ["dbos-host", "migrate", "--database-url", ""];
        let Command::Migrate(migrate) = Arguments::try_parse_from(line).expect("arguments").command else {
            panic!("`migrate` was expected")
        };
        assert!(migrate.config.overrides().database_url.is_none());
    }

    #[test]
    fn list_has_filters() {
        let line = "dbos-host workflow list --status max_recovery_attempts_exceeded --name greet --limit 5 --json";
        let Ok(Command::Workflow(workflow)) = parse(line) else { panic!("`workflow` was expected") };
        let WorkflowCommand::List(list) = workflow.command else { panic!("`list` was expected") };
        assert_eq!(list.status, Some(Status::MaxRecoveryAttemptsExceeded));
        assert_eq!((list.name.as_deref(), list.limit, list.json), (Some("greet"), 5, true));
    }

    #[test]
    fn wrong_arguments_say_what_is_wrong() {
        let error = parse("dbos-host run a.wasm --listen nowhere").expect_err("no address");
        assert!(
            error.starts_with(
                "error: invalid value 'nowhere' for '--listen <ADDRESS>': \
                 expected an address and a port, like `127.0.0.1:8000`, or a port"
            ),
            "{error}"
        );
        assert!(parse("dbos-host workflow list --limit 0").is_err());
        assert!(parse("dbos-host workflow get").is_err());
        assert!(parse("dbos-host workflow cancel").is_err());
        assert!(parse("dbos-host workflow list --since yesterday").is_err());
        assert!(parse("dbos-host deploy a.wasm --app 9lives").is_err());
        assert!(parse("dbos-host").is_err());
    }

    /// What the reference of the configuration says about flags and variables is what the commands take, and the other way
    /// round.
    #[test]
    fn flags_and_variables_are_in_the_reference() {
        let mut overriding = std::collections::BTreeSet::new();
        let grammar = Arguments::command();
        for command in grammar.get_subcommands().chain([&grammar]) {
            for arg in command.get_arguments() {
                if let (Some(flag), Some(variable)) = (arg.get_long(), arg.get_env()) {
                    overriding.insert((format!("--{flag}"), variable.to_string_lossy().into_owned()));
                }
            }
        }
        overriding.remove(&("--config".into(), "DBOS_CONFIG".into()));
        let keys = super::super::config::KEYS.iter().filter_map(|key| Some((key.flag?.into(), key.variable?.into())));
        assert_eq!(keys.collect::<std::collections::BTreeSet<_>>(), overriding);
    }
}

//! The configuration of a host, put together.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::limits::Limits;
use super::substitute::Variables;
use super::tree::{self, Node, Value};
use super::types::{AdminListen, ExecutorId, Listen, RoleName, Secret};
use super::values::{self, Values};
use crate::calls::AllowList;
use crate::cli::log::{self, LogFilter, LogFormat};
use crate::workflow::AppName;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "dbos-config.yaml";

/// A configuration is written by hand: one of more than a mebibyte is some other file.
const MOST_BYTES: u64 = 1024 * 1024;

/// What the command line and the environment say in place of the file. Paths are relative to the working folder.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) config: Option<PathBuf>,
    pub(crate) wasm: Option<PathBuf>,
    pub(crate) database_url: Option<Secret>,
    pub(crate) executor_id: Option<ExecutorId>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) admin: Option<AdminListen>,
}

/// The configuration of a host. All paths are absolute.
#[derive(Debug)]
pub(crate) struct Config {
    /// The file it was read from, if there was one.
    pub(crate) file: Option<PathBuf>,
    /// The folder that relative paths of the file belong to, and that shell commands run in.
    pub(crate) folder: PathBuf,
    /// The database; without one, a local Postgres in the state folder.
    pub(crate) database_url: Option<Secret>,
    /// The host's identity; without one, that which is kept in the state folder.
    pub(crate) executor_id: Option<ExecutorId>,
    /// Where the host keeps what belongs to this machine.
    pub(crate) state: PathBuf,
    /// Where routes are served.
    pub(crate) listen: SocketAddr,
    /// Where the operator's door is.
    pub(crate) admin: AdminListen,
    /// Which log lines are shown, and how.
    log_level: Option<LogFilter>,
    log_format: Option<LogFormat>,
    /// What guests may use.
    pub(crate) limits: Limits,
    /// The app. A host will serve several; what belongs to one of them is here.
    pub(crate) app: App,
}

/// The configuration of an app.
#[derive(Debug)]
pub(crate) struct App {
    /// Its name, given or taken from the component's file; none if there is neither.
    name: Option<AppName>,
    wasm: Option<PathBuf>,
    /// What handlers and steps see as their environment.
    pub(crate) env: BTreeMap<String, Secret>,
    /// The folder of its migrations. It need not exist.
    pub(crate) migrations: PathBuf,
    /// Shell commands that follow the migrations, as they are written.
    pub(crate) migrate: Vec<String>,
    /// Who its SQL runs as.
    pub(crate) sql_login: SqlLogin,
    /// Whom its communicators may talk to; nobody if empty.
    pub(crate) outbound: AllowList,
}

/// Who an app's SQL runs as.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SqlLogin {
    /// A login role of the app's own, without rights in the system tables; if not named, named after the app.
    Own(Option<RoleName>),
    /// The login of the host (`database.trusted`): the app can do what the host can.
    Host,
}

impl App {
    /// The name of the app, for commands that cannot do without.
    pub(crate) fn name(&self) -> Result<&AppName, ConfigError> {
        self.name.as_ref().ok_or_else(|| {
            ConfigError::new("the app has no name").hint(format!("write `name: my-app` into `{DEFAULT_FILE}`"))
        })
    }

    /// The component, for commands that cannot do without.
    pub(crate) fn wasm(&self) -> Result<&Path, ConfigError> {
        self.wasm.as_deref().ok_or_else(|| {
            ConfigError::new("no component is given")
                .hint(format!("name the .wasm file on the command line, or as `wasm` in `{DEFAULT_FILE}`"))
        })
    }
}

impl Config {
    /// Reads the configuration of this process. From here on the log is as the configuration wants it.
    pub(crate) fn load(overrides: Overrides) -> Result<Self, ConfigError> {
        let here = std::env::current_dir()
            .map_err(|error| ConfigError::new(format!("the working folder cannot be found: {error}")))?;
        let config = Self::load_from(&here, overrides, &values::process_variables)?;
        log::configure(config.log_level.clone(), config.log_format);
        Ok(config)
    }

    /// What a careful owner should know at each start, one sentence each.
    pub(crate) fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if self.app.sql_login == SqlLogin::Host {
            warnings.push(
                "`database.trusted` is set: the app's SQL uses the login of the host, and can read and change \
                 everything that the host can, its records included",
            );
        }
        warnings
    }

    fn load_from(here: &Path, overrides: Overrides, variables: Variables<'_>) -> Result<Self, ConfigError> {
        let shown = overrides.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        let path = here.join(&shown);
        let source = match read(&path) {
            Ok(source) => Some(source),
            Err(error) if error.kind() == ErrorKind::NotFound && overrides.config.is_none() => None,
            Err(error) => return Err(ConfigError::new(reason(&error)).in_file(&shown)),
        };
        let folder = path.parent().unwrap_or(here).to_owned();
        let file = source.is_some().then_some(path);
        Self::assemble(here, folder, file, source.as_deref(), overrides, variables)
            .map_err(|error| if source.is_some() { error.in_file(&shown) } else { error })
    }

    fn assemble(
        here: &Path,
        folder: PathBuf,
        file: Option<PathBuf>,
        source: Option<&str>,
        overrides: Overrides,
        variables: Variables<'_>,
    ) -> Result<Self, ConfigError> {
        let root = source.map_or(Ok(Node { line: 1, value: Value::Null }), tree::parse)?;
        let values = Values::new(root, variables)?;
        let state = match overrides.state {
            Some(state) => here.join(state),
            None => folder.join(values.text("state")?.as_deref().unwrap_or(".dbos")),
        };
        let listen = values.parsed("http.listen", str::parse::<Listen>)?.unwrap_or(Listen::DEFAULT);
        Ok(Self {
            database_url: overrides.database_url.or(values.secret("database_url")?),
            executor_id: overrides.executor_id.or(values.parsed("executor_id", str::parse)?),
            listen: overrides.listen.unwrap_or(listen.into()),
            admin: overrides.admin.or(values.parsed("admin.listen", str::parse)?).unwrap_or(AdminListen::DEFAULT),
            log_level: values.parsed("log.level", str::parse)?,
            log_format: values.parsed("log.format", str::parse)?,
            limits: Limits::read(&values)?,
            app: App::read(&values, &folder, overrides.wasm.map(|wasm| here.join(wasm)))?,
            state,
            folder,
            file,
        })
    }
}

impl App {
    fn read(values: &Values<'_>, folder: &Path, wasm: Option<PathBuf>) -> Result<Self, ConfigError> {
        let configured = values.text("wasm")?.map(|wasm| folder.join(wasm));
        let wasm = wasm.or(configured);
        let name = match (values.parsed("name", AppName::parse)?, &wasm) {
            (Some(name), _) => Some(name),
            (None, Some(wasm)) => Some(name_of(wasm)?),
            (None, None) => None,
        };
        let role = values.parsed("database.role", str::parse)?;
        let sql_login = match (values.flag("database.trusted")?, role) {
            (false, role) => SqlLogin::Own(role),
            (true, None) => SqlLogin::Host,
            (true, Some(_)) => {
                return Err(ConfigError::new("`database.trusted` and `database.role` contradict each other")
                    .hint("a trusted app uses the login of the host; leave one of the two out"));
            }
        };
        Ok(Self {
            name,
            wasm,
            env: values.secrets("env")?,
            migrations: folder.join(values.text("migrations")?.as_deref().unwrap_or("migrations")),
            migrate: values.commands("database.migrate")?,
            sql_login,
            outbound: AllowList(values.list("outbound.allow", str::parse)?),
        })
    }
}

/// The name of an app whose configuration gives none.
fn name_of(wasm: &Path) -> Result<AppName, ConfigError> {
    let stem = wasm.file_stem().unwrap_or_default().to_string_lossy();
    AppName::parse(&stem).map_err(|error| {
        ConfigError::new(format!("no `name` is given, and the component's file name does not serve: {error}"))
            .hint(format!("write `name: my-app` into `{DEFAULT_FILE}`"))
    })
}

fn read(path: &Path) -> io::Result<String> {
    let mut source = String::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut source)?;
    if source.len() as u64 > MOST_BYTES {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(source)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;

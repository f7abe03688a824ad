//! The configuration of a host, put together.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::app::{App, SqlLogin};
use super::error::ConfigError;
use super::keys::{self, Place};
use super::limits::Limits;
use super::settings::{self, Setting};
use super::substitute::Variables;
use super::tree::{self, Node, Value};
use super::types::{AdminListen, ExecutorId, Listen, Secret};
use super::values::{self, Values};
use crate::cli::log::{self, LogFilter, LogFormat};
use crate::database::DatabaseUrl;
use crate::workflow::AppName;

/// The file that is read when none is named.
pub(super) const DEFAULT_FILE: &str = "dbos-config.yaml";

/// Each app costs database connections of its own and a look for deployments every two seconds. Whoever has more programs
/// than this on one machine wants several hosts.
const MAX_APPS: usize = 32;

/// A configuration is written by hand: one of more than a mebibyte is some other file.
const MOST_BYTES: u64 = 1024 * 1024;

/// What the command line and the environment say in place of the file. Paths are relative to the working folder.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) config: Option<PathBuf>,
    /// The component of `app`; without one, of the only app.
    pub(crate) wasm: Option<PathBuf>,
    /// The app that the command is about; without one, all of them.
    pub(crate) app: Option<AppName>,
    pub(crate) database_url: Option<Secret>,
    pub(crate) executor_id: Option<ExecutorId>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) admin: Option<AdminListen>,
}

impl Overrides {
    /// The keys that they come before, with what they say as it may be shown.
    fn shown(&self) -> Vec<(&'static str, String)> {
        let path = |path: &PathBuf| path.display().to_string();
        let given = [
            ("database_url", self.database_url.as_ref().map(|_| settings::HIDDEN.to_owned())),
            ("executor_id", self.executor_id.as_ref().map(ToString::to_string)),
            ("state", self.state.as_ref().map(path)),
            ("http.listen", self.listen.map(|listen| listen.to_string())),
            ("wasm", self.wasm.as_ref().map(path)),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
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
    /// The apps, one or more, in the order of the file.
    pub(crate) apps: Vec<App>,
    /// What it was made of.
    pub(crate) settings: Vec<Setting>,
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
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.apps.iter().filter_map(App::warning).collect()
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
        let mut values = Values::new(root, variables)?;
        let overridden = overrides.shown();
        let (apps, mut of_apps) =
            read_apps(&mut values, &folder, overrides.wasm.map(|wasm| here.join(wasm)), overrides.app.as_ref())?;
        let state = match overrides.state {
            Some(state) => here.join(state),
            None => folder.join(values.text("state")?.as_deref().unwrap_or(".dbos")),
        };
        let listen = values.parsed("http.listen", str::parse::<Listen>)?.unwrap_or(Listen::DEFAULT);
        let database_url = values.secret("database_url", |url| DatabaseUrl::parse(url).map(drop))?;
        let mut settings = settings::list(Place::Top, &values, &overridden);
        if !of_apps.is_empty() {
            settings.retain(|setting| !keys::is_of_an_app(&setting.key));
            settings.append(&mut of_apps);
        }
        Ok(Self {
            settings,
            database_url: overrides.database_url.or(database_url),
            executor_id: overrides.executor_id.or(values.parsed("executor_id", str::parse)?),
            listen: overrides.listen.unwrap_or(listen.into()),
            admin: overrides.admin.or(values.parsed("admin.listen", str::parse)?).unwrap_or(AdminListen::DEFAULT),
            log_level: values.parsed("log.level", |text| {
                text.parse().map_err(|_| "expected a level, or levels by part, like `info,sandbox=debug`")
            })?,
            log_format: values.parsed("log.format", str::parse)?,
            limits: Limits::read(&values)?,
            apps,
            state,
            folder,
            file,
        })
    }
}

/// The apps of a file and what they were made of; a file without `apps` has one, whose settings are those at the top.
fn read_apps(
    values: &mut Values<'_>,
    folder: &Path,
    wasm: Option<PathBuf>,
    wanted: Option<&AppName>,
) -> Result<(Vec<App>, Vec<Setting>), ConfigError> {
    let Some(several) = values.take_apps()? else {
        return Ok((vec![App::only(values, folder, wasm, wanted)?], Vec::new()));
    };
    let names: Vec<String> = several.iter().map(|(name, _)| format!("`{name}`")).collect();
    match wanted {
        Some(wanted) if !several.iter().any(|(name, _)| name == wanted) => {
            let error = ConfigError::new(format!("there is no app `{wanted}` in `apps`"));
            return Err(error.hint(format!("there are {}", names.join(", "))));
        }
        None if wasm.is_some() => {
            return Err(ConfigError::new("a component is given, and the configuration has several apps").hint(format!(
                "leave it out to take the components that `apps` names, or say with `deploy --app NAME` whose it is: {}",
                names.join(", ")
            )));
        }
        _ => {}
    }
    if several.len() > MAX_APPS {
        return Err(ConfigError::new(format!("`apps` has {}; the most is {MAX_APPS}", several.len()))
            .hint("let another host on the same database serve some of them"));
    }
    let (mut apps, mut settings): (Vec<App>, Vec<Setting>) = (Vec::new(), Vec::new());
    for (name, values) in &several {
        let wasm = wasm.clone().filter(|_| wanted == Some(name));
        settings.extend(settings::list(Place::App, values, &[]));
        let app = App::one_of_several(name, values, folder, wasm)?;
        if let SqlLogin::Own(Some(_)) = &app.sql_login
            && let Some(other) = apps.iter().find(|other| other.sql_login == app.sql_login)
        {
            let text = format!("`{}` is that of `{}`", values.shown("database.role"), other.name()?);
            let hint = "an app with the role of another can read and change all that the other can; give each its own";
            return Err(values.error("database.role", text).hint(hint));
        }
        apps.push(app);
    }
    // What an app that is not trusted puts into the schema `public` can run in a statement of one that is.
    let is_trusted = |app: &&App| app.sql_login == SqlLogin::Host;
    if let (Some(trusted), Some(other)) = (apps.iter().find(is_trusted), apps.iter().find(|app| !is_trusted(app))) {
        let text = format!(
            "`apps.{}.database.trusted` is set beside `{}`, which is not trusted and could then do all that the host can",
            trusted.name()?,
            other.name()?
        );
        return Err(
            ConfigError::new(text).hint("trust all apps of a database or none; another database can have the others")
        );
    }
    Ok((apps, settings))
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

#[cfg(feature = "failpoints")]
pub(super) mod fuzz;

#[cfg(test)]
mod several;
#[cfg(test)]
mod tests;

//! The configuration of one app.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::load::DEFAULT_FILE;
use super::retention;
use super::types::{RoleName, Secret};
use super::values::Values;
use crate::calls::AllowList;
use crate::retention::Keep;
use crate::workflow::AppName;

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
    /// Which of its finished runs are kept.
    pub(crate) retention: Keep,
    /// Whether it is one of `apps`.
    is_one_of_several: bool,
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
        self.wasm.as_deref().ok_or_else(|| match &self.name {
            Some(name) if self.is_one_of_several => ConfigError::new(format!("the app `{name}` has no component"))
                .hint(format!("name the .wasm file as `apps.{name}.wasm`")),
            _ => ConfigError::new("no component is given")
                .hint(format!("name the .wasm file on the command line, or as `wasm` in `{DEFAULT_FILE}`")),
        })
    }

    /// The only app: its keys stand at the top. `wasm` and `name` are what the command line says.
    pub(super) fn only(
        values: &Values<'_>,
        folder: &Path,
        wasm: Option<PathBuf>,
        wanted: Option<&AppName>,
    ) -> Result<Self, ConfigError> {
        let configured = values.parsed("name", |text| AppName::parse(text).map_err(|error| error.reason()))?;
        let is_given = wasm.is_some();
        let mut app = Self::read(values, folder, "migrations", wasm)?;
        app.name = match (configured, wanted, &app.wasm) {
            (Some(name), Some(wanted), _) if name != *wanted => {
                return Err(values.error("name", format!("there is no app `{wanted}`, only `{name}`")));
            }
            (Some(name), ..) => Some(name),
            (None, Some(wanted), _) => Some(wanted.clone()),
            (None, None, Some(wasm)) => Some(name_of(wasm).map_err(|reason| {
                let text = format!("no `name` is given, and the component's file name does not serve as one: {reason}");
                let error = if is_given { ConfigError::new(text) } else { values.error("wasm", text) };
                error.hint(format!("write `name: my-app` into `{DEFAULT_FILE}`"))
            })?),
            (None, None, None) => None,
        };
        Ok(app)
    }

    /// One of `apps`.
    pub(super) fn one_of_several(
        name: &AppName,
        values: &Values<'_>,
        folder: &Path,
        wasm: Option<PathBuf>,
    ) -> Result<Self, ConfigError> {
        let mut app = Self::read(values, folder, &format!("{name}/migrations"), wasm)?;
        app.name = Some(name.clone());
        app.is_one_of_several = true;
        Ok(app)
    }

    fn read(values: &Values<'_>, folder: &Path, migrations: &str, wasm: Option<PathBuf>) -> Result<Self, ConfigError> {
        let configured = values.text("wasm")?.map(|wasm| folder.join(wasm));
        let role = values.parsed("database.role", str::parse)?;
        let sql_login = match (values.flag("database.trusted")?, role) {
            (false, role) => SqlLogin::Own(role),
            (true, None) => SqlLogin::Host,
            (true, Some(_)) => {
                let [role, trusted] = ["database.role", "database.trusted"].map(|path| values.shown(path));
                let error = values.error("database.role", format!("`{trusted}` and `{role}` contradict each other"));
                return Err(error.hint("a trusted app uses the login of the host; leave one of the two out"));
            }
        };
        Ok(Self {
            name: None,
            wasm: wasm.or(configured),
            env: values.secrets("env")?,
            migrations: folder.join(values.text("migrations")?.as_deref().unwrap_or(migrations)),
            migrate: values.commands("database.migrate")?,
            sql_login,
            outbound: AllowList {
                origins: values.list("outbound.allow", str::parse)?,
                private: values.list("outbound.private", str::parse)?,
            },
            retention: retention::read(values)?,
            is_one_of_several: false,
        })
    }

    /// What a careful owner should know at each start.
    pub(super) fn warning(&self) -> Option<String> {
        let whose = match &self.name {
            Some(name) if self.is_one_of_several => format!("`apps.{name}.database.trusted`"),
            _ => "`database.trusted`".to_owned(),
        };
        (self.sql_login == SqlLogin::Host).then(|| {
            format!(
                "{whose} is set: the app's SQL uses the login of the host, and can read and change everything that the \
                 host can, its records included"
            )
        })
    }
}

/// The name of an app whose configuration gives none.
fn name_of(wasm: &Path) -> Result<AppName, &'static str> {
    let stem = wasm.file_stem().unwrap_or_default().to_string_lossy();
    AppName::parse(&stem).map_err(|error| error.reason())
}

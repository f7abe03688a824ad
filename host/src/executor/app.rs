//! An app: a name with its configuration, and the components that its runs need.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;

use super::habit::Habits;

use crate::calls::{AppLog, LogBudget, Outbound, Program};
use crate::database::{Database, DatabaseError, GuestPool};
use crate::sandbox::{Component, LoadError, Sandbox};
use crate::workflow::{AppName, ComponentDigest};

/// What the configuration says about an app.
#[derive(Debug)]
pub struct AppSettings {
    /// Its name.
    pub name: AppName,
    /// Environment of handlers and steps.
    pub env: Vec<(String, String)>,
    /// Its way out.
    pub outbound: Outbound,
    /// Its database login.
    pub sql: GuestPool,
    /// How many bytes it may print in a second.
    pub log_bytes_per_second: u64,
}

/// How many components of an app are kept loaded beside the current one. Each is its native code, tens of megabytes for
/// Python; a run whose component is not among them loads it again, in milliseconds if it is in the cache on disk.
const MAX_LOADED: usize = 8;

/// An app (lifetime: the process).
#[derive(Debug)]
pub struct App {
    settings: AppSettings,
    current: RwLock<Arc<Component>>,
    log: AppLog,
    habits: Habits,
    /// The components that runs have needed last, the last one at the end. Locked while one is loaded, so that a hundred
    /// runs of one version compile it once.
    loaded: Mutex<VecDeque<Arc<Component>>>,
}

/// A component that a run needs and that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// It is not in the database.
    #[error("the component `{0}` is not in the database")]
    Missing(ComponentDigest),
    /// It cannot be loaded.
    #[error("the component `{0}` cannot be loaded: {1}")]
    Load(ComponentDigest, LoadError),
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl App {
    /// An app whose new runs take `current`.
    #[must_use]
    pub fn new(settings: AppSettings, current: Arc<Component>) -> Self {
        let log = AppLog::new(settings.name.clone(), LogBudget::new(settings.log_bytes_per_second));
        Self { settings, current: RwLock::new(current), log, habits: Habits::default(), loaded: Mutex::default() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &AppName {
        &self.settings.name
    }

    /// Where its lines go.
    #[must_use]
    pub fn log(&self) -> &AppLog {
        &self.log
    }

    /// What its workflows have done before.
    pub(super) fn habits(&self) -> &Habits {
        &self.habits
    }

    /// What the configuration says.
    #[must_use]
    pub fn settings(&self) -> &AppSettings {
        &self.settings
    }

    /// The component of new runs.
    #[must_use]
    pub fn current(&self) -> Arc<Component> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// New runs take `component` from now on.
    pub fn set_current(&self, component: Arc<Component>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = component;
    }

    /// What calls need to know of a component of this app.
    #[must_use]
    pub fn program(&self, component: &Component) -> Program {
        let (app, digest) = (self.name().clone(), component.digest().clone());
        Program { app, digest, manifest: Arc::clone(component.manifest()) }
    }

    /// The component with this digest, from the database if need be.
    ///
    /// # Errors
    /// When it is not there, cannot be loaded, or the database does not answer.
    pub async fn component(
        &self,
        digest: &ComponentDigest,
        database: &Database,
        sandbox: &Sandbox,
    ) -> Result<Arc<Component>, ComponentError> {
        let current = self.current();
        if current.digest() == digest {
            return Ok(current);
        }
        let mut loaded = self.loaded.lock().await;
        if let Some(at) = loaded.iter().position(|component| component.digest() == digest) {
            let component = loaded.remove(at).expect("it was found there");
            loaded.push_back(Arc::clone(&component));
            return Ok(component);
        }
        let stored = database.load_component(digest).await?;
        let stored = stored.ok_or_else(|| ComponentError::Missing(digest.clone()))?;
        let component = sandbox.load(stored.bytes).await;
        let component = Arc::new(component.map_err(|error| ComponentError::Load(digest.clone(), error))?);
        if loaded.len() >= MAX_LOADED {
            // Instances that are made of it keep it until they end.
            loaded.pop_front();
        }
        loaded.push_back(Arc::clone(&component));
        Ok(component)
    }
}

//! How a `dbos-host` process is configured and started.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::database::Database;
use crate::host::{Hold, Host};
use crate::programs;
use crate::supervisor::scratch;

/// How a host is to be run. Clones share a folder, so a clone that is started later finds what an earlier one left.
#[derive(Debug, Clone)]
pub struct HostBuilder {
    folder: Arc<TempDir>,
    wasm: Option<PathBuf>,
    state: PathBuf,
    database_url: Option<String>,
    executor: Option<String>,
    config: String,
    guest_env: Vec<(String, String)>,
    allow: Vec<String>,
    private: Vec<String>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    processor: Option<u32>,
}

impl HostBuilder {
    /// A host that runs the guest of this name.
    #[must_use]
    pub fn new(guest: &str) -> Self {
        let mut builder = Self::without_component();
        builder.wasm = Some(programs::guest(guest));
        builder
    }

    /// A host that is given no component on its command line.
    #[must_use]
    pub fn without_component() -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().expect("a temporary folder")),
            wasm: None,
            // Compiled components are kept in the state folder. All hosts share it, so each is compiled once.
            state: scratch().join("state"),
            database_url: None,
            executor: None,
            config: String::new(),
            guest_env: Vec::new(),
            allow: Vec::new(),
            private: Vec::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            processor: None,
        }
    }

    /// Another component, by its file.
    #[must_use]
    pub fn wasm(mut self, path: impl Into<PathBuf>) -> Self {
        self.wasm = Some(path.into());
        self
    }

    /// The database. Without one, the host keeps a Postgres of its own in its state folder.
    #[must_use]
    pub fn database(self, database: &Database) -> Self {
        self.database_url(database.url())
    }

    /// The database, by its connection string.
    #[must_use]
    pub fn database_url(mut self, url: &str) -> Self {
        self.database_url = Some(url.into());
        self
    }

    /// The executor's id. Hosts without one share an id, as they share the state folder.
    #[must_use]
    pub fn executor(mut self, id: &str) -> Self {
        self.executor = Some(id.into());
        self
    }

    /// A state folder that is not shared with other tests.
    #[must_use]
    pub fn own_state(mut self) -> Self {
        self.state = self.folder.path().join("state");
        self
    }

    /// Lines for the configuration file.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        self.config.push_str(yaml);
        self.config.push('\n');
        self
    }

    /// The folder of the app's migrations, by its path from the top of this checkout.
    #[must_use]
    pub fn migrations(self, source: &str) -> Self {
        let folder = programs::source(source);
        self.config(&format!("migrations: {}", quoted(&folder.display().to_string())))
    }

    /// A variable that the guest sees in handlers and steps.
    #[must_use]
    pub fn guest_env(mut self, name: &str, value: &str) -> Self {
        self.guest_env.push((name.into(), value.into()));
        self
    }

    /// An origin that communicators may talk to.
    #[must_use]
    pub fn allow(mut self, origin: &str) -> Self {
        self.allow.push(origin.into());
        self
    }

    /// A network that is not public and that communicators may reach by names.
    #[must_use]
    pub fn private(mut self, network: &str) -> Self {
        self.private.push(network.into());
        self
    }

    /// A variable of the host's own environment. The last value of a name counts.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// One more argument for the command line.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Whoever sleeps moves the clock to the time of waking at once.
    #[must_use]
    pub fn jumping_clock(self) -> Self {
        self.environment("DBOS_HOST_TEST_CLOCK", "auto")
    }

    /// The length of the executor's lease.
    #[must_use]
    pub fn lease(self, length: Duration) -> Self {
        self.environment("DBOS_HOST_TEST_LEASE_MS", &length.as_millis().to_string())
    }

    /// The host does not look for what others write into its runs' rows after its start: it finds out when a write of its
    /// own is refused.
    #[must_use]
    pub fn heedless(self) -> Self {
        self.environment("DBOS_HOST_TEST_LOOK_MS", "86400000")
    }

    /// Writes that may share the commit of another are put off for as long as it takes.
    #[must_use]
    pub fn patient(self) -> Self {
        self.environment("DBOS_HOST_TEST_PUT_OFF_MS", "60000")
    }

    /// The process kills itself at a visit of a fail point, `<name>#<n>`.
    #[must_use]
    pub fn kill_at(self, visit: &str) -> Self {
        self.environment("DBOS_HOST_KILL_AT", visit)
    }

    /// The process may use this processor of the machine only, numbered from 0, and sees no other.
    #[must_use]
    pub fn on_processor(mut self, number: u32) -> Self {
        self.processor = Some(number);
        self
    }

    /// The process waits at a visit of a fail point, `<name>#<n>`, until the test releases it.
    #[must_use]
    pub fn hold_at(self, visit: &str) -> (Self, Hold) {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("hold-{}.go", NUMBER.fetch_add(1, Ordering::Relaxed));
        let hold = Hold::new(self.folder.clone(), name);
        let value = format!("{visit}={}", hold.file().display());
        (self.environment("DBOS_HOST_HOLD_AT", &value), hold)
    }

    /// Each visit of a fail point is noted; see [`Self::visits`].
    #[must_use]
    pub fn note_visits(self) -> Self {
        let file = self.visits_file().display().to_string();
        self.environment("DBOS_HOST_FAILPOINTS_LOG", &file)
    }

    /// The visits of fail points that were noted so far, as `<name>#<n>`, in their order.
    #[must_use]
    pub fn visits(&self) -> Vec<String> {
        let names = fs::read_to_string(self.visits_file()).unwrap_or_default();
        let names: Vec<&str> = names.lines().collect();
        let visit = |(index, name): (usize, &&str)| {
            format!("{name}#{}", names[..=index].iter().filter(|other| other == &name).count())
        };
        names.iter().enumerate().map(visit).collect()
    }

    fn visits_file(&self) -> PathBuf {
        self.folder.path().join("visits")
    }

    /// This builder's folder: the configuration and the logs are in it, and it is removed with the last clone.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    fn write_config(&self) -> PathBuf {
        let mut yaml = self.config.clone();
        if let Some(wasm) = &self.wasm {
            // For the commands that take no component; the app has its name from it.
            writeln!(yaml, "wasm: {}", quoted(&wasm.display().to_string())).expect("writing to a string does not fail");
        }
        if !self.guest_env.is_empty() {
            yaml.push_str("env:\n");
            for (name, value) in &self.guest_env {
                writeln!(yaml, "  {name}: {}", quoted(value)).expect("writing to a string does not fail");
            }
        }
        let lists = [("allow", &self.allow), ("private", &self.private)];
        let lists: Vec<String> = lists
            .iter()
            .filter(|(_, items)| !items.is_empty())
            .map(|(key, items)| format!("  {key}: {}\n", Value::from(items.as_slice())))
            .collect();
        if !lists.is_empty() {
            yaml.push_str("outbound:\n");
            yaml.push_str(&lists.concat());
        }
        let path = self.folder.path().join("dbos-config.yaml");
        // In one piece: a host that another command of the test has started may be reading it.
        let new = tempfile::NamedTempFile::new_in(self.folder.path()).expect("a temporary file");
        fs::write(new.path(), yaml).expect("write the configuration");
        new.persist(&path).expect("put the configuration into its place");
        path
    }

    /// A command of the host's binary with this builder's configuration. Its words come first: `&["workflow", "list"]`.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = match self.processor {
            Some(number) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", &number.to_string()]).arg(programs::host());
                command
            }
            None => Command::new(programs::host()),
        };
        command.args(words).arg("--config").arg(self.write_config()).arg("--state").arg(&self.state);
        if let Some(url) = &self.database_url {
            command.args(["--database-url", url]);
        }
        // What the machine's user has set must not decide how a test ends.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("DBOS_") && name != "DBOS_HOST_BIN" {
                command.env_remove(&*name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end and returns what it said, whatever its exit status.
    pub async fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().await.expect("the host's binary runs")
    }

    /// Applies the migrations.
    ///
    /// # Panics
    /// If that fails.
    pub async fn migrate(&self) {
        let output = self.output(&["migrate"]).await;
        assert!(output.status.success(), "`migrate` failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts the host and waits until it listens.
    ///
    /// # Panics
    /// If it ends before.
    pub async fn start(&self) -> Host {
        let mut host = self.launch();
        assert!(host.listens().await, "the host ended before it listened");
        host
    }

    /// Starts the host and waits for nothing.
    ///
    /// # Panics
    /// If there is no such program.
    #[must_use]
    pub fn launch(&self) -> Host {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let log = self.folder.path().join(format!("host-{}.log", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let mut command = self.command(&["run"]);
        command.args(&self.wasm).args(["--listen", "127.0.0.1:0"]).args(&self.arguments);
        if !self.arguments.iter().any(|argument| argument == "--admin-listen") {
            // Hosts of many tests run at once, and there is one port 3001.
            command.args(["--admin-listen", "127.0.0.1:0"]);
        }
        if let Some(executor) = &self.executor {
            command.args(["--executor-id", executor]);
        }
        let file = File::create(&log).expect("a file for the host's log");
        command.stdout(file.try_clone().expect("a second handle of a file")).stderr(file);
        let child = command.spawn().expect("the host's binary starts");
        Host::new(child, log, self.folder.clone())
    }
}

/// A text in YAML, whatever it contains.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

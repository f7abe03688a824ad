//! A running `dbos-host` process: how it is asked, held at a fail point, stopped and killed.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::task::JoinHandle;

use crate::http::{Reply, Request};
use crate::wait::eventually;

/// How much of a host's log is shown when its test fails.
const SHOWN_LINES: usize = 150;

/// Far longer than a process needs from its run's last commit to its own last fail point.
const A_MOMENT: Duration = Duration::from_millis(500);

/// A fail point at which a host waits.
#[derive(Debug)]
pub struct Hold {
    folder: Arc<TempDir>,
    name: String,
}

impl Hold {
    pub(crate) fn new(folder: Arc<TempDir>, name: String) -> Self {
        Self { folder, name }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// True when the host waits there, or did.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.file().with_extension("reached").exists()
    }

    /// Waits until the host waits there.
    ///
    /// # Panics
    /// If it does not get there in good time.
    pub async fn reached(&self) {
        eventually("the host reaches the fail point at which it is held", async || self.is_reached().then_some(()))
            .await;
    }

    /// Lets the host go on.
    pub fn release(&self) {
        fs::write(self.file(), []).expect("release a held host");
    }
}

/// A running host. It is killed when this is dropped; its log is shown if the test fails.
#[derive(Debug)]
pub struct Host {
    child: Child,
    log: PathBuf,
    url: Option<String>,
    _folder: Arc<TempDir>,
}

impl Host {
    pub(crate) fn new(child: Child, log: PathBuf, folder: Arc<TempDir>) -> Self {
        Self { child, log, url: None, _folder: folder }
    }

    /// Waits until the host listens. False: it ended before.
    pub async fn listens(&mut self) -> bool {
        let (child, log) = (&mut self.child, &self.log);
        let found = eventually("the host listens", async || {
            let ended = child.try_wait().expect("a child can be waited for").is_some();
            let text = fs::read_to_string(log).unwrap_or_default();
            let url = text.lines().find_map(|line| {
                let (_, rest) = line.split_once("listening on ")?;
                // A log for programs has the message in quotes.
                Some(rest.split([' ', '"']).next()?.trim_end_matches('/').to_owned())
            });
            match url {
                Some(url) => Some(Some(url)),
                None => ended.then_some(None),
            }
        })
        .await;
        self.url = found;
        self.url.is_some()
    }

    /// A URL of this host, with a path that begins with a slash.
    ///
    /// # Panics
    /// If the host does not listen yet.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url.as_ref().expect("the host listens"))
    }

    /// A URL of its admin server, with a path that begins with a slash.
    ///
    /// # Panics
    /// If the host does not listen yet, or has no admin server.
    #[must_use]
    pub fn admin_url(&self, path: &str) -> String {
        let log = self.log();
        let address = log.lines().find_map(|line| line.split_once("admin server on ")?.1.split_whitespace().next());
        format!("{}{path}", address.expect("the host has an admin server"))
    }

    /// Where it listens, as it says itself.
    ///
    /// # Panics
    /// If the host does not listen yet.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.as_deref().expect("the host listens")
    }

    /// Its process. `None`: it has ended.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// What the host has written so far, log lines and output.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log has a line with this text.
    ///
    /// # Panics
    /// If it does not come in good time.
    pub async fn wait_for_log(&self, text: &str) {
        eventually(&format!("the host says `{text}`"), async || self.log().contains(text).then_some(())).await;
    }

    /// Starts a workflow under an id and does not wait for its end.
    ///
    /// # Panics
    /// If the host does not acknowledge it.
    pub async fn start_workflow(&self, name: &str, id: &str, arguments: &Value) {
        let reply = self.ask_to_start(name, id, arguments).await.expect("the host answers");
        assert_eq!(reply.status, 202, "{reply:?}");
    }

    /// The same for a host that may be killed before it answers.
    ///
    /// # Errors
    /// When no answer came: nobody knows then whether the run was started.
    pub async fn ask_to_start(&self, name: &str, id: &str, arguments: &Value) -> std::io::Result<Reply> {
        self.run_request(name, id, arguments).header("prefer", "respond-async").send().await
    }

    /// Starts a workflow under an id and waits for the answer, which has its result.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn run_workflow(&self, name: &str, id: &str, arguments: &Value) -> std::io::Result<Reply> {
        self.run_request(name, id, arguments).send().await
    }

    /// The same in the background.
    pub fn ask(&self, name: &str, id: &str, arguments: &Value) -> JoinHandle<std::io::Result<Reply>> {
        tokio::spawn(self.run_request(name, id, arguments).send())
    }

    fn run_request(&self, name: &str, id: &str, arguments: &Value) -> Request {
        Request::post(self.url(&format!("/workflows/{name}")), arguments).header("idempotency-key", id)
    }

    /// How many connections of clients it has that it has not closed, gone clients included.
    ///
    /// # Panics
    /// If that cannot be found out.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        let port: u16 = self.url("").rsplit(':').next().and_then(|port| port.parse().ok()).expect("a URL has a port");
        let own = format!(":{port:04X}");
        let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table of connections");
        // The columns: a number, the own address, the other's, the state. Of the states, 01 is a connection and 08 one
        // that only the client has closed; the others are those of the listener and of what the process is done with.
        let is_open = |line: &&str| {
            let mut columns = line.split_whitespace().skip(1);
            let (local, state) = (columns.next().unwrap_or_default(), columns.nth(1).unwrap_or_default());
            local.ends_with(&own) && ["01", "08"].contains(&state)
        };
        table.lines().filter(is_open).count()
    }

    /// The most memory that it had at any time so far, in KiB.
    ///
    /// # Panics
    /// If the process has ended.
    #[must_use]
    pub fn most_resident_kib(&self) -> u64 {
        let id = self.child.id().expect("the host is running");
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the kernel tells about a child");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a process has memory");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number of KiB")
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("the host is running");
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id is a positive number");
        rustix::process::kill_process(pid, signal).expect("a signal to a running child");
    }

    /// Kills the process with SIGKILL. When this returns, it is gone.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub async fn kill9(&mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Asks it to stop as Ctrl-C does, and waits for its end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::INT);
        self.wait_for_exit().await
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Panics
    /// If it does not end in good time.
    pub async fn wait_for_exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the host ends", async || child.try_wait().expect("a child can be waited for")).await
    }

    /// Waits a moment for the end of a process that may end now or not at all. True: it has ended.
    ///
    /// # Panics
    /// If that cannot be found out.
    pub async fn ends_soon(&mut self) -> bool {
        tokio::time::timeout(A_MOMENT, self.child.wait()).await.is_ok()
    }

    /// True when the process has ended.
    ///
    /// # Panics
    /// If that cannot be found out.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("--- the end of the host's log `{}`:\n{}\n---", self.log.display(), shown.join("\n"));
        }
    }
}

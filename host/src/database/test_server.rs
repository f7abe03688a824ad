//! A PostgreSQL server for the unit tests of this module.
//!
//! It has a folder of its own, listens on a Unix socket there and nowhere else, and must be gone when the tests are
//! over, however they end: a static is never dropped, and a test process may be killed. So a small shell watches over
//! it, which reads from a pipe that only this process holds. When the pipe closes, the shell stops the server and
//! removes the folder.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use super::claim::Incarnation;
use super::connection::Database;
use super::lease::LeaseConnection;
use super::url::DatabaseUrl;

/// Makes and starts the server, says where it is, waits for the end of the pipe, and cleans up. Durability is off:
/// the data never outlives the test.
const SUPERVISOR: &str = r#"
    set -eu
    folder=$(mktemp -d)
    trap 'pg_ctl -D "$folder/data" -m immediate stop >"$folder/stop.log" 2>&1 || true; rm -rf "$folder"' EXIT
    cd "$folder"
    initdb -D data -U postgres -A trust -E UTF8 --locale=C --no-sync >initdb.log 2>&1 </dev/null || { cat initdb.log >&2; exit 1; }
    options="-c listen_addresses= -c unix_socket_directories=$folder -c fsync=off -c max_connections=50"
    pg_ctl -D data -l server.log -o "$options" -w start >start.log 2>&1 </dev/null || { cat start.log server.log >&2; exit 1; }
    echo "$folder"
    cat >/dev/null
"#;

/// A running server. It stops when this is dropped or when the process ends.
#[derive(Debug)]
pub(crate) struct TestServer {
    supervisor: Child,
    folder: PathBuf,
}

impl TestServer {
    /// Starts a server of its own for a test that stops it or changes its settings.
    pub(crate) fn start() -> Self {
        let mut command = supervisor_command();
        // A group of its own: a Ctrl-C on the terminal must not end the shell before it has cleaned up.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut supervisor = command.spawn().expect("a shell to supervise the test server");
        let mut folder = String::new();
        let answers = supervisor.stdout.as_mut().expect("its output is piped");
        BufReader::new(answers).read_line(&mut folder).expect("the supervisor's answer");
        assert!(!folder.is_empty(), "the test server did not start; its messages are above");
        Self { supervisor, folder: PathBuf::from(folder.trim_end()) }
    }

    /// The server that the tests of this process share. It stops with the process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<TestServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A new, empty database on the shared server.
    pub(crate) async fn fresh_database() -> Database {
        let server = Self::shared();
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        server.connect().await.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a new database");
        let url = DatabaseUrl::unix_socket(server.folder(), "postgres", &name);
        Database::connect(url).await.expect("a connection to the new database")
    }

    /// The same with the system tables, and the executor `e`, which lives as long as its lease.
    pub(crate) async fn fresh_executor() -> (Database, Incarnation, LeaseConnection) {
        let (database, incarnation) = (Self::fresh_database().await, Incarnation::fresh());
        database.migrate().await.expect("the system tables");
        let lease = LeaseConnection::try_acquire(&database, "e", &incarnation, Duration::from_secs(600)).await;
        let (lease, _) = lease.expect("the database answers").expect("nobody else is this executor");
        (database, incarnation, lease)
    }

    /// The folder of its Unix socket.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How to connect as the superuser, to the database `postgres`.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new();
        config.host_path(&self.folder).user("postgres").dbname("postgres");
        config
    }

    /// A new connection, whose task ends with the client.
    pub(crate) async fn connect(&self) -> Client {
        let (client, connection) = self.config().connect(NoTls).await.expect("a connection to the test server");
        tokio::spawn(connection);
        client
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Closing the pipe is the signal to stop; waiting makes sure that the server is gone when this returns.
        drop(self.supervisor.stdin.take());
        self.supervisor.wait().expect("the supervisor is this process's child");
    }
}

impl Database {
    /// Runs statements over a connection of their own, as another program would.
    pub(crate) async fn execute_all(&self, statements: &str) {
        let client = self.own_client().await.expect("a connection");
        client.batch_execute(statements).await.expect("statements that can be run");
    }

    /// Locks a table, as long as what this returns is kept.
    pub(crate) async fn lock_table(&self, table: &str) -> impl Send + use<> {
        let client = self.own_client().await.expect("a connection");
        client.batch_execute(&format!("BEGIN; LOCK TABLE {table}")).await.expect("a table");
        client
    }
}

/// The shell, with the server's programs in its PATH. They refuse to run as root, so root gives them to `postgres`.
fn supervisor_command() -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = std::iter::once(path).chain(versioned_folders()).collect::<Vec<_>>().join(":");
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", "sh", "-c", SUPERVISOR]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISOR]);
        command
    };
    command.env("PATH", path).current_dir("/");
    command
}

/// Where Debian keeps the programs of each version, the newest first.
fn versioned_folders() -> Vec<String> {
    let versions = Path::new("/usr/lib/postgresql").read_dir().into_iter().flatten().flatten();
    let mut folders: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    folders.sort_by(|a, b| b.cmp(a));
    folders.into_iter().map(|(_, folder)| folder.display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_server_answers_and_is_gone_when_dropped() {
        let server = TestServer::start();
        let client = server.connect().await;
        let row = client.query_one("SELECT 1", &[]).await.expect("an answer");
        assert_eq!(row.get::<_, i32>(0), 1);
        let folder = server.folder.clone();
        assert!(folder.exists());
        drop(server);
        assert!(!folder.exists());
    }
}

//! A throw-away PostgreSQL server.
//!
//! The tests share one, each with a database of its own; a test that restarts the server starts one for itself. It
//! listens on a Unix socket in its own folder and on a free port of this machine's loopback.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::Config;

use crate::certificates::{Authority, Certificate};
use crate::database::Database;
use crate::supervisor::Supervisor;

/// Makes and starts a server with the settings `$1` and the files that follow, each a name and its text; says where it
/// is, waits for the end of the pipe, and cleans up.
const SERVER: &str = r#"
    set -eu
    folder=$(mktemp -d)
    trap 'pg_ctl -D "$folder/data" -m immediate stop >"$folder/stop.log" 2>&1 || true; rm -rf "$folder"' EXIT
    cd "$folder"
    initdb -D data -U postgres -A trust -E UTF8 --locale=C --no-sync >initdb.log 2>&1 </dev/null \
        || { cat initdb.log >&2; exit 1; }
    printf '%s\n' "$1" "unix_socket_directories = '$folder'" >>data/postgresql.conf
    shift
    umask 077
    while [ $# -gt 0 ]; do printf '%s' "$2" >"data/$1"; shift 2; done
    pg_ctl -D data -l server.log -w start >start.log 2>&1 </dev/null || { cat start.log server.log >&2; exit 1; }
    echo "$folder"
    cat >/dev/null
"#;

/// A running server. It stops when this is dropped or when the process ends.
#[derive(Debug)]
pub struct TestPostgres {
    _supervisor: Supervisor,
    folder: PathBuf,
    port: u16,
}

impl TestPostgres {
    /// The server that all tests of this process share. Its data never outlives the process, so nothing is synced.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestPostgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::with_settings("fsync = off", &[]))
    }

    /// A server of its own, for a test that restarts it: what was committed must survive that.
    #[must_use]
    pub fn start() -> Self {
        Self::with_settings("fsync = on", &[])
    }

    /// A server that speaks TLS with this certificate, and nothing else over TCP. `postgres` is let in by its name,
    /// `certified` by a certificate of `clients`, everybody else by password.
    #[must_use]
    pub fn with_tls(certificate: &Certificate, clients: &Authority) -> Self {
        const LOGINS: &str = "local all all trust\n\
             hostssl all certified 127.0.0.1/32 cert\n\
             hostssl all postgres 127.0.0.1/32 trust\n\
             hostssl all all 127.0.0.1/32 scram-sha-256\n";
        Self::with_settings(
            "fsync = off\nssl = on\nssl_ca_file = 'clients.crt'\npassword_encryption = 'scram-sha-256'",
            &[
                ("server.crt", certificate.chain()),
                ("server.key", certificate.key()),
                ("clients.crt", clients.certificate()),
                ("pg_hba.conf", LOGINS),
            ],
        )
    }

    fn with_settings(settings: &str, files: &[(&str, &str)]) -> Self {
        let port = free_port();
        let settings = format!(
            "{settings}\nlisten_addresses = '127.0.0.1'\nport = {port}\nmax_connections = 400\nlog_statement = none\n\
             log_line_prefix = '%m [%p] %d '"
        );
        let mut command = as_postgres("sh");
        command.args(["-c", SERVER, "sh", &settings]);
        command.args(files.iter().flat_map(|(name, text)| [*name, *text]));
        let supervisor = Supervisor::start(command);
        let folder = PathBuf::from(supervisor.answer());
        Self { _supervisor: supervisor, folder, port }
    }

    /// A new, empty database.
    pub async fn fresh_database(&self) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let all = Database::at(self.config("postgres"), self.url("postgres"));
        all.execute(&format!("CREATE DATABASE {name}")).await;
        Database::at(self.config(&name), self.url(&name))
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the Unix socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The connection string of a database for its administrator.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host_path(&self.folder).port(self.port).user("postgres").dbname(database);
        config
    }

    /// Stops the server as a crash would, without a word to anybody, and starts it again. When this returns, it answers.
    pub async fn restart_immediate(&self) {
        self.pg_ctl(&["-m", "immediate", "-w", "restart"]).await;
    }

    /// Stops the server as a crash would.
    pub async fn stop_immediate(&self) {
        self.pg_ctl(&["-m", "immediate", "-w", "stop"]).await;
    }

    /// Starts it again after [`Self::stop_immediate`].
    pub async fn start_again(&self) {
        self.pg_ctl(&["-w", "start"]).await;
    }

    async fn pg_ctl(&self, arguments: &[&str]) {
        let mut command = as_postgres("pg_ctl");
        command.current_dir(&self.folder).args(["-D", "data", "-l", "server.log"]).args(arguments);
        // The server inherits what it is started with; a pipe of ours would never end.
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let status = tokio::task::spawn_blocking(move || command.status()).await.expect("pg_ctl does not panic");
        assert!(status.expect("pg_ctl runs").success(), "pg_ctl failed; its messages are above");
    }
}

/// A program of PostgreSQL. They refuse to run as root, so root gives them to the user `postgres`.
fn as_postgres(program: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = std::iter::once(path).chain(versioned_folders()).collect::<Vec<_>>().join(":");
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", program]);
        command
    } else {
        Command::new(program)
    };
    command.env("PATH", path);
    command
}

/// A program of PostgreSQL, the newest that there is.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let files = versioned_folders().into_iter().map(|folder| Path::new(&folder).join(name));
    files.into_iter().find(|file| file.exists()).unwrap_or_else(|| name.into())
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

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

//! The app as its users meet it: built, on a Postgres of its own, asked over HTTP. Steps and workflows need the host, so
//! they are tested here; `DBOS_HOST` says where it is if it is not in PATH.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A command of the host, in this project.
fn dbos_host(words: &[&str]) -> Command {
    let program = std::env::var_os("DBOS_HOST").unwrap_or_else(|| "dbos-host".into());
    let mut command = Command::new(program);
    command.args(words).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("DBOS_DATABASE_URL");
    command
}

fn run(mut command: Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().expect("`dbos-host` is in PATH, or DBOS_HOST says where");
    assert!(output.status.success(), "{command:?} ended with {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// A running host; it is stopped with the test.
struct Host {
    process: Child,
    address: String,
}

impl Host {
    fn start(component: &Path, state: &Path) -> Self {
        // Beside a host that runs in another terminal, and with a log that has the address whatever is set there.
        let mut command = dbos_host(&["run", "--listen", "127.0.0.1:0", "--admin-listen", "off"]);
        command.args(["--log", "info", "--log-format", "text"]);
        command.arg(component).arg("--state").arg(state).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the host starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let listening = lines.find_map(|line| Some(line.split_once("listening on http://")?.1.to_owned()));
        let address = listening.expect("the host listens; its log is above");
        // The rest of the log, so that the host never waits for a reader.
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
        Self { process, address }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the host listens");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("the host reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("the host answers");
        assert!(reply.starts_with("HTTP/1.1 200 "), "{path}: {reply}");
        reply.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SIGTERM, so that the host stops its Postgres too.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

#[test]
fn a_visitor_is_welcomed_and_recorded() {
    let state = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("state");
    // What an earlier run of the test left.
    let _ = std::fs::remove_dir_all(&state);
    // The first line is where the component is.
    let built = run(dbos_host(&["build"]));
    let component = Path::new(built.lines().next().expect("a path"));

    let mut migrate = dbos_host(&["migrate", "--state"]);
    migrate.arg(&state);
    run(migrate);

    let host = Host::start(component, &state);
    assert_eq!(host.get("/welcome/Ann"), "Welcome, Ann!");
    assert_eq!(host.get("/welcome/Ann"), "Welcome back, Ann!");
    let visits = host.get("/visits");
    assert!(visits.contains("Welcome, Ann!") && visits.contains("Welcome back, Ann!"), "{visits}");
}

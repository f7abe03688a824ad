//! What must hold for the whole: with the real PostgreSQL of the machine, real kills, and as root if the tests are.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::account::Account;
use super::local::LocalPostgres;
use super::look::{Seen, look, processes_of};
use super::machine::Machine;
use super::place::Place;

/// A state folder that the server's user can reach, and that takes its servers with it when the test ends.
struct State {
    root: tempfile::TempDir,
    machine: Machine,
}

impl State {
    fn new() -> Self {
        let root = tempfile::Builder::new().prefix("dbos-host-test-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let machine = Machine { shared: root.path().join("shared"), ..Machine::usual() };
        Self { root, machine }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("app/.dbos")
    }

    async fn start(&self) -> LocalPostgres {
        LocalPostgres::start_on(&self.machine, &self.folder()).await.unwrap()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let homes = std::fs::read_dir(self.root.path().join("shared")).into_iter().flatten().flatten();
        for home in homes.map(|entry| entry.path()).chain([self.folder().join("postgres")]) {
            let data = home.join("data");
            while let Some(pid) = processes_of(&data).pop() {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Runs SQL the way a user would by hand, and returns what it prints.
fn sql(local: &LocalPostgres, statement: &str) -> String {
    let connection = local.connection();
    let output = Command::new(local.programs().program("psql"))
        .arg("-h")
        .arg(&connection.socket_folder)
        .args(["-p", &connection.port.to_string(), "-U", connection.user, "-d", connection.database, "-X", "-At", "-c"])
        .arg(statement)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn server_pid(local: &LocalPostgres) -> Pid {
    let text = std::fs::read_to_string(local.place().data().join("postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().parse().unwrap()).unwrap()
}

/// Kills the server and waits until it, not its children, has gone. A dying process loses its folder first and its
/// socket a little later.
fn kill_server(local: &LocalPostgres) {
    let pid = server_pid(local);
    kill_process(pid, Signal::KILL).unwrap();
    while processes_of(&local.place().data()).contains(&pid)
        || std::os::unix::net::UnixStream::connect(local.place().socket_path()).is_ok()
    {
        std::thread::yield_now();
    }
}

/// The session of a process, read from `/proc` because the library's call cannot answer with a session whose leader is
/// outside of the container that the tests run in: the kernel calls that one 0.
fn session_of(process: &str) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    after_name.split(' ').nth(3).unwrap().parse().unwrap()
}

/// A program of the server's user that has nothing to do with PostgreSQL.
fn innocent_program(account: Account) -> std::process::Child {
    let mut command = Command::new("sleep");
    if let Account::Other { uid, gid } = account {
        command.uid(uid).gid(gid);
    }
    command.arg("600").current_dir("/").spawn().unwrap()
}

async fn is_gone(place: &Place) -> bool {
    matches!(look(place).await.unwrap(), Seen::Gone { .. })
}

#[tokio::test]
async fn data_are_kept_from_one_run_to_the_next() {
    let state = State::new();
    let local = state.start().await;
    sql(&local, "CREATE TABLE greeting (name text)");
    sql(&local, "INSERT INTO greeting VALUES ('Mike')");
    let place = local.place().clone();
    local.stop().await.unwrap();
    assert!(is_gone(&place).await);

    let local = state.start().await;
    assert_eq!(sql(&local, "SELECT name FROM greeting"), "Mike");
    assert_eq!(sql(&local, "SHOW listen_addresses"), "");
    assert_eq!(sql(&local, "SHOW fsync"), "on");
    assert_eq!(sql(&local, "SHOW max_connections"), "100");
    assert_eq!(
        sql(&local, "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = 'dbos'"),
        "UTF8|C"
    );
    assert_eq!(sql(&local, "SELECT lower('É')"), "é");
    let mode = std::fs::metadata(&local.connection().socket_folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    local.stop().await.unwrap();
}

#[tokio::test]
async fn two_hosts_at_once_share_one_server_and_the_last_one_stops_it() {
    let state = State::new();
    let (first, second) = tokio::join!(state.start(), state.start());
    assert_eq!(server_pid(&first), server_pid(&second));
    assert_eq!(first.connection(), second.connection());
    let place = first.place().clone();
    first.stop().await.unwrap();
    assert_eq!(sql(&second, "SELECT 1"), "1");
    second.stop().await.unwrap();
    assert!(is_gone(&place).await);
}

#[tokio::test]
async fn a_server_that_outlived_its_host_is_used_again() {
    let state = State::new();
    let local = state.start().await;
    let pid = server_pid(&local);
    // A killed host leaves just this: no locks, and the server in a session of its own.
    drop(local);
    let local = state.start().await;
    assert_eq!(server_pid(&local), pid);
    assert_ne!(session_of(&pid.to_string()), session_of("self"));
    let place = local.place().clone();
    local.stop().await.unwrap();
    assert!(is_gone(&place).await);
}

#[tokio::test]
async fn a_killed_server_is_started_again_with_its_data() {
    let state = State::new();
    let local = state.start().await;
    sql(&local, "CREATE TABLE greeting AS SELECT 'Mike' AS name");
    let pid = server_pid(&local);
    kill_server(&local);
    local.revive().await.unwrap();
    assert_ne!(server_pid(&local), pid);
    assert_eq!(sql(&local, "SELECT name FROM greeting"), "Mike");
    let alive = server_pid(&local);
    local.revive().await.unwrap();
    assert_eq!(server_pid(&local), alive, "a server that lives is left alone");
    local.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_process_number_that_an_innocent_program_has_now_is_seen_through() {
    let state = State::new();
    let local = state.start().await;
    let (place, pid_file) = (local.place().clone(), local.place().data().join("postmaster.pid"));
    let text = std::fs::read_to_string(&pid_file).unwrap();
    let socket_lock = place.socket.join(".s.PGSQL.5432.lock");
    let socket_text = std::fs::read_to_string(&socket_lock).unwrap();
    kill_server(&local);
    drop(local);

    let mut innocent = innocent_program(place.account);
    let give_number_away = |text: &str| {
        let (_, rest) = text.split_once('\n').unwrap();
        format!("{}\n{rest}", innocent.id())
    };
    std::fs::write(&pid_file, give_number_away(&text)).unwrap();
    std::fs::write(&socket_lock, give_number_away(&socket_text)).unwrap();
    let local = state.start().await;
    assert_eq!(sql(&local, "SELECT 1"), "1");
    local.stop().await.unwrap();
    assert!(innocent.try_wait().unwrap().is_none(), "the innocent program must not be signalled");
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[tokio::test]
async fn what_a_killed_server_left_behind_does_not_keep_the_next_one_from_starting() {
    let state = State::new();
    let local = state.start().await;
    let connection = local.connection();
    // A session that is busy does not notice the death of its server.
    let mut client = Command::new(local.programs().program("psql"))
        .arg("-h")
        .arg(&connection.socket_folder)
        .args(["-U", connection.user, "-d", connection.database, "-X", "-q", "-c"])
        .arg("DO $$ BEGIN PERFORM pg_advisory_lock(1); LOOP END LOOP; END $$")
        .spawn()
        .unwrap();
    while sql(&local, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") != "1" {}
    kill_server(&local);
    assert!(!processes_of(&local.place().data()).is_empty(), "the busy session is still there");
    local.revive().await.unwrap();
    assert_eq!(sql(&local, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
    client.wait().unwrap();
    local.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_without_a_socket_is_replaced_unless_others_use_it() {
    let state = State::new();
    let (first, second) = (state.start().await, state.start().await);
    std::fs::remove_file(first.place().socket_path()).unwrap();
    let error = first.revive().await.unwrap_err().to_string();
    assert!(error.starts_with("other hosts use the server, and nothing answers"), "{error}");
    drop(second);
    first.revive().await.unwrap();
    assert_eq!(sql(&first, "SELECT 1"), "1");
    first.stop().await.unwrap();
}

#[tokio::test]
async fn an_interrupted_creation_is_begun_anew() {
    let state = State::new();
    let home = state.folder().join("postgres");
    std::fs::create_dir_all(home.join("unfinished-0/base")).unwrap();
    std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
    let local = state.start().await;
    assert_eq!(sql(&local, "SELECT 1"), "1");
    assert!(!home.join("unfinished-0").exists());
    local.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_or_awkward_path_only_moves_the_socket() {
    let state = State::new();
    let deep = state.root.path().join("it's $(a) \"deep\" `folder`").join("d".repeat(100));
    let local = LocalPostgres::start_on(&state.machine, &deep).await.unwrap();
    let socket = local.connection().socket_folder;
    assert!(socket.starts_with("/tmp"), "{}", socket.display());
    assert!(local.place().data().starts_with(&deep));
    assert_eq!(sql(&local, "SELECT 1"), "1");
    local.stop().await.unwrap();
    assert!(!socket.exists(), "an empty folder must not stay in /tmp");
}

#[tokio::test]
async fn data_that_another_user_could_not_reach_go_elsewhere() {
    let state = State::new();
    let private = state.folder();
    std::fs::create_dir_all(&private).unwrap();
    std::fs::set_permissions(&private, PermissionsExt::from_mode(0o700)).unwrap();
    let local = state.start().await;
    let home = local.place().home.clone();
    let another_user = matches!(local.place().account, Account::Other { .. });
    assert_eq!(home.starts_with(&state.machine.shared), another_user, "{}", home.display());
    sql(&local, "CREATE TABLE greeting AS SELECT 'Mike' AS name");
    local.stop().await.unwrap();

    // The state folder remembers where its data are, even under another name.
    let moved = state.root.path().join("moved");
    std::fs::rename(&private, &moved).unwrap();
    let local = LocalPostgres::start_on(&state.machine, &moved).await.unwrap();
    assert_eq!(sql(&local, "SELECT name FROM greeting"), "Mike");
    assert_eq!(local.place().home == home, another_user);
    local.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let state = State::new();
    let local = state.start().await;
    let place = local.place().clone();
    local.stop().await.unwrap();
    let settings = place.data().join("postgresql.conf");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{text}\nno_such_setting = 1\n")).unwrap();
    let error = LocalPostgres::start_on(&state.machine, &state.folder()).await.unwrap_err();
    assert!(error.to_string().starts_with("`pg_ctl start` in `"), "{error}");
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(said.contains("no_such_setting") && said.contains("server.log"), "{said}");
}

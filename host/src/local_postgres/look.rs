//! Finds out whether the server runs, more carefully than PostgreSQL does.
//!
//! The server leaves `postmaster.pid` in the cluster: its process number, and on the eighth line what it is doing.
//! After a kill or a power loss the file stays. PostgreSQL takes it as a running server if any process of the user has that
//! number now, and then neither starts nor stops right: it refuses to start because of an innocent program, or of a
//! zombie that nobody collects (usual in containers), and `pg_ctl stop` would send its signal to the innocent program.
//!
//! So a process counts as the server only if it is a `postgres` whose current folder is the cluster (each one works
//! there), or if the socket is answered. Everything else is a trace of a dead one. The decision is a pure function.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::Pid;

use super::error::LocalPostgresError;
use super::place::Place;

/// What `postmaster.pid` says that the server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It is not ready yet, maybe repairing the data after a crash.
    Starting,
    /// It takes connections.
    Ready,
    /// It is going down.
    Stopping,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// A server that takes connections at our socket.
    Ready,
    /// A server that is not ready yet.
    Starting,
    /// A server that is going down.
    Stopping,
    /// A server that says that it is ready, but not at our socket: the socket was removed, or somebody started the
    /// server with other settings.
    Deaf,
    /// No server.
    Gone {
        /// The files of a dead one may be there.
        traces: bool,
        /// Processes that a killed server left behind. They still have the data in their shared memory.
        orphans: Vec<Pid>,
    },
}

/// Looks at the server.
pub(super) async fn look(place: &Place) -> Result<Seen, LocalPostgresError> {
    let data = place.data();
    let file = data.join("postmaster.pid");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => None,
        Err(cause) => return Err(LocalPostgresError::system("read", &file)(cause)),
    };
    Ok(judge(text.as_deref(), answers(place).await, processes_of(&data)))
}

/// Whether somebody takes connections at the socket. A server that is too busy to take one more is one, too.
async fn answers(place: &Place) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};

    match tokio::net::UnixStream::connect(place.socket_path()).await {
        Ok(_) => true,
        Err(cause) => !matches!(cause.kind(), NotFound | ConnectionRefused),
    }
}

/// The processes of a server (or what is left of one) that works in the cluster. Zombies have no current folder, so
/// they are not among them.
pub(super) fn processes_of(data: &Path) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            let works_in = std::fs::read_link(entry.path().join("cwd")).ok()?;
            let program = std::fs::read_link(entry.path().join("exe")).ok()?;
            // The name has ` (deleted)` at its end after an upgrade of the package.
            let is_postgres = program.file_name()?.as_bytes().starts_with(b"postgres");
            if works_in == data && is_postgres { Pid::from_raw(number) } else { None }
        })
        .collect()
}

/// Judges by the three facts. `workers` are the processes in the cluster, the server itself among them if it lives.
fn judge(pid_file: Option<&str>, answers: bool, workers: Vec<Pid>) -> Seen {
    let said = pid_file.and_then(parse);
    // An answered socket counts without a visible process: the server may run in another container with the same files.
    let server = said.filter(|(pid, _)| answers || workers.contains(pid));
    match server {
        Some((_, Doing::Starting)) => Seen::Starting,
        Some((_, Doing::Stopping)) => Seen::Stopping,
        Some((_, Doing::Ready)) if answers => Seen::Ready,
        Some((_, Doing::Ready)) => Seen::Deaf,
        None => Seen::Gone { traces: pid_file.is_some(), orphans: workers },
    }
}

/// Reads process number and state. A file that was cut off in the first line says nothing; one that is too short to
/// have a state is of a server that has only begun.
fn parse(text: &str) -> Option<(Pid, Doing)> {
    let mut lines = text.lines();
    let pid = Pid::from_raw(lines.next()?.trim().parse().ok().filter(|number| *number > 0)?)?;
    let doing = match lines.nth(6).map(str::trim) {
        Some("ready" | "standby") => Doing::Ready,
        Some("stopping") => Doing::Stopping,
        _ => Doing::Starting,
    };
    Some((pid, doing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    fn file(number: i32, state: &str) -> String {
        format!("{number}\n/data\n1795334402\n5432\n/socket\n\n 10067993        11\n{state}\n")
    }

    #[test]
    fn a_living_server_is_judged_by_what_it_says() {
        let cases = [("starting", Seen::Starting), ("stopping", Seen::Stopping), ("ready   ", Seen::Ready)];
        for (state, seen) in cases {
            assert_eq!(judge(Some(&file(42, state)), true, vec![pid(42), pid(43)]), seen);
            assert_eq!(judge(Some(&file(42, state)), true, vec![]), seen, "in another container");
        }
        assert_eq!(judge(Some("42\n/data\n"), false, vec![pid(42)]), Seen::Starting);
        assert_eq!(judge(Some(&file(42, "ready")), false, vec![pid(42)]), Seen::Deaf);
    }

    #[test]
    fn a_process_number_alone_is_no_server() {
        let gone = Seen::Gone { traces: true, orphans: vec![] };
        assert_eq!(judge(Some(&file(42, "ready")), false, vec![]), gone);
        assert_eq!(judge(Some(""), false, vec![]), gone);
        assert_eq!(judge(Some("-1\n"), false, vec![]), gone);
        assert_eq!(judge(None, false, vec![]), Seen::Gone { traces: false, orphans: vec![] });
    }

    #[test]
    fn what_a_killed_server_left_behind_are_orphans() {
        let seen = judge(Some(&file(42, "ready")), false, vec![pid(50)]);
        assert_eq!(seen, Seen::Gone { traces: true, orphans: vec![pid(50)] });
    }

    #[test]
    fn a_program_of_another_name_in_the_cluster_is_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().canonicalize().unwrap();
        let mut shell = std::process::Command::new("sleep").arg("600").current_dir(&data).spawn().unwrap();
        let found = processes_of(&data);
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert_eq!(found, vec![]);
    }
}

//! Brings the server up and down, whatever state it is found in. Whoever calls this holds the start lock.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use tokio::process::Command;
use tokio::time::Instant;

use super::error::{LocalPostgresError, Said};
use super::look::{Seen, look};
use super::place::{PORT, Place};
use super::programs::Programs;

/// How long the server may take to start. After a crash it replays at most about 1 GB of its log (`max_wal_size`); at
/// 10 MB/s, slower than any disk that such a machine has, that is 100 s. Three times as long, then something is wrong.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often a server that is starting or stopping by itself is looked at. It tells nobody when it is done, so
/// `pg_ctl` looks ten times a second as well.
const PACE: Duration = Duration::from_millis(100);

/// A fast stop ends all sessions and writes what is in memory (at most 128 MB) to disk; a minute is plenty.
const STOP_SECONDS: u64 = 60;

/// A log that is larger at a start is put aside, and the one that was put aside before it is gone.
const LARGEST_LOG: u64 = 10 * 1024 * 1024;

/// How much of the log's end is read for an error message, and how many lines of it are shown.
const LOG_TAIL_BYTES: u64 = 8 * 1024;
const LOG_TAIL_LINES: usize = 15;

/// Brings the server up: when this returns, it takes connections. `alone` says that no other host uses it, so that it
/// may be stopped if its socket is unusable.
pub(super) async fn bring_up(place: &Place, programs: &Programs, alone: bool) -> Result<(), LocalPostgresError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = match look(place).await? {
            Seen::Ready => {
                tracing::debug!("the local Postgres runs already in `{}`", place.home.display());
                return Ok(());
            }
            Seen::Starting => "starting",
            Seen::Stopping => "stopping",
            Seen::Deaf if alone => {
                fast_stop(place, programs).await?;
                "without a socket"
            }
            Seen::Deaf => return Err(LocalPostgresError::Deaf { socket: place.socket.clone() }),
            Seen::Gone { orphans, .. } if !orphans.is_empty() => {
                // The server was killed, and these hold on to its shared memory. It would have sent them this signal
                // itself had it had the time: leave at once, without cleaning up.
                for orphan in orphans {
                    // One that is gone by now is what was wanted.
                    let _ = kill_process(orphan, Signal::QUIT);
                }
                "ending what a killed server left behind"
            }
            Seen::Gone { traces, .. } => {
                remove_traces(place, traces)?;
                match start(place, programs).await {
                    Ok(()) => return Ok(()),
                    Err(error) if matches!(look(place).await?, Seen::Gone { .. }) => return Err(error),
                    // A `pg_ctl` that outlived its host was faster: there is a server now.
                    Err(_) => "starting",
                }
            }
        };
        if Instant::now() > deadline {
            let home = place.home.clone();
            return Err(LocalPostgresError::TooSlow { home, state, seconds: PATIENCE.as_secs() });
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Brings the server down, if it is up: sessions are ended, everything is written, the data are at rest.
pub(super) async fn shut_down(place: &Place, programs: &Programs) -> Result<(), LocalPostgresError> {
    // `pg_ctl stop` signals whatever process has the number in the pid file, so only a living server gets one.
    if matches!(look(place).await?, Seen::Gone { .. }) {
        return Ok(());
    }
    fast_stop(place, programs).await?;
    if !place.socket.starts_with(&place.home) {
        // An empty folder that stays in `/tmp` does no harm.
        let _ = std::fs::remove_dir(&place.socket);
    }
    Ok(())
}

/// Removes the files that make PostgreSQL believe in a server that is gone. This cannot let two servers at the data:
/// we hold the start lock, no process works in the cluster, and a server also refuses to start while shared memory of
/// another one that belongs to this very folder is in use.
fn remove_traces(place: &Place, traces: bool) -> Result<(), LocalPostgresError> {
    let socket = place.socket_path();
    let mut socket_lock = socket.clone().into_os_string();
    socket_lock.push(".lock");
    let pid_file = place.data().join("postmaster.pid");
    if traces {
        tracing::info!("the local Postgres in `{}` was not stopped last time; it repairs itself", place.home.display());
    }
    for trace in [pid_file.as_path(), socket.as_path(), Path::new(&socket_lock)] {
        match std::fs::remove_file(trace) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(LocalPostgresError::system("remove the old", trace)(cause));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Starts the server in a session of its own, so that it outlives a Ctrl-C and the host can finish its work first.
async fn start(place: &Place, programs: &Programs) -> Result<(), LocalPostgresError> {
    tracing::info!("starting the local Postgres {} in `{}`", programs.major(), place.home.display());
    let log = place.home.join("server.log");
    if std::fs::symlink_metadata(&log).is_ok_and(|seen| seen.len() > LARGEST_LOG) {
        // A log that stays too large is no reason not to start.
        let _ = std::fs::rename(&log, place.home.join("server.log.old"));
    }
    let mut pg_ctl = place.account.command(&programs.program("pg_ctl"), &place.home);
    // Relative names: `pg_ctl` puts these into a shell command between quotes, and a path may hold anything.
    pg_ctl.args(["start", "-w", "-D", "data", "-l", "server.log"]);
    pg_ctl.arg("-t").arg(PATIENCE.as_secs().to_string());
    pg_ctl.arg("-o").arg(settings(&place.socket));
    run(pg_ctl, "pg_ctl start", &place.home).await
}

/// The settings that the host insists on, as options on the server's command line: `pg_ctl` hands them to a shell,
/// hence the outer quotes; the inner ones belong to the setting, a list with commas. `Place` made sure that the path
/// has neither. All else, durability above all, is as `initdb` leaves it, or as the user writes in `postgresql.conf`.
fn settings(socket: &Path) -> String {
    let socket = socket.display();
    format!(
        "-c listen_addresses='' -c port={PORT} -c 'unix_socket_directories=\"{socket}\"' \
         -c unix_socket_permissions=0700 -c max_connections=100"
    )
}

async fn fast_stop(place: &Place, programs: &Programs) -> Result<(), LocalPostgresError> {
    let mut pg_ctl = place.account.command(&programs.program("pg_ctl"), &place.home);
    pg_ctl.args(["stop", "-w", "-m", "fast", "-D", "data"]).arg("-t").arg(STOP_SECONDS.to_string());
    run(pg_ctl, "pg_ctl stop", &place.home).await
}

/// Runs a program of PostgreSQL to its end. If it fails, the error has its words, and then the end of the server's log,
/// where the reason is.
pub(super) async fn run(mut command: Command, program: &'static str, home: &Path) -> Result<(), LocalPostgresError> {
    let error = |how, said| LocalPostgresError::Program { program, folder: home.to_owned(), how, said: Said(said) };
    let output = match command.output().await {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => output,
        Err(cause) => return Err(error("did not run".to_owned(), cause.to_string())),
    };
    let mut said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let log = home.join("server.log");
    if let Some(tail) = tail(&log) {
        said = format!("{}\nthe end of `{}`:\n{tail}", said.trim_end(), log.display());
    }
    Err(error(format!("ended with {}", output.status), said))
}

/// The last lines of the log, if there is one.
fn tail(log: &Path) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};

    // Only a plain file: the folder is another user's, and a pipe there would hold us for ever.
    let length = std::fs::symlink_metadata(log).ok().filter(std::fs::Metadata::is_file)?.len();
    let mut file = std::fs::File::open(log).ok()?;
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    Some(lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("server.log");
        assert_eq!(tail(&log), None);
        let lines: Vec<String> = (1..=1000).map(|number| format!("line {number:04} {}", "x".repeat(90))).collect();
        std::fs::write(&log, lines.join("\n")).unwrap();
        let tail = tail(&log).unwrap();
        assert_eq!(tail.lines().count(), LOG_TAIL_LINES);
        assert!(tail.starts_with("line 0986 ") && tail.contains("line 1000 "), "{tail}");
    }

    #[test]
    fn the_socket_folder_is_quoted_for_the_shell_and_for_the_list() {
        let settings = settings(Path::new("/a b, c/$x"));
        assert!(settings.contains("-c 'unix_socket_directories=\"/a b, c/$x\"'"), "{settings}");
        assert!(settings.contains("listen_addresses=''"), "{settings}");
    }
}

//! Ends several processes in order when one Ctrl-C asks for all of them.
//!
//! A terminal sends Ctrl-C to every process of the foreground group at once: host and guestbook would end together, and
//! the host's last requests would fail. So each of our children gets a group of its own, this process receives the
//! signal, and passes it on to the one that is to end first.
//!
//! This module must not know what the processes do.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::shell;

/// Passes the signals of this process on to one child at a time. Lives to the end of the process.
pub(crate) struct Relay {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The child that runs now. None while there is none: its number may be another process's by then.
    child: Option<Pid>,
    /// The last signal that came.
    received: Option<Signal>,
}

impl Relay {
    /// When this returns, signals no longer end this process.
    pub(crate) fn start() -> Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listen to signals")?;
        let relay = Self { state: Arc::default() };
        let state = Arc::clone(&relay.state);
        std::thread::spawn(move || {
            for number in &mut signals {
                let signal = Signal::from_named_raw(number);
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.received = signal;
                if let (Some(child), Some(signal)) = (state.child, signal) {
                    // It may have ended by itself at this moment; then there is nothing to do.
                    let _ = kill_process(child, signal);
                }
            }
        });
        Ok(relay)
    }

    /// True when a signal has asked for the end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).received.is_some()
    }

    /// Runs a command to its end; signals go to it.
    pub(crate) fn run(&self, command: &mut Command) -> Result<ExitStatus> {
        command.process_group(0).stdin(Stdio::null());
        let mut child = {
            // Under the lock, so that a signal finds either no child or one that it can reach.
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let child = command.spawn().with_context(|| format!("start `{}`", shell::display(command)))?;
            state.child = Some(pid_of(&child));
            if let Some(signal) = state.received {
                let _ = kill_process(pid_of(&child), signal);
            }
            child
        };
        let status = child.wait();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).child = None;
        status.with_context(|| format!("wait for `{}`", shell::display(command)))
    }
}

/// How long a process may take to end: longer than any request that is still answered, shorter than anybody waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the process to end. When this returns it has ended, killed if it did not listen.
pub(crate) fn terminate(child: &mut Child) {
    let asked = Instant::now();
    // The calls fail only when it has ended already.
    let _ = kill_process(pid_of(child), Signal::TERM);
    while let Ok(None) = child.try_wait() {
        if asked.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The status as shells tell it: the exit code, or 128 and the number of the signal.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    fn status_of(script: &str) -> ExitStatus {
        Command::new("sh").args(["-c", script]).status().unwrap()
    }

    #[test]
    fn exit_codes_are_as_shells_tell_them() {
        assert_eq!(exit_code(status_of("exit 0")), 0);
        assert_eq!(exit_code(status_of("exit 4")), 4);
        assert_eq!(exit_code(status_of("kill -TERM $$")), 143);
    }

    #[test]
    fn a_process_has_ended_when_terminate_returns() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; read -r line"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        terminate(&mut child);
        assert_eq!(child.try_wait().unwrap().map(exit_code), Some(143));
    }

    #[test]
    fn a_signal_goes_to_the_child_and_not_to_us() {
        let relay = Relay::start().unwrap();
        assert_eq!(exit_code(relay.run(Command::new("sh").args(["-c", "exit 7"])).unwrap()), 7);
        assert!(!relay.is_interrupted());
        // The child asks its parent, this process, to end, and counts until it is told to end itself.
        let script = "trap 'exit 5' TERM; kill -TERM $PPID; i=0; while [ $i -lt 3000000 ]; do i=$((i + 1)); done";
        let status = relay.run(Command::new("sh").args(["-c", script]));
        assert_eq!(exit_code(status.unwrap()), 5);
        assert!(relay.is_interrupted());
    }
}

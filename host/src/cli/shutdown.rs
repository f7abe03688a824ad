//! The wish to stop: SIGINT (Ctrl-C), SIGTERM, and SIGHUP (the terminal was closed).
//!
//! The first signal asks for a graceful end: running calls get their time, the rest stays recorded and is taken up by
//! the next run. A second signal means "now", and has to work even when the host is stuck in whatever the first one made
//! it do. So signals are received by a thread of their own with a small runtime of its own: a busy or blocked worker of
//! the host's runtime cannot hold them up. This module does not know what there is to stop.
//!
//! Whoever starts a host with `nohup` wants it to outlive the terminal: a SIGHUP that was ignored at the start stays so.

use std::{io, process, thread};

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::exit::Exit;

/// The signal that asked for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopSignal {
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGTERM, as supervisors send it.
    Terminate,
    /// SIGHUP, as a terminal sends it that goes away.
    HangUp,
}

impl StopSignal {
    /// How the process ends when this is the second signal: by convention 128 and the number of the signal.
    fn exit(self) -> Exit {
        match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
            Self::HangUp => Exit::HungUp,
        }
    }
}

/// Resolves when the process is asked to stop. Clones wait for the same request.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown(watch::Receiver<Option<StopSignal>>);

impl Shutdown {
    /// Starts to listen. When it returns, a first signal no longer ends the process, and a second one still does.
    ///
    /// To be called once in a process: of two listeners, each would count the signals by itself.
    pub(crate) fn listen() -> io::Result<Self> {
        let (requested, receiver) = watch::channel(None);
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate, mut hang_up) = {
            let _guard = runtime.enter();
            let hang_up = if hang_up_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hang_up)
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    let received = tokio::select! {
                        _ = interrupt.recv() => StopSignal::Interrupt,
                        _ = terminate.recv() => StopSignal::Terminate,
                        () = next(&mut hang_up) => StopSignal::HangUp,
                    };
                    if requested.send_replace(Some(received)).is_some() {
                        process::exit(received.exit().code().into());
                    }
                }
            });
        })?;
        Ok(Self(receiver))
    }

    /// Waits for the first signal; returns at once if it came before.
    pub(crate) async fn requested(&self) -> StopSignal {
        let mut receiver = self.0.clone();
        let found = receiver.wait_for(Option::is_some).await.map(|signal| *signal);
        match found {
            Ok(Some(signal)) => signal,
            // The listening thread lives as long as the process and never drops its end, so there is nothing that
            // could still arrive: wait for the end of the process.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// The result of `work`; `None` if a signal comes first, and then `work` is dropped where it stands.
    pub(crate) async fn unless_requested<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.requested() => None,
            done = work => Some(done),
        }
    }
}

/// The next signal of this kind; never one of a kind that is ignored.
async fn next(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// Whether this process was started to ignore SIGHUP. The kernel is asked, in whose mask it is the lowest bit.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::{BufRead, BufReader, Lines, Write};
    use std::process::{Child, ChildStderr, Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process};

    use super::{Shutdown, io, runtime};

    const CHILD: &str = "DBOS_HOST_TEST_SHUTDOWN_CHILD";

    /// The part of the child process: says what it sees, and would then wait forever.
    fn child() -> ! {
        let shutdown = Shutdown::listen().expect("signals can be received");
        let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            say("listening");
            say(&format!("stopping {:?}", shutdown.requested().await));
            // The second wait is answered as the first: the request stays.
            say(&format!("again {:?}", shutdown.clone().requested().await));
            std::future::pending::<()>().await;
        });
        unreachable!("the child is ended by its second signal")
    }

    /// The test harness prints to the same stream, so lines of the child are marked.
    fn say(line: &str) {
        writeln!(io::stderr(), "child {line}").expect("the parent reads");
    }

    fn next_line(lines: &mut Lines<BufReader<ChildStderr>>) -> String {
        lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("child ").map(str::to_owned))
            .expect("the child says what it does")
    }

    /// A child that a failed assertion does not leave behind.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn start() -> (Running, Lines<BufReader<ChildStderr>>) {
        start_in("exec \"$0\" \"$@\"")
    }

    /// Starts the child from a shell with this script.
    fn start_in(script: &str) -> (Running, Lines<BufReader<ChildStderr>>) {
        let name = "second_signal_ends_the_process_at_once";
        let module = module_path!().split_once("::").map_or("", |(_, rest)| rest);
        let mut child = Command::new("sh")
            .args(["-c", script])
            .arg(env::current_exe().expect("the test binary"))
            .args(["--exact", "--nocapture", &format!("{module}::{name}")])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test binary starts");
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        (Running(child), lines)
    }

    fn send(child: &Running, signal: Signal) {
        kill_process(Pid::from_child(&child.0), signal).expect("the child is there");
    }

    #[test]
    fn second_signal_ends_the_process_at_once() {
        if env::var_os(CHILD).is_some() {
            child();
        }
        let cases = [
            (Signal::INT, "Interrupt", Signal::INT, 130),
            (Signal::TERM, "Terminate", Signal::TERM, 143),
            (Signal::INT, "Interrupt", Signal::TERM, 143),
            (Signal::HUP, "HangUp", Signal::INT, 130),
            (Signal::TERM, "Terminate", Signal::HUP, 129),
        ];
        for (first, name, second, code) in cases {
            let (mut process, mut lines) = start();
            assert_eq!(next_line(&mut lines), "listening");
            send(&process, first);
            assert_eq!(next_line(&mut lines), format!("stopping {name}"));
            assert_eq!(next_line(&mut lines), format!("again {name}"));
            send(&process, second);
            assert_eq!(process.0.wait().expect("the child ends").code(), Some(code));
        }
    }
    #[test]
    fn a_hang_up_that_was_ignored_at_the_start_stays_so() {
        let (process, mut lines) = start_in("trap '' HUP; exec \"$0\" \"$@\"");
        assert_eq!(next_line(&mut lines), "listening");
        send(&process, Signal::HUP);
        send(&process, Signal::TERM);
        assert_eq!(next_line(&mut lines), "stopping Terminate");
    }
}

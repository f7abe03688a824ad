//! Small shells that clean up behind the suite.
//!
//! A static is never dropped and a test process may be killed, so a server or a folder that the whole process shares
//! needs somebody who outlives the process: a shell that reads from a pipe which only this process holds. When the pipe
//! closes, the shell's `trap` does the rest.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A running shell. It cleans up when this is dropped or when the process ends.
#[derive(Debug)]
pub(crate) struct Supervisor {
    shell: Child,
    answer: String,
}

impl Supervisor {
    /// Starts a shell with this program, which prints one line when it is ready and then reads from its standard input.
    pub(crate) fn start(mut command: Command) -> Self {
        // A group of its own: a Ctrl-C on the terminal must not end the shell before it has cleaned up.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).current_dir("/");
        let mut shell = command.spawn().expect("a shell to supervise");
        let mut answer = String::new();
        let output = shell.stdout.as_mut().expect("its output is piped");
        BufReader::new(output).read_line(&mut answer).expect("the shell's answer");
        assert!(!answer.is_empty(), "a supervised program did not start; its messages are above");
        Self { shell, answer: answer.trim_end().into() }
    }

    /// The line that it printed.
    pub(crate) fn answer(&self) -> &str {
        &self.answer
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Closing the pipe is the signal to clean up; waiting makes sure that it is done when this returns.
        drop(self.shell.stdin.take());
        self.shell.wait().expect("the shell is this process's child");
    }
}

const SCRATCH: &str = r#"
    set -eu
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    echo "$folder"
    cat >/dev/null
"#;

/// A folder that all tests of this process share. It is removed when the process ends.
pub(crate) fn scratch() -> &'static Path {
    static SCRATCH_FOLDER: OnceLock<(Supervisor, PathBuf)> = OnceLock::new();
    let (_supervisor, folder) = SCRATCH_FOLDER.get_or_init(|| {
        let mut command = Command::new("sh");
        command.args(["-c", SCRATCH]);
        let supervisor = Supervisor::start(command);
        let folder = PathBuf::from(supervisor.answer());
        (supervisor, folder)
    });
    folder
}

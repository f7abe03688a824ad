//! What the figures were measured on.
//!
//! This module must not know the figures.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// A machine, in words.
#[derive(Debug)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    /// When, by its clock.
    date: String,
    /// The version of this program.
    commit: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn here() -> Self {
        let processors = read("/proc/cpuinfo");
        let memory = read("/proc/meminfo");
        let kib: f64 = field(&memory, "MemTotal").and_then(|size| size.split(' ').next()?.parse().ok()).unwrap_or(0.0);
        Self {
            processor: field(&processors, "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib / 1024.0 / 1024.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            date: said(Command::new("date").arg("--iso-8601=minutes")),
            commit: said(
                Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(env!("CARGO_MANIFEST_DIR")),
            ),
        }
    }

    /// As it stands above the table.
    pub(crate) fn to_markdown(&self) -> String {
        let Self { processor, cores, memory_gib, kernel, date, commit } = self;
        format!("{date}, commit {commit}, on {processor}, {cores} cores, {memory_gib:.0} GiB, Linux {kernel}")
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "processor": self.processor, "cores": self.cores, "memory_gib": self.memory_gib, "kernel": self.kernel,
            "date": self.date, "commit": self.commit,
        })
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(own, _)| own.trim() == name)
        .map(|(_, value)| value.trim())
}

/// What a program says, or that it says nothing: a figure is one without a date, too.
fn said(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output.map_or_else(|| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_whatever_stands_before_its_colon() {
        let text = "processor\t: 0\nmodel name\t: Some Processor: 2.6 GHz\n";
        assert_eq!(field(text, "model name"), Some("Some Processor: 2.6 GHz"));
        assert_eq!(field(text, "model"), None);
    }
}

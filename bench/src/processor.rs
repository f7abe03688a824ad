//! How much processor time and memory the parties of a measurement took: the host, the database, the generator of the
//! load, and everybody else, who should have taken none.
//!
//! This module must not know what is measured.

use std::collections::HashMap;
use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result};

/// The clock ticks of a second, as Linux has them in `/proc` on every machine of today (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// Processor time, in seconds, and the time in which it was taken.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    pub(crate) host: f64,
    pub(crate) database: f64,
    pub(crate) generator: f64,
    pub(crate) others: f64,
    pub(crate) wall: f64,
}

/// A moment from which processor time is counted.
#[derive(Debug)]
pub(crate) struct Clock {
    host: Option<u32>,
    postmaster: u32,
    at: Instant,
    begun: Sums,
}

impl Clock {
    /// Begins to count. `host` is the host's process, whose children count too.
    pub(crate) fn start(host: Option<u32>, postmaster: u32) -> Self {
        Self { host, postmaster, at: Instant::now(), begun: Sums::now(host, postmaster) }
    }

    /// The same for a host that was started since: all of its time counts.
    pub(crate) fn of_new(mut self, host: Option<u32>) -> Self {
        self.host = host;
        self
    }

    /// What was taken since.
    pub(crate) fn stop(&self) -> Taken {
        let (now, begun) = (Sums::now(self.host, self.postmaster), &self.begun);
        let (host, database) = (now.host - begun.host, now.database - begun.database);
        let generator = now.generator - begun.generator;
        let others = (now.all - begun.all - host - database - generator).max(0.0);
        Taken { host, database, generator, others, wall: self.at.elapsed().as_secs_f64() }
    }
}

impl Taken {
    /// Processors that were busy on average: host, database, generator, others.
    pub(crate) fn cores(&self) -> [f64; 4] {
        [self.host, self.database, self.generator, self.others].map(|time| time / self.wall.max(f64::EPSILON))
    }
}

#[derive(Debug)]
struct Sums {
    host: f64,
    database: f64,
    generator: f64,
    all: f64,
}

impl Sums {
    fn now(host: Option<u32>, postmaster: u32) -> Self {
        let processes = processes();
        let own = |id: u32| processes.get(&id).map_or(0.0, |process| process.own);
        let family = |id: u32| {
            let children: f64 =
                processes.values().filter(|process| process.parent == id).map(|process| process.own).sum();
            processes.get(&id).map_or(0.0, |process| process.own + process.ended_children) + children
        };
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self {
            host: host.map_or(0.0, family),
            database: family(postmaster),
            generator: own(std::process::id()),
            all: busy(&stat),
        }
    }
}

/// The processor time that the machine was busy for: everything but idle and waiting for the disk. What a virtual machine
/// could not get (`steal`) counts as busy.
fn busy(stat: &str) -> f64 {
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    let of = |at: usize| fields.get(at).copied().unwrap_or(0.0);
    [0, 1, 2, 5, 6, 7].map(of).iter().sum::<f64>() / TICKS
}

/// The memory of a process that is in the machine's memory now, in bytes.
pub(crate) fn resident(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("look at a process")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("find the memory of a process")?;
    let kib: f64 = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).context("read a memory size")?;
    Ok(kib * 1024.0)
}

struct Process {
    parent: u32,
    own: f64,
    ended_children: f64,
}

fn processes() -> HashMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: u32| Some((id, process(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?))).collect()
}

/// The fields behind the name, which may have spaces: state, parent, and from the twelfth on the times.
fn process(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let seconds = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / TICKS);
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        own: seconds(11)? + seconds(12)?,
        ended_children: seconds(13)? + seconds(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_a_name_with_spaces() {
        let stat = "7 (a (b) c) S 3 7 7 0 -1 4194560 1 2 3 4 150 50 300 100 20 0 1 0 5";
        let process = process(stat).expect("a process");
        assert_eq!((process.parent, process.own, process.ended_children), (3, 2.0, 4.0));
    }

    #[test]
    fn a_waiting_machine_is_not_busy() {
        assert_eq!(busy("cpu  100 20 30 99999 88888 1 2 3 0 0\ncpu0 7"), 1.56);
    }

    #[test]
    fn the_generator_is_this_process() {
        let clock = Clock::start(None, 0);
        let mut sum = 0_u64;
        while clock.stop().generator < 0.02 {
            sum = std::hint::black_box(sum + 1);
        }
        let taken = clock.stop();
        assert!(taken.host == 0.0 && taken.database == 0.0 && taken.wall > 0.0);
        assert!(resident(std::process::id()).unwrap() > 1e6);
    }
}

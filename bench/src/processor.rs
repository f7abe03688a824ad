//! How much processor time the parties of a measurement took: the host, the database, and the generator of the load.

use std::collections::HashMap;
use std::fs;

/// Processor time so far, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    pub(crate) host: f64,
    pub(crate) database: f64,
    pub(crate) generator: f64,
}

impl std::ops::Sub for Taken {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            host: self.host - earlier.host,
            database: self.database - earlier.database,
            generator: self.generator - earlier.generator,
        }
    }
}

/// The clock ticks of a second, as Linux has them in `/proc` on every machine of today (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// Looks at `/proc`. `host` is the host's process; the server is found by its port.
pub(crate) fn taken(host: Option<u32>, postmaster: u32) -> Taken {
    let processes = processes();
    let own = |id: u32| processes.get(&id).map_or(0.0, |process| process.own);
    let family = |id: u32| {
        let children: f64 = processes.values().filter(|process| process.parent == id).map(|process| process.own).sum();
        processes.get(&id).map_or(0.0, |process| process.own + process.ended_children) + children
    };
    Taken { host: host.map_or(0.0, own), database: family(postmaster), generator: own(std::process::id()) }
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
    fn the_generator_is_this_process() {
        let begun = taken(None, 0);
        let mut sum = 0_u64;
        while (taken(None, 0) - begun).generator < 0.03 {
            sum = std::hint::black_box(sum + 1);
        }
    }
}

//! What is to be measured, as it is said on the command line.
//!
//! This module must not know how anything is measured.

use anyhow::{Result, bail};

/// Rounds, from which the median, the least and the most are shown.
const ROUNDS: usize = 3;

/// What can be asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Start,
    W1,
    W10,
    Wt,
    Latency,
    Parallel,
    Messages,
    Hello,
    Greeting,
    Commits,
    Peer,
    Replay,
    Recovery,
    Idle,
    Memory,
    Sleepers,
    Receivers,
    Curves,
    Growth,
}

impl Topic {
    /// All of them, with their names.
    const ALL: [(Self, &'static str); 19] = [
        (Self::Start, "start"),
        (Self::W1, "W1"),
        (Self::W10, "W10"),
        (Self::Wt, "WT"),
        (Self::Latency, "latency"),
        (Self::Parallel, "P1000"),
        (Self::Messages, "M2"),
        (Self::Hello, "hello"),
        (Self::Greeting, "greeting"),
        (Self::Commits, "commits"),
        (Self::Peer, "peer"),
        (Self::Replay, "replay"),
        (Self::Recovery, "recovery"),
        (Self::Idle, "idle"),
        (Self::Memory, "memory"),
        (Self::Sleepers, "sleepers"),
        (Self::Receivers, "receivers"),
        (Self::Curves, "curves"),
        (Self::Growth, "growth"),
    ];

    fn named(name: &str) -> Result<Self> {
        if let Some((topic, _)) = Self::ALL.into_iter().find(|(_, own)| own.eq_ignore_ascii_case(name)) {
            return Ok(topic);
        }
        let names: Vec<&str> = Self::ALL.iter().map(|(_, name)| *name).collect();
        bail!("understand the workload `{name}`\nhint: there are {}", names.join(", "))
    }
}

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    /// Print JSON instead of a table.
    pub(crate) json: bool,
    /// Write `bench/RESULTS.md` and its pictures.
    pub(crate) write: bool,
    /// With the measurements that fill tables for minutes.
    pub(crate) long: bool,
    /// The command, as it was given.
    pub(crate) words: Vec<String>,
    only: Vec<Topic>,
}

impl Options {
    /// Reads the words behind the program's name.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let words: Vec<String> = arguments.collect();
        let mut options =
            Self { rounds: ROUNDS, json: false, write: false, long: false, words: words.clone(), only: Vec::new() };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => options.json = true,
                "--write" => options.write = true,
                "--long" => options.long = true,
                "--rounds" => match words.next().and_then(|n| n.parse().ok()) {
                    Some(rounds) if rounds > 0 => options.rounds = rounds,
                    _ => bail!("understand `--rounds`: a number is expected behind it"),
                },
                name if !name.starts_with('-') => options.only.push(Topic::named(name)?),
                other => bail!(
                    "understand `{other}`\n\
                     usage: cargo xtask bench [-- [--json] [--write] [--long] [--rounds N] [WORKLOAD…]]"
                ),
            }
        }
        if options.write && !options.only.is_empty() {
            bail!("write the results of some workloads only\nhint: leave the names out, or leave out `--write`");
        }
        Ok(options)
    }

    /// True when a topic was asked for, or nothing in particular.
    pub(crate) fn wants(&self, topic: Topic) -> bool {
        self.only.is_empty() || self.only.contains(&topic)
    }

    /// As [`Self::wants`], for several of which one is enough.
    pub(crate) fn wants_any(&self, topics: &[Topic]) -> bool {
        topics.iter().any(|topic| self.wants(*topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options> {
        Options::parse(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn everything_is_measured_unless_something_is_named() {
        let all = parse("").unwrap();
        assert!(all.wants(Topic::W1) && all.wants(Topic::Growth) && all.rounds == ROUNDS && !all.long);
        let some = parse("w1 replay --rounds 1 --json").unwrap();
        assert!(some.wants(Topic::W1) && some.wants(Topic::Replay) && !some.wants(Topic::W10));
        assert!(some.json && some.rounds == 1);
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        let error = parse("W2").unwrap_err().to_string();
        assert!(error.contains("the workload `W2`") && error.contains("W10, WT, latency"), "{error}");
        assert!(parse("--rounds 0").is_err() && parse("--rounds").is_err() && parse("--quick").is_err());
    }

    #[test]
    fn the_results_of_a_part_are_not_written_over_those_of_all() {
        assert!(parse("--write").unwrap().write);
        assert!(parse("--write W1").is_err());
    }
}

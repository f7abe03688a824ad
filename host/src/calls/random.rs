//! What a workflow draws: the same in each replay, in every host.
//!
//! Problem: a fork repeats what its origin did up to a step, with what the origin drew, or its replay would ask for something
//! else than the copied records hold. Behind that step it is a run of its own, and must not draw the same order number
//! or the same key as its origin once more. A fork of a fork has the seeds of both before its own. So a source is a line
//! of seeds, each with the step up to which it counts, and how far the guest has come decides which one is drawn from.
//!
//! The seed of a step ends where the guest has taken its number: the step's arguments are known then, and what is drawn
//! after it belongs to a later step, or to none.
//!
//! This module must not know where seeds come from.

use std::convert::Infallible;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng, TryRng};

use crate::workflow::{LastTaken, StepNumber};

/// The seed of a run, or of one it was copied from.
pub type Seed = [u8; 32];

/// The seeds of a run (lifetime: one instance).
#[derive(Clone)]
pub struct Seeds {
    /// Those of the runs that it was copied from, the oldest first, each with the last step that it counts for.
    pub copied: Vec<(StepNumber, Seed)>,
    /// Its own, for everything after those.
    pub own: Seed,
}

impl std::fmt::Debug for Seeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whoever reads a seed in a log could tell what the run draws.
        f.debug_struct("Seeds").field("copied", &self.copied.len()).finish_non_exhaustive()
    }
}

/// One source of a run, of the three that WASI has. They are independent streams of the same seeds, so that drawing from
/// one does not move another.
pub(super) struct Draws {
    /// Those that still count for something, and behind them the run's own.
    line: Vec<(Option<StepNumber>, ChaCha20Rng)>,
    at: usize,
    taken: LastTaken,
}

impl Draws {
    /// The stream `number` of these seeds.
    pub(super) fn new(seeds: &Seeds, number: u64, taken: &LastTaken) -> Self {
        let copied = seeds.copied.iter().map(|(last, seed)| (Some(*last), seed));
        let stream = |(last, seed): (Option<StepNumber>, &Seed)| {
            let mut random = ChaCha20Rng::from_seed(*seed);
            random.set_stream(number);
            (last, random)
        };
        Self { line: copied.chain([(None, &seeds.own)]).map(stream).collect(), at: 0, taken: taken.clone() }
    }

    fn now(&mut self) -> &mut ChaCha20Rng {
        while self.line[self.at].0.is_some_and(|last| self.taken.has_reached(last)) {
            self.at += 1;
        }
        &mut self.line[self.at].1
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.now().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.now().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.now().fill_bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::{History, Operation, OperationKind};

    /// What is drawn before the first call and after each of three.
    fn drawn(seeds: &Seeds) -> [u64; 4] {
        let mut history = History::new([]);
        let mut draws = Draws::new(seeds, 2, &history.taken());
        let call = Operation { kind: OperationKind::Sleep, name: "DBOS.sleep".into(), arguments: 1.into() };
        let mut all = [draws.next_u64(); 4];
        for after in &mut all[1..] {
            history.take(&call).unwrap();
            *after = draws.next_u64();
        }
        all
    }

    fn seeds(copied: &[(i32, u8)], own: u8) -> Seeds {
        let copied = copied.iter().map(|(last, seed)| (StepNumber::stored(*last), [*seed; 32])).collect();
        Seeds { copied, own: [own; 32] }
    }

    #[test]
    fn a_fork_draws_as_its_origin_until_it_has_taken_the_last_copied_step() {
        let origin = drawn(&seeds(&[], 1));
        let fork = drawn(&seeds(&[(2, 1)], 2));
        assert_eq!(fork[..2], origin[..2]);
        assert_eq!(fork[2..], drawn(&seeds(&[], 2))[..2], "its own, from the beginning");
        assert_eq!(drawn(&seeds(&[(2, 1)], 2)), fork, "in each replay");
    }

    #[test]
    fn a_fork_of_a_fork_draws_from_each_in_turn() {
        let fork = drawn(&seeds(&[(1, 1)], 2));
        let again = drawn(&seeds(&[(1, 1), (3, 2)], 3));
        assert_eq!(again[..3], fork[..3]);
        assert_eq!(again[3], drawn(&seeds(&[], 3))[0]);
    }
}

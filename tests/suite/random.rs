//! Programs that nobody thought of: drawn at random, run undisturbed, run by a host that dies again and again, and run by
//! two hosts that die and freeze beside each other. Each time the same must be left of them: results, records, rows, and
//! requests as often as promised.
//!
//! `DBOS_HOST_RANDOM=<seed>` draws other programs, and `DBOS_HOST_RANDOM=<seed>x<batches>` more of them; a failure names
//! the batch, and the seed of the program goes to [`CASES`].

mod picture;
mod program;
mod world;

use std::io::Write as _;
use std::time::Instant;

use self::picture::Picture;
use self::program::{Draw, program, root};
use self::world::{Fate, World};

/// How many programs run at a time.
const BATCH: u64 = 100;

/// The batches of a run of the suite, and the seed of the first program.
const USUAL: (u64, u64) = (1, 2);

/// Programs in which a difference was found once.
const CASES: &[u64] = &[];

/// The seed and the number of batches that somebody wishes.
fn wish() -> (u64, u64) {
    let Ok(wish) = std::env::var("DBOS_HOST_RANDOM") else { return USUAL };
    let (seed, batches) = wish.split_once('x').unwrap_or((&wish, "1"));
    let number =
        |text: &str| text.parse().unwrap_or_else(|_| panic!("`DBOS_HOST_RANDOM` is `<seed>x<batches>`, not `{wish}`"));
    (number(seed), number(batches))
}

fn check(seeds: &[u64], what: &str, fates: &[Vec<Fate>], undisturbed: &Picture, (picture, lives): &(Picture, usize)) {
    if let Err((run, text)) = picture.compare(undisturbed, *lives) {
        let seed = seeds.iter().copied().find(|seed| root(*seed) == run);
        let program = seed.map(program).unwrap_or_default();
        panic!("{what} of the programs from {}: `{run}` differs ({fates:?}):\n{text}\nof {program}", seeds[0]);
    }
}

/// Runs these programs in all three ways. Returns how many facts were compared, and how many lives the hosts had.
async fn batch(world: &World, seeds: &[u64]) -> (usize, usize) {
    let mut draw = Draw::new(seeds[0]);
    let mut fates = |lives| (0..=draw.below(lives)).map(|_| Fate::draw(&mut draw)).collect::<Vec<_>>();
    let (undisturbed, _) = world.run(seeds, &[vec![]]).await;
    undisturbed.check_undisturbed();
    let alone = [fates(6)];
    let by_one = world.run(seeds, &alone).await;
    check(seeds, "with one host", &alone, &undisturbed, &by_one);
    let both = [fates(4), fates(4)];
    let by_two = world.run(seeds, &both).await;
    check(seeds, "with two hosts", &both, &undisturbed, &by_two);
    (undisturbed.facts(), by_one.1 + by_two.1)
}

#[tokio::test]
async fn whatever_a_program_does_a_crash_changes_nothing() {
    let world = World::new().await;
    let (first, batches) = wish();
    let begin = Instant::now();
    if !CASES.is_empty() {
        batch(&world, CASES).await;
    }
    let (mut facts, mut lives) = (0, 0);
    for number in 0..batches {
        let from = first + number * BATCH;
        let seeds: Vec<u64> = (from..from + BATCH).collect();
        let (compared, lived) = batch(&world, &seeds).await;
        (facts, lives) = (facts + compared, lives + lived);
        // Past the test's captured output: how much was run is a result.
        let programs = (number + 1) * BATCH;
        writeln!(
            std::io::stderr(),
            "{programs} random programs from {first}: {facts} facts, {lives} lives of hosts and no difference, {:.0?}",
            begin.elapsed()
        )
        .expect("the standard error output is open");
    }
}

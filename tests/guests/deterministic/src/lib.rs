//! Tells what a workflow sees of all that usually differs from one run of a program to the next: time, chance, the
//! order of a `HashMap`, the bits of a not-a-number.
//!
//! What it sees goes into a step and comes back as the step's result, so the records hold what was seen at first and
//! the workflow's result what was seen in the last replay.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dbos_guest::prelude::*;

/// Returns what it is told.
#[transaction]
fn note(seen: &str) -> String {
    seen.to_owned()
}

/// What there is to see now.
fn look(since: Instant) -> Result<String> {
    // `short`, `number` and `uuid` are what the SDK offers for the same.
    let short = now().duration_since(UNIX_EPOCH)?.as_millis();
    let (number, uuid) = (random::<u64>(), uuid());
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let elapsed = since.elapsed().as_millis();
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(Error::new)?;
    let map: HashMap<u32, u32> = (0..20).map(|n| (n, n * n)).collect();
    let order: Vec<u32> = map.keys().copied().collect();
    let hash = RandomState::new().hash_one("a text");
    let nan = (black_box(0.0_f64) / black_box(0.0)).to_bits();
    let root = black_box(-1.0_f64).sqrt().to_bits();
    let float = (black_box(1e10_f64).sin().to_bits(), black_box(0.1_f64 + 0.2).to_bits());
    Ok(json!({
        "now": now, "elapsed": elapsed, "random": random, "order": order, "hash": hash, "nan": nan, "root": root,
        "float": float, "short": short, "number": number, "uuid": uuid,
    })
    .to_string())
}

/// Looks three times, an hour of sleep after the first time.
#[workflow]
fn look_around() -> Result<Vec<String>> {
    let since = Instant::now();
    let first = look(since)?;
    note(&first)?;
    sleep(Duration::from_secs(3600))?;
    let second = look(since)?;
    note(&second)?;
    let third = look(since)?;
    note(&third)?;
    Ok(vec![first, second, third])
}

/// Asks for the time and for chance so many times, and takes one step with what came last.
#[workflow]
fn ask(times: u32) -> Result<String> {
    let mut seen = String::new();
    for _ in 0..times {
        seen = format!("{:?} {} {}", now(), random::<u64>(), uuid());
    }
    note(&seen)
}

/// Sleeps until this time and tells what time it is then, both in milliseconds since 1970.
#[workflow]
fn wake_at(time: u64) -> Result<u64> {
    sleep_until(UNIX_EPOCH + Duration::from_millis(time))?;
    Ok(u64::try_from(now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

//! Panics, loops, eats memory, recurses and prints without end; and a neighbour that does nothing of the kind.

use std::hint::black_box;

use dbos_guest::prelude::*;

/// Deeper than any stack.
const DEEP: u64 = 1 << 40;

fn misbehave(how: &str) -> Result<String> {
    match how {
        "panic" => panic!("it was {how}"),
        "loop" => loop {
            black_box(how);
        },
        "memory" => {
            let mut eaten = Vec::new();
            loop {
                eaten.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "recursion" => Ok(recurse(black_box(DEEP)).to_string()),
        "printing" => loop {
            log::warn!("{}", black_box("x".repeat(1000)));
        },
        "handles" => {
            let mut timers = Vec::new();
            loop {
                timers.push(wasip2::clocks::monotonic_clock::subscribe_duration(1_000_000_000));
            }
        }
        "sleeping-sql" => sql::execute("SELECT pg_sleep(3600)", params![]).map(|_| String::new()),
        "locking-sql" => {
            sql::execute("SELECT pg_advisory_xact_lock(1)", params![])?;
            sql::execute("SELECT pg_sleep(3600)", params![]).map(|_| String::new())
        }
        "large-sql" => {
            let rows = "SELECT repeat('x', 10000) AS x FROM generate_series(1, 100000)";
            sql::query::<dbos_guest::serde_json::Value>(rows, params![]).map(|rows| rows.len().to_string())
        }
        "large frames" => Ok(recurse_with_large_frames(black_box(DEEP)).to_string()),
        _ => bail!("there is no such way: `{how}`"),
    }
}

/// Needs only what the machine's own stack has for each call.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == 0 { 0 } else { recurse(depth - 1).wrapping_mul(31) ^ depth }
}

/// Needs as well the stack that the compiler keeps in the guest's memory, for what is larger than a number.
#[inline(never)]
fn recurse_with_large_frames(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    if depth == 0 { 0 } else { recurse_with_large_frames(depth - 1) + frame[1] }
}

/// Misbehaves, once it has taken a step.
#[workflow]
fn bad_workflow(how: &str) -> Result<String> {
    step()?;
    misbehave(how)
}

#[transaction]
fn step() -> u32 {
    1
}

#[transaction]
fn bad_transaction(how: &str) -> Result<String> {
    misbehave(how)
}

#[communicator]
fn bad_communicator(how: &str) -> Result<String> {
    misbehave(how)
}

/// Lives on after a transaction that misbehaves, and tells its error.
#[workflow]
fn calls_bad_transaction(how: &str) -> Result<String> {
    Ok(bad_transaction(how).err().context("the transaction returned")?.to_string())
}

/// The same with a communicator.
#[workflow]
fn calls_bad_communicator(how: &str) -> Result<String> {
    Ok(bad_communicator(how).err().context("the communicator returned")?.to_string())
}

#[get("/bad/{how}")]
fn bad_handler(how: &str) -> Result<String> {
    if how.ends_with("-sql") { bad_transaction(how) } else { misbehave(how) }
}

/// The neighbour: a page with something from the database.
#[get("/hello/{name}")]
fn hello(name: &str) -> Result<String> {
    Ok(format!("hello {name}, {}", look()?))
}

/// The neighbour: ten steps.
#[workflow]
fn neighbour() -> Result<u32> {
    (0..10).map(|_| step()).sum()
}

#[transaction(read_only)]
fn look() -> u32 {
    1
}

/// Prints lines of 64 kB while the record of a step is on its way.
#[workflow]
fn flood(lines: u32) -> Result<u32> {
    look()?;
    let line = "x".repeat(64_000);
    for _ in 0..lines {
        log::info!("{line}");
    }
    Ok(lines)
}

/// Prints empty lines, all of them in one call.
#[workflow]
fn empty_lines(lines: usize) -> Result<()> {
    Ok(wasip2::cli::stdout::get_stdout().write(&vec![b'\n'; lines])?)
}

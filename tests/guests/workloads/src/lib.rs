//! What the bench runs: workflows that do as little as can be measured, so that what is measured is the host and the
//! database under it.

use std::time::Duration;

use dbos_guest::prelude::*;

#[communicator]
fn nothing(number: u32) -> Result<u32> {
    Ok(number)
}

#[transaction]
fn insert(name: &str) -> Result<u64> {
    sql::execute("INSERT INTO bench_rows (name) VALUES ($1)", params![name])
}

/// W1: one communicator that does nothing.
#[workflow]
fn one_step() -> Result<u32> {
    nothing(1)
}

/// W10: ten of them.
#[workflow]
fn ten_steps() -> Result<u32> {
    let mut sum = 0;
    for number in 1..=10 {
        sum += nothing(number)?;
    }
    Ok(sum)
}

/// P1000: a thousand communicators that do nothing, side by side.
#[workflow]
fn thousand_beside() -> Result<u32> {
    let started: Result<Vec<_>> = (1..=1_000).map(nothing::start).collect();
    Ok(join_all(started?)?.into_iter().sum())
}

/// One operation that goes on only when its record is on disk.
#[workflow]
fn one_nap() -> Result<u32> {
    naps(1)
}

/// Ten of them.
#[workflow]
fn ten_naps() -> Result<u32> {
    naps(10)
}

fn naps(times: u32) -> Result<u32> {
    for _ in 0..times {
        sleep(Duration::ZERO)?;
    }
    Ok(times)
}

/// One round of talk with another run.
#[workflow]
fn one_talk() -> Result<u32> {
    talks(1)
}

/// Ten of them.
#[workflow]
fn ten_talks() -> Result<u32> {
    talks(10)
}

/// Longer than any bench.
const A_MONTH: Duration = Duration::from_secs(30 * 86_400);

fn talks(rounds: u32) -> Result<u32> {
    let other = answers::start(&workflow_id()?, rounds)?;
    for round in 0..rounds {
        other.send("words", &round)?;
        let answer: Option<u32> = recv("words", A_MONTH)?;
        ensure!(answer == Some(round), "another answer: {answer:?}");
    }
    other.join()?;
    Ok(rounds)
}

#[workflow]
fn answers(to: &str, rounds: u32) -> Result<String> {
    for _ in 0..rounds {
        let word: Option<u32> = recv("words", A_MONTH)?;
        send(to, "words", &word)?;
    }
    Ok("answered".to_owned())
}

/// Waits for one message.
#[workflow]
fn listens() -> Result<Option<u32>> {
    recv("word", A_MONTH)
}

/// WT: one transaction that inserts one row.
#[workflow]
fn one_row() -> Result<u64> {
    insert("Mike")
}

/// Steps, a sleep, and one more step. All steps are the same call, so that the record of one can be copied for another.
#[workflow]
fn steps_then_sleep(steps: u32, milliseconds: u64) -> Result<u32> {
    for _ in 0..steps {
        nothing(1)?;
    }
    sleep(Duration::from_millis(milliseconds))?;
    nothing(1)
}

/// One communicator that waits for an answer of the outside.
#[workflow]
fn slow() -> Result<String> {
    wait_for_answer()
}

#[communicator]
fn wait_for_answer() -> Result<String> {
    http::get(env::var("OUTSIDE_URL")?).send()?.error_for_status()?.text()
}

/// Nothing at all.
#[get("/hello")]
fn hello() -> Result<String> {
    Ok("hello".to_owned())
}

/// A handler that awaits a one-transaction workflow.
#[get("/greeting/{name}")]
fn greeting(name: &str) -> Result<String> {
    one_row()?;
    Ok(format!("Thank you for being awesome, {name}!"))
}

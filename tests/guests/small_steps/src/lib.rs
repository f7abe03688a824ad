//! Few steps, so that a test can say at which of them something is to happen: one transaction at each isolation level,
//! a request between two transactions, a parent with a child.
//!
//! Each effect leaves something that a test can count. A transaction leaves a row in `effects`, whose table has no key,
//! so that an effect that happens twice is two rows. A communicator leaves a request to `OUTSIDE_URL`.

use dbos_guest::prelude::*;

fn leave_a_row(run: &str, step: &str) -> Result<u64> {
    sql::execute("INSERT INTO effects (run, step) VALUES ($1, $2)", params![run, step])
}

#[transaction]
fn write_serializable(run: &str, step: &str) -> Result<u64> {
    leave_a_row(run, step)
}

#[transaction(isolation = "repeatable read")]
fn write_repeatable_read(run: &str, step: &str) -> Result<u64> {
    leave_a_row(run, step)
}

#[transaction(isolation = "read committed")]
fn write_read_committed(run: &str, step: &str) -> Result<u64> {
    leave_a_row(run, step)
}

/// Sends one request, and is not tried again.
#[communicator]
fn tell(run: &str) -> Result<String> {
    tell_once(run)
}

fn tell_once(run: &str) -> Result<String> {
    let url = env::var("OUTSIDE_URL")?;
    http::post(format!("{url}/tell")).json(&json!({ "run": run }))?.send()?.error_for_status()?.text()
}

/// Sends a request, fails, and is tried again an hour later.
#[communicator(attempts = 2, interval = "1h")]
fn tell_twice(run: &str) -> Result<String> {
    tell_once(run)?;
    bail!("the first attempt fails")
}

#[workflow]
fn serializable(run: &str) -> Result<u64> {
    write_serializable(run, "only")
}

#[workflow]
fn repeatable_read(run: &str) -> Result<u64> {
    write_repeatable_read(run, "only")
}

#[workflow]
fn read_committed(run: &str) -> Result<u64> {
    write_read_committed(run, "only")
}

/// Two transactions with a request between them.
#[workflow]
fn write_tell_write(run: &str) -> Result<String> {
    write_serializable(run, "before")?;
    let answer = tell(run)?;
    write_serializable(run, "after")?;
    Ok(answer)
}

/// A transaction, and a request whose second attempt comes an hour after the first.
#[workflow]
fn write_tell_twice(run: &str) -> Result<String> {
    write_serializable(run, "before")?;
    tell_twice(run)
}

/// A transaction and a request beside a sleep of an hour.
#[workflow]
fn all_at_once(run: &str) -> Result<String> {
    let (written, told) = (write_serializable::start(run, "beside")?, tell::start(run)?);
    sleep(Duration::from_secs(3600))?;
    written.join()?;
    told.join()
}

/// So many transactions.
#[workflow]
fn write_times(run: &str, times: u32) -> Result<u32> {
    for number in 1..=times {
        write_serializable(run, &number.to_string())?;
    }
    Ok(times)
}

/// Has a child that writes.
#[workflow]
fn parent(run: &str) -> Result<u64> {
    serializable(run)
}

/// Counts the rows of everybody and writes one: a conflict with whoever does the same.
#[transaction]
fn count_and_write(run: &str) -> Result<i64> {
    #[derive(Deserialize)]
    struct Row {
        count: i64,
    }
    let row: Row = sql::query_one("SELECT count(*) FROM effects WHERE step IN ('counted', 'other')", params![])?;
    leave_a_row(run, "counted")?;
    Ok(row.count)
}

/// One transaction that conflicts, and a line about it.
#[workflow]
fn counted(run: &str) -> Result<i64> {
    let n = count_and_write(run)?;
    log::info!("{run} has counted");
    Ok(n)
}

/// Computes so many rounds before its transaction, and so many after it.
#[workflow]
fn compute_write_compute(run: &str, before: u64, after: u64) -> Result<u64> {
    compute(before);
    let rows = write_serializable(run, "only")?;
    compute(after);
    Ok(rows)
}

fn compute(rounds: u64) {
    for round in 0..rounds {
        std::hint::black_box(round);
    }
}

/// Starts a run under its own id and answers with its result, by a direct call.
#[post("/direct/{run}")]
fn direct(run: &str) -> Result<String> {
    Ok(serializable(run)?.to_string())
}

/// Answers with the result of a single transaction.
#[post("/one-step/{run}")]
fn single(run: &str) -> Result<String> {
    Ok(write_serializable(run, "only")?.to_string())
}

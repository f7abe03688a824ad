//! Workflows whose steps can be undone.
//!
//! As in `every_step`, each effect leaves something that a test can count: a row in `effects`, or a request to `OUTSIDE_URL`.

mod swept;

use dbos_guest::prelude::*;

fn ask(run: &str, step: &str) -> Result<String> {
    http::post(env::var("OUTSIDE_URL")?)
        .json(&json!({ "run": run, "step": step }))?
        .idempotency_key()?
        .send()?
        .error_for_status()?
        .text()
}

fn leave_a_row(run: &str, step: &str) -> Result<u64> {
    sql::execute("INSERT INTO effects (run, step) VALUES ($1, $2)", params![run, step])
}

#[communicator(undo = untell)]
fn tell(run: &str, step: &str) -> Result<String> {
    ask(run, step)
}

#[communicator(attempts = 3, interval = "1s")]
fn untell(run: &str, step: &str, result: Option<String>) -> Result<()> {
    let told = result.unwrap_or_else(|| "nobody knows".to_owned());
    ask(run, &format!("undo {step}: {told}"))?;
    Ok(())
}

#[communicator(undo = untell, attempts = 3, interval = "1s")]
fn tell_again(run: &str, step: &str) -> Result<String> {
    ask(run, step)
}

#[transaction(undo = unwrite)]
fn write(run: &str, step: &str) -> Result<u64> {
    leave_a_row(run, step)
}

#[transaction]
fn unwrite(run: &str, step: &str, result: Option<u64>) -> Result<()> {
    let rows = result.context("a transaction that is undone has a result")?;
    leave_a_row(run, &format!("undo {step}: {rows}"))?;
    Ok(())
}

/// Fails by itself, in either way.
#[transaction(undo = unwrite)]
fn write_and_fail(run: &str, step: &str) -> Result<u64> {
    leave_a_row(run, step)?;
    bail!("{step} fails")
}

/// A request, a transaction, and two requests side by side; then it ends as it is told.
#[workflow]
fn order(run: &str, end: &str) -> Result<String> {
    tell(run, "one")?;
    write(run, "two")?;
    let (slow, quick) = (tell::start(run, "slow")?, tell::start(run, "quick")?);
    join_all([slow, quick])?;
    match end {
        "well" => Ok("all is well".to_owned()),
        "sleep" => sleep(Duration::from_secs(3600)).map(|()| "it has slept".to_owned()),
        _ => bail!("{end}"),
    }
}

/// Steps that fail do not undo themselves, and those around them are not undone while the workflow goes on.
#[workflow]
fn half(run: &str) -> Result<()> {
    write(run, "before")?;
    ensure!(write_and_fail(run, "rolled back").is_err(), "it fails");
    ensure!(tell(run, "refused").is_err(), "it fails too");
    bail!("enough")
}

/// A row, and a request that is given up after a while.
#[workflow]
fn hurry(run: &str, milliseconds: u64) -> Result<String> {
    write(run, "before")?;
    tell::start(run, "held")?.within(Duration::from_millis(milliseconds))
}

/// A row, and a request that nobody waits for longer than for the run.
#[workflow]
fn on_its_way(run: &str) -> Result<String> {
    write(run, "before")?;
    tell(run, "held")
}

/// A request that may be refused three times.
#[workflow]
fn insists(run: &str, step: &str) -> Result<String> {
    tell_again(run, step)
}

/// Two rows with an hour between them, and an error.
#[workflow]
fn slow_failure(run: &str) -> Result<()> {
    write(run, "before")?;
    sleep(Duration::from_secs(3600))?;
    bail!("it fails all the same")
}

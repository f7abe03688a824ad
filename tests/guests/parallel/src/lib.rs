//! Runs steps side by side: joined, forgotten, timed out, cancelled, raced, and bounded.
//!
//! As in `every_step`, each effect leaves something that a test can count: a row in `effects`, or a request to `OUTSIDE_URL`.

use std::time::SystemTime;

use dbos_guest::prelude::*;

#[transaction]
fn write(run: &str, step: &str) -> Result<u64> {
    sql::execute("INSERT INTO effects (run, step) VALUES ($1, $2)", params![run, step])
}

#[communicator]
fn tell(run: &str, step: &str) -> Result<String> {
    http::post(env::var("OUTSIDE_URL")?)
        .json(&json!({ "run": run, "step": step }))?
        .idempotency_key()?
        .send()?
        .error_for_status()?
        .text()
}

#[communicator]
fn nothing() -> Result<()> {
    Ok(())
}

/// Never ends by itself, and does nothing.
#[communicator]
fn wait() -> Result<()> {
    std::thread::sleep(Duration::from_secs(3600));
    Ok(())
}

/// Starts so many requests, and joins them.
#[workflow]
fn fan_out(run: &str, many: u32) -> Result<Vec<String>> {
    let steps: Result<Vec<_>> = (1..=many).map(|n| tell::start(run, &n.to_string())).collect();
    join_all(steps?)
}

/// So many transactions at once, all of which write to the same table.
#[workflow]
fn crowd(run: &str, many: u32) -> Result<u64> {
    let steps: Result<Vec<_>> = (1..=many).map(|n| write::start(run, &n.to_string())).collect();
    Ok(join_all(steps?)?.into_iter().sum())
}

/// Starts three, joins the first, calls a fourth, joins the second, and forgets the third.
#[workflow]
fn crossed(run: &str) -> Result<Vec<String>> {
    let (one, two) = (tell::start(run, "one")?, tell::start(run, "two")?);
    let _forgotten = tell::start(run, "three")?;
    let mut told = vec![one.join()?];
    told.push(write(run, "four")?.to_string());
    told.push(two.join()?);
    Ok(told)
}

fn code<T: std::fmt::Display>(end: Result<T>) -> String {
    match end {
        Ok(value) => value.to_string(),
        Err(error) => error.code().unwrap_or("no code").to_owned(),
    }
}

/// Waits for a message beside a step, in vain and then not, and writes to nobody before it joins the step.
#[workflow]
fn listens(run: &str) -> Result<Vec<String>> {
    let step = tell::start(run, "slow")?;
    let none: Option<String> = recv("never", Duration::from_secs(1))?;
    ensure!(none.is_none(), "nobody writes about this");
    let heard: String = recv("go", Duration::from_secs(86_400))?.context("a message")?;
    let nobody = code(send("nobody", "", &1).map(|()| "sent"));
    Ok(vec![heard, nobody, step.join()?])
}

/// A transaction with a time limit.
#[workflow]
fn timed_write(run: &str, milliseconds: u64) -> Result<String> {
    let end = code(timeout(Duration::from_millis(milliseconds), write::start(run, "timed")?));
    write_down(end)
}

/// A request with a time limit.
#[workflow]
fn timed_request(run: &str, milliseconds: u64) -> Result<String> {
    let end = code(tell::start(run, "timed")?.within(Duration::from_millis(milliseconds)));
    write_down(end)
}

#[transaction(read_only)]
fn read_back(text: &str) -> Result<String> {
    Ok(text.to_owned())
}

/// One more record, which must be the same in each replay.
fn write_down(text: String) -> Result<String> {
    read_back(&text)
}

/// The first of two, then the other.
#[workflow]
fn first(run: &str) -> Result<Vec<String>> {
    let mut steps = vec![tell::start(run, "one")?, tell::start(run, "two")?];
    let mut told = vec![select(&mut steps)?.join()?];
    write_down(told[0].clone())?;
    told.extend(join_all(steps)?);
    Ok(told)
}

/// The first of one, for so long at most, and then however long it takes.
#[workflow]
fn first_within(run: &str, milliseconds: u64) -> Result<Vec<String>> {
    let mut steps = vec![tell::start(run, "one")?];
    let first = select_within(&mut steps, Duration::from_millis(milliseconds))?;
    let mut told = vec![match first {
        Some(step) => step.join()?,
        None => "nobody".to_owned(),
    }];
    write_down(told[0].clone())?;
    told.extend(join_all(steps)?);
    Ok(told)
}

/// Whoever ends first; the others are cancelled.
#[workflow]
fn raced(run: &str) -> Result<String> {
    race([tell::start(run, "one")?, tell::start(run, "two")?, tell::start(run, "three")?])?.join()
}

/// Cancels what it has started, when another has ended.
#[workflow]
fn cancels(run: &str) -> Result<String> {
    let step = tell::start(run, "cancelled")?;
    let told = tell(run, "called")?;
    step.cancel()?;
    write(run, "behind")?;
    Ok(told)
}

#[workflow]
fn forgets(run: &str) -> Result<String> {
    let _forgotten = tell::start(run, "forgotten")?;
    Ok("done".to_owned())
}

/// Sleeps while a step runs.
#[workflow]
fn sleeps_beside(run: &str, milliseconds: u64) -> Result<String> {
    let step = tell::start(run, "beside")?;
    sleep(Duration::from_millis(milliseconds))?;
    step.join()
}

/// So many requests, so many of them at a time.
#[workflow]
fn grouped(run: &str, many: u32, at_once: u32) -> Result<Vec<String>> {
    let told = map(1..=many, at_once, |group, n| tell::start_in(group, run, &n.to_string()))?;
    Ok(told.into_iter().map(code).collect())
}

/// More steps than may be open.
#[workflow]
fn floods(many: u32) -> Result<String> {
    let mut started = Vec::new();
    for _ in 0..many {
        match nothing::start() {
            Ok(step) => started.push(step),
            Err(error) => return Ok(format!("{}: {}", started.len(), code(Err::<u8, _>(error)))),
        }
    }
    join_all(started)?;
    Ok("all".to_owned())
}

/// What the clock says: when a step was started, before its join, and behind it.
#[workflow]
fn clocked(run: &str) -> Result<Vec<bool>> {
    let begin = SystemTime::now();
    let (slow, quick) = (tell::start(run, "slow")?, tell::start(run, "quick")?);
    quick.join()?;
    let quick_joined = SystemTime::now();
    slow.join()?;
    let both = SystemTime::now();
    Ok(vec![quick_joined > begin, both > quick_joined])
}

/// Says something behind a step that has ended, while another one is about to send its request.
#[workflow]
fn says(run: &str) -> Result<String> {
    let (slow, quick) = (tell::start(run, "slow")?, nothing::start()?);
    quick.join()?;
    log::info!("the quick one has ended");
    slow.join()
}

/// Everything that may be interrupted: the program of the crash sweep.
#[workflow]
fn side_by_side(run: &str) -> Result<Vec<String>> {
    let (one, two) = (write::start(run, "one")?, tell::start(run, "two")?);
    let three = write::start(run, "three")?;
    let _forgotten = tell::start(run, "four")?;
    let mut told = vec![code(wait::start()?.within(Duration::from_secs(60)).map(|()| 0))];
    told.push(two.join()?);
    told.push(one.join()?.to_string());
    told.push(tell(run, "five")?);
    told.push(three.join()?.to_string());
    Ok(told)
}

/// Writes in each round, tells somebody beside, and continues with the next one.
#[workflow]
fn rounds(run: &str, round: u32, last: u32) -> Result<u32> {
    write(run, &round.to_string())?;
    let _beside = tell::start(run, &format!("round {round}"))?;
    if round < last {
        return rounds::continue_with(run, round + 1, last);
    }
    Ok(round)
}

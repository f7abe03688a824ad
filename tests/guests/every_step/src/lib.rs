//! Several steps of each kind, in an order in which each kind has others before and behind it: the program of the crash
//! sweep.
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

/// Leaves one row, undoes another, and goes on.
#[transaction]
fn write_with_savepoint(run: &str, step: &str) -> Result<u64> {
    let undone: Result<()> = sql::savepoint(|| {
        leave_a_row(run, "undone")?;
        bail!("undo this");
    });
    ensure!(undone.is_err());
    leave_a_row(run, step)
}

/// Leaves nothing: its error undoes the row.
#[transaction]
fn refuse(run: &str) -> Result<()> {
    leave_a_row(run, "refused")?;
    Err(Error::new("nothing is written").with_name("Refused").with_code("E1").with_data(json!({ "run": run })))
}

#[transaction(read_only)]
fn count(run: &str) -> Result<i64> {
    #[derive(Deserialize)]
    struct Count {
        count: i64,
    }
    let row: Count = sql::query_one("SELECT count(*) FROM effects WHERE run = $1", params![run])?;
    Ok(row.count)
}

fn request(kind: &str, run: &str, step: &str) -> Result<String> {
    let url = env::var("OUTSIDE_URL")?;
    http::post(format!("{url}/{kind}"))
        .json(&json!({ "run": run, "step": step }))?
        .idempotency_key()?
        .send()?
        .error_for_status()?
        .text()
}

/// Sends one request to `/tell`.
#[communicator]
fn tell(run: &str, step: &str) -> Result<String> {
    request("tell", run, step)
}

/// Sends requests to `/retried` until one is answered well.
#[communicator(attempts = 5, interval = "2s")]
fn tell_again(run: &str, step: &str) -> Result<String> {
    request("retried", run, step)
}

/// Sends one request to `/refused`, and fails.
#[communicator(attempts = 5)]
fn tell_nobody(run: &str, step: &str) -> Result<()> {
    let answer = request("refused", run, step)?;
    Err(Error::new(format!("`{answer}` is not an answer")).do_not_retry())
}

/// Has steps of its own, writes to its parent, whose id is `run`, and shows something.
#[workflow]
fn child(run: &str, step: &str) -> Result<String> {
    write_serializable(run, step)?;
    send(run, "children", step)?;
    stream("steps").write(step)?;
    let answer = tell(run, step)?;
    Ok(format!("{step}: {answer}"))
}

/// Takes every kind of step. Its result tells what each of them returned; it is the same in every run, but for `run`.
#[workflow]
fn every_step(run: &str) -> Result<Vec<String>> {
    let mut told = vec![tell(run, "first")?];
    told.push(write_serializable(run, "serializable")?.to_string());
    sleep(Duration::from_secs(60))?;
    told.push(write_repeatable_read(run, "repeatable read")?.to_string());
    let started = child::start(run, "started child")?;
    told.push(tell_again(run, "again")?);
    told.push(write_read_committed(run, "read committed")?.to_string());
    told.push(started.join()?);
    told.extend(started.stream("steps").collect::<Result<Vec<String>>>()?);
    stream("told").write(&told.len())?;
    stream("told").write(&told)?;
    stream("told").close()?;
    set_event("told", &told)?;
    set_event("told", &told.len())?;
    told.push(format!("{:?}", get_event::<u64>(&workflow_id()?, "told")?));
    told.push(format!("{:?}", get_event_within::<u64>(started.id(), "told", Duration::from_secs(60))?));
    sleep(Duration::from_secs(3600))?;
    told.push(child(run, "called child")?);
    for _ in 0..3 {
        told.push(format!("{:?}", recv::<String>("children", Duration::from_secs(60))?));
    }
    told.push(send("nobody", "", &1).err().context("somebody is there")?.to_string());
    told.push(refuse(run).err().context("`refuse` returned")?.to_string());
    told.push(tell_nobody(run, "nobody").err().context("`tell_nobody` returned")?.to_string());
    told.push(write_with_savepoint(run, "savepoint")?.to_string());
    told.push(count(run)?.to_string());
    sleep(Duration::from_millis(1))?;
    if patch("tell of the patch")? {
        told.push(tell(run, "patched")?);
    }
    sleep_until(now() + Duration::from_secs(3600))?;
    told.push(tell(run, "last")?);
    Ok(told)
}

//! Shows values and waits for those that others show; writes letters, and waits for them.

use dbos_guest::{prelude::*, reject, resolve, serde_json::Value};

const A_DAY: Duration = Duration::from_secs(86_400);

/// Shows the values as the event `value`, one after the other.
#[workflow]
fn show(values: Vec<Value>) -> Result<usize> {
    for value in &values {
        set_event("value", value)?;
    }
    Ok(values.len())
}

/// Shows it tomorrow.
#[workflow]
fn show_tomorrow(value: Value) -> Result<()> {
    sleep(A_DAY)?;
    set_event("value", &value)
}

/// What the run shows, if it does in time.
#[workflow]
fn look(id: &str, milliseconds: u64) -> Result<Option<Value>> {
    get_event_within(id, "value", Duration::from_millis(milliseconds))
}

/// The same, told tomorrow.
#[workflow]
fn look_and_rest(id: &str, milliseconds: u64) -> Result<Option<Value>> {
    let seen = get_event_within(id, "value", Duration::from_millis(milliseconds))?;
    sleep(A_DAY)?;
    Ok(seen)
}

/// What the workflow's clock shows before and after it has waited in vain.
#[workflow]
fn look_at_the_clock(milliseconds: u64) -> Result<u64> {
    let seen: Option<Value> = get_event_within("nobody", "value", Duration::from_millis(milliseconds))?;
    ensure!(seen.is_none(), "nobody shows nothing");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

#[get("/look/{id}/{milliseconds}")]
fn look_by_a_handler(id: &str, milliseconds: u64) -> Result<Json<Option<Value>>> {
    Ok(Json(get_event_within(id, "value", Duration::from_millis(milliseconds))?))
}

/// Keys and values that are refused; tells their codes.
#[workflow]
fn refused() -> Vec<String> {
    let code = |error: Option<Error>| error.and_then(|error| error.code().map(str::to_owned)).unwrap_or_default();
    let long = "k".repeat(256);
    vec![
        code(set_event("", &1).err()),
        code(set_event(&long, &1).err()),
        code(set_event("a\nb", &1).err()),
        code(get_event::<Value>("", "value").err()),
        code(get_event_within::<Value>("a", "value", Duration::MAX).err()),
    ]
}

/// Writes to a run, about this topic.
#[workflow]
fn write(to: &str, topic: &str, values: Vec<Value>) -> Result<usize> {
    for value in &values {
        send(to, topic, value)?;
    }
    Ok(values.len())
}

/// Writes to a run, unless somebody has with this key.
#[workflow]
fn write_once(to: &str, value: Value, key: &str) -> Result<()> {
    send_once(to, "", &value, key)
}

/// As many letters as asked for, each within this time.
#[workflow]
fn read(topic: &str, count: u32, milliseconds: u64) -> Result<Vec<Option<Value>>> {
    (0..count).map(|_| recv(topic, Duration::from_millis(milliseconds))).collect()
}

/// One, told tomorrow.
#[workflow]
fn read_and_rest(milliseconds: u64) -> Result<Option<Value>> {
    let read = recv("", Duration::from_millis(milliseconds))?;
    sleep(A_DAY)?;
    Ok(read)
}

/// Reads tomorrow whatever has come by then, and does not wait for more.
#[workflow]
fn read_tomorrow() -> Result<Vec<Value>> {
    sleep(A_DAY)?;
    let mut read = Vec::new();
    while let Some(value) = recv("", Duration::ZERO)? {
        read.push(value);
    }
    Ok(read)
}

/// Writes to a run that is not there, and tells tomorrow what came of it.
#[workflow]
fn write_to_nobody(id: &str) -> Result<Option<String>> {
    let error = send(id, "", &1).err().context("somebody is there")?;
    sleep(A_DAY)?;
    Ok(error.code().map(str::to_owned))
}

#[post("/write/{to}")]
fn write_by_a_handler(to: &str) -> Result<()> {
    send(to, "", "by a handler")?;
    send(to, "", "by a handler again")
}

#[post("/write_too/{to}")]
fn write_by_another_handler(to: &str) -> Result<()> {
    send(to, "", "by another handler")
}

/// Topics that are refused; tells their codes.
#[workflow]
fn refused_letters() -> Vec<String> {
    let code = |error: Option<Error>| error.and_then(|error| error.code().map(str::to_owned)).unwrap_or_default();
    let long = "t".repeat(256);
    vec![
        code(send("a", &long, &1).err()),
        code(send("", "", &1).err()),
        code(send_once("a", "", &1, "").err()),
        code(recv::<Value>("a\nb", Duration::ZERO).err()),
        code(recv::<Value>("", Duration::MAX).err()),
    ]
}

/// Shows its link, and waits for what somebody decides.
#[workflow]
fn ask(milliseconds: u64) -> Result<Option<Value>> {
    let approval = promise::<Value>("approval");
    set_event("link", &approval.link()?)?;
    approval.wait(Duration::from_millis(milliseconds))
}

/// Asks twice, with a day between.
#[workflow]
fn ask_and_rest(milliseconds: u64) -> Result<Vec<Option<Value>>> {
    let approval = promise::<Value>("approval");
    set_event("link", &approval.link()?)?;
    let first = approval.wait(Duration::from_millis(milliseconds))?;
    sleep(A_DAY)?;
    Ok(vec![first, approval.wait(Duration::ZERO)?])
}

/// Decides what another run has asked for.
#[workflow]
fn decide(id: &str, approve: bool) -> Result<()> {
    match approve {
        true => resolve(id, "approval", &"by a workflow"),
        false => reject(id, "approval", &Error::new("too dear").with_name("Refused").with_code("E7")),
    }
}

/// Names that are refused; tells their codes.
#[workflow]
fn refused_promises() -> Vec<String> {
    let code = |error: Option<Error>| error.and_then(|error| error.code().map(str::to_owned)).unwrap_or_default();
    vec![
        code(promise::<Value>("a b").link().err()),
        code(promise::<Value>("").wait(Duration::ZERO).err()),
        code(promise::<Value>("a").wait(Duration::MAX).err()),
    ]
}

/// Reads one letter in each round, and tells all of them in the last one.
#[workflow]
fn read_in_rounds(mut read: Vec<Value>, count: usize) -> Result<Vec<Value>> {
    if read.len() >= count {
        return Ok(read);
    }
    read.push(recv("", A_DAY)?.context("a letter")?);
    read_in_rounds::continue_with(read, count)
}

/// Draws once in each round, and tells in the last one, tomorrow.
#[workflow]
fn draw_in_rounds(mut drawn: Vec<String>, count: usize) -> Result<Vec<String>> {
    drawn.push(uuid().to_string());
    set_event("drawn", &drawn)?;
    if drawn.len() < count {
        return draw_in_rounds::continue_with(drawn, count);
    }
    sleep(A_DAY)?;
    Ok(drawn)
}

/// Asks for the same in two rounds, and writes in the second to what it has closed in the first.
#[workflow]
fn ask_in_rounds(round: u32) -> Result<Vec<Value>> {
    let approval = promise::<Value>("approval");
    set_event("link", &approval.link()?)?;
    let decided = approval.wait(A_DAY)?;
    if round == 1 {
        stream("s").close()?;
        return ask_in_rounds::continue_with(2);
    }
    let closed = stream("s").write(&1).err().and_then(|error| error.code().map(str::to_owned));
    Ok(vec![json!(decided), json!(closed)])
}

/// Fails in its second round.
#[workflow]
fn fail_in_rounds(round: u32) -> Result<()> {
    set_event("value", &round)?;
    ensure!(round < 2, "round {round}");
    fail_in_rounds::continue_with(round + 1)
}

/// Continues and does nothing.
#[workflow]
fn spin(left: u32) -> Result<u32> {
    if left > 0 { spin::continue_with(left - 1) } else { Ok(left) }
}

/// Wishes to continue as another workflow; tells the code.
#[workflow]
fn continue_as_another() -> Result<Option<String>> {
    Ok(spin::continue_with(1).err().and_then(|error| error.code().map(str::to_owned)))
}

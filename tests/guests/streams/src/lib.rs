//! Shows values one behind the other, and reads those of others.

use dbos_guest::{prelude::*, serde_json::Value};

const A_DAY: Duration = Duration::from_secs(86_400);

/// Shows some values, and the others tomorrow.
#[workflow]
fn show(today: Vec<Value>, tomorrow: Vec<Value>) -> Result<usize> {
    let out = stream("out");
    for value in &today {
        out.write(value)?;
    }
    sleep(A_DAY)?;
    for value in &tomorrow {
        out.write(value)?;
    }
    Ok(today.len() + tomorrow.len())
}

/// Shows values and says that there are no more, but ends only tomorrow.
#[workflow]
fn show_and_close(values: Vec<Value>) -> Result<String> {
    for value in &values {
        stream("out").write(value)?;
    }
    stream("out").close()?;
    sleep(A_DAY)?;
    let error = stream("out").write(&1).err().context("the stream is open")?;
    Ok(error.code().unwrap_or_default().to_owned())
}

/// Shows as many texts of this size.
#[workflow]
fn show_much(count: usize, bytes: usize) -> Result<()> {
    let text = "x".repeat(bytes);
    (0..count).try_for_each(|_| stream("out").write(&text))
}

/// Shows numbers in two streams, with a step between them.
#[workflow]
fn count(to: u32) -> Result<()> {
    for number in 0..to {
        stream("out").write(&number)?;
        if number % 2 == 0 {
            stream("even").write(&number)?;
        }
        step(number)?;
    }
    Ok(())
}

#[communicator]
fn step(number: u32) -> Result<u32> {
    Ok(number)
}

/// All that another run shows.
#[workflow]
fn read(id: &str) -> Result<Vec<Value>> {
    read_stream(id, "out").collect()
}

/// The same, told tomorrow.
#[workflow]
fn read_and_rest(id: &str) -> Result<Vec<Value>> {
    let read = read_stream(id, "out").collect::<Result<_>>()?;
    sleep(A_DAY)?;
    Ok(read)
}

/// The first value from this offset on, and where the stream ends if there is none.
#[get("/read/{id}/{offset}")]
fn read_by_a_handler(id: &str, offset: u32) -> Result<Json<Option<Value>>> {
    Ok(Json(read_stream_from(id, "out", offset).next().transpose()?))
}

/// What is refused; tells the codes.
#[workflow]
fn refused() -> Vec<String> {
    let code = |error: Option<Error>| error.and_then(|error| error.code().map(str::to_owned)).unwrap_or_default();
    let read =
        |id: &str, key: &str, offset| code(read_stream_from::<Value>(id, key, offset).next().and_then(Result::err));
    vec![
        code(stream("").write(&1).err()),
        code(stream(&"k".repeat(256)).close().err()),
        code(stream("out").write("__DBOS_STREAM_CLOSED__").err()),
        read("", "out", 0),
        read("a", "a\nb", 0),
        read("a", "out", u32::MAX),
    ]
}

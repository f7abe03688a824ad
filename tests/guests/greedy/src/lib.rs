//! Has its host hold and copy as much as it can: handles, headers, bodies, long texts, large arguments and results.

use std::iter::repeat_with;

use dbos_guest::prelude::*;
use wasip2::cli::stdout::get_stdout;
use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};
use wasip2::io::poll;

/// More than any host allows; a loop that gets that far was not stopped.
const MANY: usize = 1_000_000;

/// An hour, in nanoseconds.
const HOUR: u64 = 3_600_000_000_000;

/// The largest payload of the host.
const PAYLOAD: usize = 16 * 1024 * 1024;

/// Makes things until the host ends it, and keeps them all.
fn keep<T>(make: impl FnMut() -> T) -> String {
    let kept: Vec<T> = repeat_with(make).take(MANY).collect();
    format!("kept {}", kept.len())
}

/// Headers for as long as the host takes them.
fn fill() -> Fields {
    let fields = Fields::new();
    let value = vec![b'x'; 1000];
    for n in 0..MANY {
        fields.append(&format!("x-{n}"), &value).expect("a header like any other");
    }
    fields
}

fn started_body() -> (OutgoingRequest, OutgoingBody) {
    let request = OutgoingRequest::new(Fields::new());
    let body = request.body().expect("a body that was not taken");
    let stream = body.write().expect("a stream that was not taken");
    let room = stream.check_write().expect("a fresh stream");
    stream.write(&vec![0; usize::try_from(room).expect("32 bits")]).expect("as much as the host has room for");
    drop(stream);
    (request, body)
}

/// What the host says to parts of a request that are far too long.
fn long_parts() -> String {
    let request = OutgoingRequest::new(Fields::new());
    let long = "x".repeat(1 << 20);
    let told = [
        request.set_method(&Method::Other(long.clone())).is_err(),
        request.set_scheme(Some(&Scheme::Other(long.clone()))).is_err(),
        request.set_authority(Some(&long)).is_err(),
        request.set_path_with_query(Some(&format!("/{long}"))).is_err(),
    ];
    format!("refused: {told:?}")
}

fn grab(what: &str) -> Result<String> {
    Ok(match what {
        "headers" => keep(Fields::new),
        "full headers" => keep(fill),
        "requests" => keep(|| OutgoingRequest::new(Fields::new())),
        "bodies" => keep(started_body),
        "streams" => keep(get_stdout),
        "timers" => keep(|| monotonic_clock::subscribe_duration(HOUR)),
        "waits for outputs" => {
            let output = get_stdout();
            keep(|| output.subscribe())
        }
        "long list" => {
            let output = get_stdout();
            let ready = output.subscribe();
            let list = vec![&ready; 20_000_000];
            format!("{} are ready", poll::poll(&list).len())
        }
        "random" => format!("{} bytes", wasip2::random::random::get_random_bytes(1 << 40).len()),
        "long parts" => long_parts(),
        "long line" => {
            log::info!("{}", "x".repeat(100 << 20));
            "printed".to_owned()
        }
        _ => bail!("there is no `{what}`"),
    })
}

#[transaction]
fn grab_in_transaction(what: &str) -> Result<String> {
    grab(what)
}

#[communicator]
fn grab_in_communicator(what: &str) -> Result<String> {
    grab(what)
}

#[get("/grab/{what}")]
fn grab_in_handler(what: &str) -> Result<String> {
    grab(what)
}

#[workflow]
fn grab_in_workflow(what: &str) -> Result<String> {
    grab(what)
}

fn told(result: Result<String>) -> String {
    match result {
        Ok(text) => text,
        Err(error) => format!("{}: {error}", error.code().unwrap_or("no code")),
    }
}

/// Grabs in a step, and tells what came of it.
#[workflow]
fn steps(phase: &str, what: &str) -> String {
    told(match phase {
        "transaction" => grab_in_transaction(what),
        _ => grab_in_communicator(what),
    })
}

/// Returns a result with this many bytes, or one that is harmless only as text.
#[transaction]
fn returns(what: &str) -> String {
    match what {
        "little" => "x".repeat(1000),
        "too much" => "x".repeat(PAYLOAD),
        "far too much" => "x".repeat(3 * PAYLOAD),
        other => "x".repeat(other.parse().expect("a number of bytes")),
    }
}

#[transaction]
fn takes(text: String) -> usize {
    text.len()
}

/// Passes arguments or results that are too large, and tells what came of it.
#[workflow]
fn passes(how: &str) -> String {
    told(match how {
        "arguments" => takes("x".repeat(PAYLOAD)).map(|length| length.to_string()),
        result => returns(result).map(|text| text.len().to_string()),
    })
}

/// Records this many results of this size.
#[workflow]
fn records(steps: u32, bytes: &str) -> Result<u32> {
    for _ in 0..steps {
        returns(bytes)?;
    }
    Ok(steps)
}

/// Calls what is refused, without end.
fn insist(call: &str) -> Result<String> {
    loop {
        let refused = match call {
            "wrong phase" => sleep(Duration::from_secs(1)).is_err(),
            "sql" => sql::execute("SELECT 1", params![]).is_err(),
            "unknown id" => Handle::<String>::of("").join().is_err(),
            "too large" => takes("x".repeat(PAYLOAD)).is_err(),
            // Is not refused, and does nothing either.
            "patch" => deprecate_patch("never introduced").is_ok(),
            _ => bail!("there is no `{call}`"),
        };
        if !refused {
            bail!("the host has answered");
        }
    }
}

#[get("/insist/{call}")]
fn insist_in_handler(call: &str) -> Result<String> {
    insist(call)
}

#[communicator]
fn insist_in_communicator(call: &str) -> Result<String> {
    insist(call)
}

#[workflow]
fn insists(call: &str) -> String {
    told(insist_in_communicator(call))
}

#[workflow]
fn insist_in_workflow(call: &str) -> Result<String> {
    insist(call)
}

/// Waits in its own way for a clock of the outside.
fn wait_for_hours() {
    std::thread::sleep(Duration::from_secs(10 * 3600));
}

#[get("/wait")]
fn wait_in_handler() -> String {
    wait_for_hours();
    "waited".to_owned()
}

#[transaction]
fn wait_in_transaction() -> String {
    wait_for_hours();
    "waited".to_owned()
}

#[workflow]
fn waits() -> String {
    told(wait_in_transaction())
}

/// Wakes up all the time, and does next to nothing.
#[communicator]
fn doze(times: u32) -> u32 {
    for _ in 0..times {
        std::thread::sleep(Duration::from_millis(11));
    }
    times
}

#[workflow]
fn dozes(times: u32) -> Result<u32> {
    doze(times)
}

//! Is started in every way there is: by the host's own route, by handlers, and by a handler's calls of single steps.

use dbos_guest::{prelude::*, serde_json};

fn tell(text: &str) -> Result<String> {
    let url = env::var("OUTSIDE_URL")?;
    http::post(format!("{url}/told")).body(text).send()?.error_for_status()?.text()
}

/// Tells the outside, once for each run.
#[communicator]
fn tell_outside(text: &str) -> Result<String> {
    tell(text)
}

#[transaction]
fn write(text: &str) -> Result<u64> {
    sql::execute("INSERT INTO written (text) VALUES ($1)", params![text])
}

/// Returns its arguments, as JSON has them.
#[workflow]
fn echo(text: &str, times: Option<u32>) -> serde_json::Value {
    json!({ "text": text, "times": times })
}

/// Lasts as long as the outside takes to answer.
#[workflow]
fn ask(text: &str) -> Result<String> {
    tell_outside(text)
}

/// Ends with an error that has everything an error can have.
#[workflow]
fn fail(text: &str) -> Result<()> {
    Err(Error::new(text).with_name("Unlucky").with_code("E13").with_data(json!({ "number": 13 })))
}

/// Starts a run and answers with its id.
#[post("/echo/{text}")]
fn start_echo(text: &str) -> Result<String> {
    Ok(echo::start(text, None)?.id().to_owned())
}

/// Starts a run under an id, and returns the result of whichever run has it.
#[workflow]
fn echo_as(id: &str, text: &str) -> Result<serde_json::Value> {
    echo::start_with(StartOptions::new().id(id), text, None)?.join()
}

/// Two single steps, each a workflow of its own.
#[post("/single/{text}")]
fn single_steps(text: &str) -> Result<String> {
    let rows = write(text)?;
    let answer = tell_outside(text)?;
    Ok(format!("{rows} {answer}"))
}

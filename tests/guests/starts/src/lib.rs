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

#[transaction]
fn charge() -> String {
    "charged".to_owned()
}

#[transaction]
fn refund() -> String {
    "refunded".to_owned()
}

#[post("/charge")]
fn answer_charge() -> Result<String> {
    charge()
}

#[post("/refund")]
fn answer_refund() -> Result<String> {
    refund()
}

/// What `Error` or value came of asking for the outcome of a run that cannot be, and of starting one.
fn ask_for_the_impossible() -> Vec<String> {
    let impossible = "zero\0byte";
    let outcome = Handle::<String>::of(impossible).join();
    let start = echo::start_with(StartOptions::new().id(impossible), "hi", None);
    let start = start.map(|started| started.id().to_owned());
    [outcome, start]
        .map(|told| told.map_or_else(|error| format!("error: {error}"), |value| format!("ok: {value}")))
        .into()
}

#[get("/impossible")]
fn impossible_in_a_handler() -> Result<serde_json::Value> {
    Ok(json!(ask_for_the_impossible()))
}

/// The same in a workflow, whose own records must bear it.
#[workflow]
fn impossible() -> Vec<String> {
    ask_for_the_impossible()
}

/// Goes on after a start that failed.
#[workflow]
fn catch(text: &str) -> Result<String> {
    let started = match echo::start(text, None) {
        Ok(started) => format!("started {}", started.id()),
        Err(error) => format!("caught: {error}"),
    };
    write(text)?;
    write(text)?;
    Ok(started)
}

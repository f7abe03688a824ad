//! Parents and their children: waiting for them, starting them on terms, asking about them, cancelling them. A parent that
//! kept what it needs to run while it waits would leave none for its child.

use dbos_guest::{
    RunStatus, cancel, cancel_with_children,
    prelude::*,
    resume, run_status,
    serde_json::{self, Value},
};

#[transaction]
fn grow(name: &str) -> String {
    format!("{name} has grown")
}

#[workflow]
fn child(name: &str) -> Result<String> {
    grow(name)
}

#[workflow]
fn parent(name: &str) -> Result<String> {
    child(&format!("the child of {name}"))
}

#[workflow]
fn grandparent(name: &str) -> Result<String> {
    parent(&format!("the child of {name}"))
}

#[workflow]
fn late_child(milliseconds: u64) -> Result<u64> {
    sleep(Duration::from_millis(milliseconds))?;
    Ok(milliseconds)
}

/// Has a child that lasts as long as it is told.
#[workflow]
fn patient_parent(milliseconds: u64) -> Result<u64> {
    late_child(milliseconds)
}

/// Has a child that has a child that lasts as long as it is told.
#[workflow]
fn patient_grandparent(milliseconds: u64) -> Result<u64> {
    patient_parent(milliseconds)
}

#[workflow]
fn unlucky_child() -> Result<u64> {
    grow("unlucky")?;
    Err(Error::new("no luck").with_name("Unlucky"))
}

/// On what terms a child is started.
#[derive(Deserialize)]
struct Terms {
    id: Option<String>,
    timeout: Option<u64>,
    #[serde(default)]
    detached: bool,
    attributes: Option<Value>,
}

impl Terms {
    fn options(terms: Value) -> Result<StartOptions> {
        let terms: Self = serde_json::from_value(terms)?;
        let mut options = StartOptions::new();
        if let Some(id) = terms.id {
            options = options.id(id);
        }
        if let Some(timeout) = terms.timeout {
            options = options.timeout(Duration::from_millis(timeout));
        }
        if terms.detached {
            options = options.detached();
        }
        if let Some(attributes) = terms.attributes {
            options = options.attributes(attributes);
        }
        Ok(options)
    }
}

/// What a program is told of a run, but for the times, as far as they differ from one run to the next.
fn told(status: &RunStatus) -> Value {
    let after = |time: std::time::SystemTime| time.duration_since(status.created_at()).unwrap_or_default().as_millis();
    json!({
        "id": status.id, "status": format!("{:?}", status.status), "name": status.name, "parent": status.parent,
        "ended": status.completed_at().is_some(), "deadline": status.deadline().map(|at| u64::try_from(after(at)).ok()),
        "attributes": status.attributes, "app": status.app,
    })
}

fn look(id: &str) -> Result<Value> {
    Ok(run_status(id)?.as_ref().map_or(Value::Null, told))
}

/// Starts a child that sleeps, on these terms, and waits for it; returns what came of it.
#[workflow]
fn start_on(terms: Value, milliseconds: u64) -> Result<Vec<Value>> {
    let child = late_child::start_with(Terms::options(terms)?, milliseconds)?;
    let before = look(child.id())?;
    let outcome = child.join().map_or_else(|error| json!([error.code(), error.message()]), |slept| json!(slept));
    Ok(vec![before, outcome, look(child.id())?])
}

/// What kind of terms are refused, and whether the run goes on behind them.
#[workflow]
fn start_on_wrong_terms(all: Vec<Value>) -> Result<Vec<Value>> {
    let start = |terms| match Terms::options(terms).and_then(|options| late_child::start_with(options, 1)) {
        Ok(started) => json!(started.id()),
        Err(error) => json!(error.code()),
    };
    let told = all.into_iter().map(start).collect();
    grow("behind it")?;
    Ok(told)
}

/// Waits for a child that lasts as long as it is told, for so long at most, and then without a limit.
#[workflow]
fn wait_twice(child: u64, within: u64) -> Result<Value> {
    let started = late_child::start(child)?;
    let first = started.join_within(Duration::from_millis(within))?;
    Ok(json!([first, started.join()?]))
}

/// What waiting within a time comes to where there is nothing to wait for.
#[workflow]
fn wait_for_those_who_ended() -> Result<Value> {
    let hour = Duration::from_secs(3600);
    let unlucky = unlucky_child::start()?;
    let error = unlucky.join_within(hour).expect_err("the child fails");
    let nobody = Handle::<u64>::of("nobody").join_within(hour).expect_err("there is nobody");
    let long = unlucky.join_within(Duration::MAX).expect_err("that is too long");
    Ok(json!([[error.name(), error.message()], nobody.code(), long.code(), unlucky.join_within(hour).is_err()]))
}

/// Cancels or resumes a run, and returns what came of it.
#[workflow]
fn change(what: &str, id: &str) -> Result<Value> {
    grow("before it")?;
    changed(what, id)
}

fn changed(what: &str, id: &str) -> Result<Value> {
    let change = match what {
        "cancel" => cancel(id),
        "cancel all" => cancel_with_children(id),
        "resume" => resume(id),
        _ => bail!("there is no such change: `{what}`"),
    };
    Ok(match change {
        Ok(()) => look(id)?["status"].clone(),
        Err(error) => json!(error.code()),
    })
}

/// The same in a handler.
#[post("/runs/{id}/{what}")]
fn answer_change(id: &str, what: &str) -> Result<Json<Value>> {
    changed(what, id).map(Json)
}

#[get("/runs/{id}")]
fn answer_status(id: &str) -> Result<Json<Value>> {
    look(id).map(Json)
}

/// Waits in a handler, for so long at most.
#[get("/runs/{id}/within/{milliseconds}")]
fn answer_within(id: &str, milliseconds: u64) -> Result<Json<Value>> {
    let outcome = Handle::<u64>::of(id).join_within(Duration::from_millis(milliseconds))?;
    Ok(Json(json!(outcome)))
}

/// Starts a run on terms in a handler.
#[post("/start")]
fn answer_start(terms: Json<Value>) -> Result<String> {
    Ok(late_child::start_with(Terms::options(terms.0)?, 3_600_000)?.id().to_owned())
}

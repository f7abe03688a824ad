//! Does whatever its arguments say: an interpreter of small programs, whose every operation is one that a host records.
//!
//! What an operation returns, errors included, is in the workflow's result, so that two lives of a program can be compared.
//! As in `every_step`, each effect leaves something that a test can count: a row in `effects`, or a request to
//! `OUTSIDE_URL`.

use dbos_guest::prelude::*;
use dbos_guest::{cancel, cancel_with_children, reject, resolve, resume, run_status, serde_json::Value};

/// One operation.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Step(Call),
    Sleep(u64),
    SleepUntil(u64),
    /// A run of its own.
    Child(Child),
    /// Steps side by side.
    Beside {
        steps: Vec<Call>,
        /// The bound of their group.
        at_once: Option<u32>,
        /// Which are joined, in this order. The others are forgotten.
        joined: Vec<usize>,
    },
    Within {
        step: Call,
        milliseconds: u64,
    },
    /// A step against some that never end.
    Race {
        step: Call,
        never: u32,
        /// By `race`; otherwise by `select`, and the others are cancelled one by one.
        at_once: bool,
    },
    /// A step that never ends is cancelled.
    Cancel,
    /// Random numbers, through a step and back.
    Chance,
    Patch(String),
    SetEvent {
        key: String,
        value: String,
    },
    /// The event of another run, or of this one.
    GetEvent {
        of: Option<String>,
        key: String,
        milliseconds: u64,
    },
    Send {
        to: String,
        topic: String,
        value: String,
        key: Option<String>,
    },
    Receive {
        topic: String,
        milliseconds: u64,
    },
    WriteStream {
        key: String,
        value: String,
    },
    CloseStream(String),
    /// The whole stream of another run.
    ReadStream {
        of: String,
        key: String,
    },
    /// Waits for what somebody settles.
    Promise {
        name: String,
        milliseconds: u64,
    },
    /// Settles a promise of another run.
    Settle {
        of: String,
        name: String,
        value: String,
        rejects: bool,
    },
    /// Another run is cancelled, with everything that it has started or alone.
    CancelRun {
        of: String,
        with_children: bool,
    },
    Resume(String),
    Status(String),
    /// The workflow continues with another program.
    Continue(Value),
    /// The workflow fails.
    Raise(String),
}

/// A call of a step. Its tag names it in the whole program.
#[derive(Deserialize)]
struct Call {
    kind: Kind,
    tag: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Write,
    Read,
    Tell,
    Compute,
    /// A transaction that fails when it has written.
    FailedWrite,
    /// A communicator that fails.
    FailedCompute,
    /// A communicator that never ends.
    Never,
    /// A transaction, and a request, that are undone when the workflow fails.
    UndoableWrite,
    UndoableTell,
}

#[derive(Deserialize)]
struct Child {
    program: Value,
    id: Option<String>,
    wait: Wait,
    /// Milliseconds until its deadline.
    timeout: Option<u64>,
    #[serde(default)]
    detached: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wait {
    AtOnce,
    AtTheEnd,
    Never,
    /// So many milliseconds.
    Within(u64),
}

#[transaction]
fn write(run: &str, tag: &str) -> Result<String> {
    write_row(run, tag)?;
    Ok(format!("wrote {tag}"))
}

#[transaction(read_only)]
fn read(tag: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Row {
        text: String,
    }
    let row: Row = sql::query_one("SELECT 'read ' || $1::text AS text", params![tag])?;
    Ok(row.text)
}

#[communicator]
fn tell(run: &str, tag: &str) -> Result<String> {
    tell_outside(run, tag)
}

fn tell_outside(run: &str, tag: &str) -> Result<String> {
    http::post(env::var("OUTSIDE_URL")?)
        .json(&json!({ "run": run, "step": tag }))?
        .idempotency_key()?
        .send()?
        .error_for_status()?
        .text()
}

#[transaction(undo = unwrite)]
fn undoable_write(run: &str, tag: &str) -> Result<String> {
    write_row(run, tag)?;
    Ok(format!("wrote {tag}"))
}

#[transaction]
fn unwrite(run: &str, tag: &str, result: Option<String>) -> Result<u64> {
    write_row(run, &format!("undo {tag}: {}", result.unwrap_or_default()))
}

#[communicator(undo = untell)]
fn undoable_tell(run: &str, tag: &str) -> Result<String> {
    tell_outside(run, tag)
}

#[communicator]
fn untell(run: &str, tag: &str, result: Option<String>) -> Result<String> {
    tell_outside(run, &format!("undo {tag}: {}", result.unwrap_or_default()))
}

#[communicator]
fn compute(text: &str) -> Result<String> {
    Ok(format!("computed {text}"))
}

#[transaction]
fn failed_write(run: &str, tag: &str) -> Result<String> {
    write_row(run, tag)?;
    Err(Error::new(format!("{tag} failed")).with_code("failed_write").with_data(json!({ "tag": tag })))
}

fn write_row(run: &str, tag: &str) -> Result<u64> {
    sql::execute("INSERT INTO effects (run, step) VALUES ($1, $2)", params![run, tag])
}

#[communicator]
fn failed_compute(tag: &str) -> Result<String> {
    Err(Error::new(format!("{tag} failed")).with_code("failed_compute").do_not_retry())
}

/// Never ends by itself, and does nothing.
#[communicator]
fn never() -> Result<String> {
    std::thread::sleep(Duration::from_secs(3600));
    Ok("never".to_owned())
}

impl Call {
    fn call(&self, run: &str) -> Result<String> {
        let tag = &self.tag;
        match self.kind {
            Kind::Write => write(run, tag),
            Kind::Read => read(tag),
            Kind::Tell => tell(run, tag),
            Kind::Compute => compute(tag),
            Kind::FailedWrite => failed_write(run, tag),
            Kind::FailedCompute => failed_compute(tag),
            Kind::Never => never(),
            Kind::UndoableWrite => undoable_write(run, tag),
            Kind::UndoableTell => undoable_tell(run, tag),
        }
    }

    fn start(&self, run: &str, group: Group) -> Result<Step<String>> {
        let tag = &self.tag;
        match self.kind {
            Kind::Write => write::start_in(group, run, tag),
            Kind::Read => read::start_in(group, tag),
            Kind::Tell => tell::start_in(group, run, tag),
            Kind::Compute => compute::start_in(group, tag),
            Kind::FailedWrite => failed_write::start_in(group, run, tag),
            Kind::FailedCompute => failed_compute::start_in(group, tag),
            Kind::Never => never::start_in(group),
            Kind::UndoableWrite => undoable_write::start_in(group, run, tag),
            Kind::UndoableTell => undoable_tell::start_in(group, run, tag),
        }
    }
}

/// What an operation returned, or its error.
fn told(end: Result<impl Serialize>) -> Value {
    match end {
        Ok(value) => json!(value),
        Err(error) => json!({ "error": error.message(), "code": error.code(), "data": error.data() }),
    }
}

/// No bound that would matter.
const WIDE: u32 = 1000;

fn beside(run: &str, steps: &[Call], at_once: Option<u32>, joined: &[usize]) -> Result<Value> {
    let group = Group::of(at_once.unwrap_or(WIDE));
    let started: Result<Vec<_>> = steps.iter().map(|step| step.start(run, group).map(Some)).collect();
    let mut started = started?;
    let join = |index: &usize| started[*index].take().map(|step| told(step.join()));
    Ok(json!(joined.iter().map(join).collect::<Vec<_>>()))
}

fn raced(run: &str, step: &Call, others: u32, at_once: bool) -> Result<String> {
    let group = Group::of(WIDE);
    let mut steps = vec![step.start(run, group)?];
    for _ in 0..others {
        steps.push(never::start()?);
    }
    if at_once {
        return race(steps)?.join();
    }
    let first = select(&mut steps)?;
    for step in steps {
        step.cancel()?;
    }
    first.join()
}

/// What was drawn must be drawn again in each replay: the step would have other arguments otherwise.
fn chance() -> Result<bool> {
    let drawn = format!("{} {}", random::<u64>(), uuid());
    Ok(compute(&drawn)? == format!("computed {drawn}"))
}

fn child(run: &str, child: &Child, late: &mut Vec<Handle<Value>>) -> Result<Value> {
    let mut options = StartOptions::new();
    if let Some(id) = &child.id {
        options = options.id(id);
    }
    if let Some(milliseconds) = child.timeout {
        options = options.timeout(Duration::from_millis(milliseconds));
    }
    if child.detached {
        options = options.detached();
    }
    let started = anything::start_with(options, run, child.program.clone())?;
    match child.wait {
        Wait::AtOnce => started.join(),
        Wait::AtTheEnd => {
            late.push(started);
            Ok(json!("later"))
        }
        Wait::Never => Ok(json!("forgotten")),
        Wait::Within(milliseconds) => Ok(json!(started.join_within(Duration::from_millis(milliseconds))?)),
    }
}

fn perform(run: &str, op: &Op, late: &mut Vec<Handle<Value>>) -> Result<Value> {
    let text = match op {
        Op::Step(step) => step.call(run)?,
        Op::Sleep(milliseconds) => sleep(Duration::from_millis(*milliseconds)).map(|()| "slept".to_owned())?,
        Op::SleepUntil(milliseconds) => {
            sleep_until(now() + Duration::from_millis(*milliseconds)).map(|()| "slept".to_owned())?
        }
        Op::Child(started) => return child(run, started, late),
        Op::Beside { steps, at_once, joined } => return beside(run, steps, *at_once, joined),
        Op::Within { step, milliseconds } => {
            timeout(Duration::from_millis(*milliseconds), step.start(run, Group::of(WIDE))?)?
        }
        Op::Race { step, never, at_once } => raced(run, step, *never, *at_once)?,
        Op::Cancel => never::start()?.cancel().map(|()| "cancelled".to_owned())?,
        Op::Chance => return Ok(json!(chance()?)),
        Op::Patch(name) => return Ok(json!(patch(name)?)),
        Op::SetEvent { key, value } => set_event(key, value).map(|()| "set".to_owned())?,
        Op::GetEvent { of, key, milliseconds } => {
            let of = of.clone().map_or_else(workflow_id, Ok)?;
            return Ok(json!(get_event_within::<Value>(&of, key, Duration::from_millis(*milliseconds))?));
        }
        Op::Send { to, topic, value, key } => match key {
            Some(key) => send_once(to, topic, value, key),
            None => send(to, topic, value),
        }
        .map(|()| "sent".to_owned())?,
        Op::Receive { topic, milliseconds } => {
            return Ok(json!(recv::<Value>(topic, Duration::from_millis(*milliseconds))?));
        }
        Op::WriteStream { key, value } => stream(key).write(value).map(|()| "written".to_owned())?,
        Op::CloseStream(key) => stream(key).close().map(|()| "closed".to_owned())?,
        Op::ReadStream { of, key } => return read_stream(of, key).collect::<Result<Vec<Value>>>().map(Value::from),
        Op::Promise { name, milliseconds } => {
            return Ok(json!(promise::<Value>(name).wait(Duration::from_millis(*milliseconds))?));
        }
        Op::Settle { of, name, value, rejects } => match rejects {
            true => reject(of, name, &Error::new(value).with_code("rejected").with_data(json!([value]))),
            false => resolve(of, name, value),
        }
        .map(|()| "settled".to_owned())?,
        Op::CancelRun { of, with_children } => match with_children {
            true => cancel_with_children(of),
            false => cancel(of),
        }
        .map(|()| "cancelled".to_owned())?,
        Op::Resume(of) => resume(of).map(|()| "resumed".to_owned())?,
        Op::Status(of) => run_status(of)?.map_or_else(|| "nobody".to_owned(), |run| format!("{:?}", run.status)),
        Op::Continue(_) => "not the last".to_owned(),
        Op::Raise(text) => text.clone(),
    };
    Ok(json!(text))
}

#[workflow]
fn anything(run: &str, program: Value) -> Result<Value> {
    let program: Vec<Op> = dbos_guest::serde_json::from_value(program)?;
    let (mut results, mut late) = (Vec::new(), Vec::new());
    let mut time = now();
    for op in &program {
        if let Op::Continue(program) = op {
            return anything::continue_with(run, program.clone());
        }
        if let Op::Raise(text) = op {
            return Err(Error::new(text).with_code("raised").with_data(json!(results)));
        }
        results.push(told(perform(run, op, &mut late)));
        ensure!(now() >= time, "the time of a workflow goes on and never back");
        time = now();
    }
    results.extend(late.iter().map(|started| told(started.join())));
    Ok(Value::Array(results))
}

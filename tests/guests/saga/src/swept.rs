//! A workflow of the crash sweep: everything that may be interrupted between a run and its children, and between a run and what
//! undoes it.
//!
//! Nobody waits with a time limit for what is yet to come: the sweep's clock jumps to the end of each such wait.

use dbos_guest::{Status, prelude::*, resolve};

use super::{tell, write, write_and_fail};

const HOUR: Duration = Duration::from_secs(3600);

/// Waits for a word of its parent, over a cancel and a resume.
#[workflow]
fn patient(parent: &str) -> Result<String> {
    stream("state").write("waits")?;
    read_stream(parent, "words").next().context("a word")?
}

/// Waits for its parent, which waits for it, until its time is over.
#[workflow]
fn late(run: &str, parent: &str) -> Result<()> {
    write(run, "late write")?;
    tell(run, "late request")?;
    stream("state").write("waits")?;
    Handle::<()>::of(parent).join()
}

/// Settles a promise of its parent.
#[workflow]
fn approve(parent: &str) -> Result<()> {
    resolve(parent, "approval", "yes")
}

/// Asks in each of two rounds.
#[workflow]
fn twice(run: &str, round: u32) -> Result<u32> {
    tell(run, &format!("round {round}"))?;
    if round == 1 { twice::continue_with(run, 2) } else { Ok(round) }
}

fn until_it_waits<T>(child: &Handle<T>) -> Result<()> {
    let state: Result<String> = child.stream("state").next().context("the child waits")?;
    state.map(drop)
}

/// Does what can be undone, has children that are cancelled, resumed, continue, settle a promise and run out of time, and fails.
#[workflow]
fn swept(run: &str) -> Result<()> {
    let id = workflow_id()?;
    tell(run, "one")?;
    write(run, "two")?;
    let patient = patient::start(&id)?;
    until_it_waits(&patient)?;
    patient.cancel()?;
    let status = patient.status()?.context("the child is there")?.status;
    ensure!(status == Status::Cancelled, "the child is cancelled, not {status:?}");
    patient.resume()?;
    stream("words").write("go on")?;
    ensure!(patient.join()? == "go on", "the child goes on");
    let approval = promise::<String>("approval");
    ensure!(approval.link()?.contains("/approval"), "the link of the promise");
    approve(&id)?;
    ensure!(approval.wait(HOUR)?.as_deref() == Some("yes"), "it is approved");
    ensure!(twice(run, 1)? == 2, "it has continued");
    let options = StartOptions::new().id(format!("{id}-late")).timeout(HOUR);
    let late = late::start_with(options, run, &id)?;
    until_it_waits(&late)?;
    sleep(2 * HOUR)?;
    let too_late = late.join().err().context("its time is over")?;
    ensure!(tell(run, "refused").is_err(), "it is refused");
    ensure!(write_and_fail(run, "rolled back").is_err(), "it fails");
    bail!("{}", too_late.code().unwrap_or("no code"))
}

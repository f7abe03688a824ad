//! Parents that wait for their children. A parent that kept what it needs to run while it waits would leave none for
//! its child.

use dbos_guest::prelude::*;

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

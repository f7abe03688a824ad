//! The order of `patches_before` with two changes: it is checked before the charge, and weighed behind the wait.

use dbos_guest::prelude::*;

#[transaction(read_only)]
fn check() -> String {
    "checked".to_owned()
}

#[transaction(read_only)]
fn charge() -> String {
    "charged".to_owned()
}

#[transaction(read_only)]
fn weigh() -> String {
    "weighed".to_owned()
}

#[transaction(read_only)]
fn ship() -> String {
    "shipped".to_owned()
}

#[workflow]
fn order() -> Result<Vec<String>> {
    let mut done = Vec::new();
    if patch("check first")? {
        done.push(check()?);
    }
    done.push(charge()?);
    sleep(Duration::from_secs(3600))?;
    if patch("weigh")? {
        done.push(weigh()?);
    }
    done.push(ship()?);
    Ok(done)
}

/// Asks for a patch under a name that cannot be recorded.
#[workflow]
fn misnamed() -> Result<bool> {
    patch("a\0b")
}

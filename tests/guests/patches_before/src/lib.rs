//! An order as it was written first: charge, wait, ship.
//!
//! `patches_introduced` and `patches_deprecated` are the same program later. Each step does nothing but be recorded.

use dbos_guest::prelude::*;

#[transaction(read_only)]
fn charge() -> String {
    "charged".to_owned()
}

#[transaction(read_only)]
fn ship() -> String {
    "shipped".to_owned()
}

#[workflow]
fn order() -> Result<Vec<String>> {
    let mut done = vec![charge()?];
    sleep(Duration::from_secs(3600))?;
    done.push(ship()?);
    Ok(done)
}

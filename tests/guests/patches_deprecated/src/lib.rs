//! The order of `patches_introduced` when no run takes the old way any more.

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
    deprecate_patch("check first")?;
    let mut done = vec![check()?, charge()?];
    sleep(Duration::from_secs(3600))?;
    deprecate_patch("weigh")?;
    done.push(weigh()?);
    done.push(ship()?);
    Ok(done)
}

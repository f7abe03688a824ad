//! Says what it is told. Its words end between the host's own, on the same console.

use dbos_guest::prelude::*;

#[workflow]
fn says(text: &str) -> Result<()> {
    log::info!("{text}");
    println!("{text}");
    Ok(())
}

//! As many steps that do nothing as it is told to, a long sleep, and one more step: for measuring what a step costs when it
//! is run and when it is replayed.

use std::time::Duration;

use dbos_guest::prelude::*;

#[communicator]
fn nothing(number: u32) -> Result<u32> {
    Ok(number)
}

#[workflow]
fn many_steps(steps: u32) -> Result<u64> {
    let mut sum = 0;
    for number in 0..steps {
        sum += u64::from(nothing(number)?);
    }
    sleep(Duration::from_secs(86_400))?;
    Ok(sum + u64::from(nothing(steps)?))
}

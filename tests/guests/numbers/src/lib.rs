//! Is given numbers, and tells which bits it has: as the workflow got them, as a step got them from it, and as the step's
//! result came back.

use dbos_guest::prelude::*;

fn bits(number: f64) -> String {
    format!("{:016x}", number.to_bits())
}

/// Returns the number and what it looked like here.
#[transaction]
fn pass_float(x: f64) -> (f64, String) {
    (x, bits(x))
}

/// Takes the number through two steps.
#[workflow]
fn float(x: f64) -> Result<Vec<String>> {
    let (first, seen_first) = pass_float(x)?;
    let (second, seen_second) = pass_float(first)?;
    Ok(vec![bits(x), seen_first, bits(first), seen_second, bits(second)])
}

#[transaction]
fn pass_integers(large: u64, small: i64) -> (u64, i64) {
    (large, small)
}

/// Takes two whole numbers through a step.
#[workflow]
fn integers(large: u64, small: i64) -> Result<String> {
    let (large_back, small_back) = pass_integers(large, small)?;
    Ok(format!("{large} {small} {large_back} {small_back}"))
}

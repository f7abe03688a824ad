//! The arguments of a call from a guest.
//!
//! What is refused here is refused in each replay, since the component is pinned, and takes no number. So nothing is looked
//! at that another host might see differently: size, form and names, not values.

use std::fmt::Display;

use serde_json::Value;

use super::gate::MAX_PAYLOAD;
use super::services::Program;
use crate::workflow::{Arguments, ArgumentsError, Code, Failure, JsonError, check_json};

pub(super) fn bad_arguments(error: ArgumentsError) -> Failure {
    Failure::new("Error", Code("bad_arguments"), error.to_string()).not_retryable()
}

/// What a guest gives for a name is none, and why.
pub(super) fn invalid(code: Code, error: &impl Display) -> Failure {
    Failure::new("Error", code, error.to_string())
}

/// Arguments from a guest: a JSON object within the size limit.
pub(super) fn parse_arguments(json: &str) -> Result<Arguments, Failure> {
    Arguments::from_json(parse(("the arguments", "have", "are"), json)?).map_err(bad_arguments)
}

/// A value from a guest that others will read: JSON within the size limit.
pub(super) fn parse_value(json: &str) -> Result<Value, Failure> {
    parse(("the value", "has", "is"), json)
}

fn parse((what, has, is): (&str, &str, &str), json: &str) -> Result<Value, Failure> {
    if json.len() > MAX_PAYLOAD {
        let text = format!("{what} {has} {} bytes, more than the limit of {MAX_PAYLOAD}", json.len());
        return Err(Failure::new("Error", Code("payload_too_large"), text).not_retryable());
    }
    let not_json = |error: serde_json::Error| {
        Failure::new("Error", Code("bad_arguments"), format!("{what} {is} not JSON: {error}"))
    };
    check_json(json).map_err(|error| match error {
        JsonError::Malformed(error) => not_json(error),
        JsonError::TooLarge => {
            let text = format!("{what} {is} too large: {error}");
            Failure::new("Error", Code("payload_too_large"), text).not_retryable()
        }
    })?;
    serde_json::from_str(json).map_err(not_json)
}

/// A start from a guest: a workflow of the program with arguments for its parameters.
pub(super) fn check_workflow(program: &Program, name: &str, arguments: &str) -> Result<Arguments, Failure> {
    let Some(entry) = program.manifest.workflow(name) else {
        let text = format!("the app has no workflow `{name}`");
        return Err(Failure::new("Error", Code("unknown_workflow"), text).not_retryable());
    };
    let arguments = parse_arguments(arguments)?;
    arguments.check_names(&entry.parameters).map_err(bad_arguments)?;
    Ok(arguments)
}

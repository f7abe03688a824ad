//! Calls of steps and workflows, as the macros generate them.
//!
//! A call hands JSON to the host and decodes what was recorded. Whether the body ran now or in an earlier life of the
//! process cannot be seen here, and must not be.

use serde::de::DeserializeOwned;

use crate::{
    Error, Group, Handle, Result, StartOptions, Step,
    arguments::{Arguments, decode_result},
    host,
};

/// Calls a transaction and returns its recorded result.
pub fn call_transaction<T: DeserializeOwned>(step: &str, arguments: Arguments) -> Result<T> {
    decode_result(step, &host::call_transaction(step, &arguments.into_json())?)
}

/// Calls a communicator and returns its recorded result.
pub fn call_communicator<T: DeserializeOwned>(step: &str, arguments: Arguments) -> Result<T> {
    decode_result(step, &host::call_communicator(step, &arguments.into_json())?)
}

/// Starts a step beside the workflow.
pub fn start_step<T>(step: &'static str, arguments: Arguments, group: Option<Group>) -> Result<Step<T>> {
    Step::start(step, &arguments.into_json(), group)
}

/// Starts a workflow and waits for its result.
pub fn run_workflow<T: DeserializeOwned>(name: &'static str, arguments: Arguments) -> Result<T> {
    let options = host::StartOptions { awaited: true, ..StartOptions::new().into_host()? };
    let id = host::start_workflow(name, &arguments.into_json(), &options)?;
    Handle::of(id).join()
}

/// Lets the workflow begin again when it returns, which it does with this error.
pub fn continue_as_new<T>(name: &'static str, arguments: Arguments) -> Result<T> {
    host::continue_as_new(name, &arguments.into_json())?;
    Err(Error::new("the workflow continues with other arguments").with_code("continued"))
}

/// Starts a workflow.
pub fn start_workflow<T>(name: &'static str, arguments: Arguments, options: StartOptions) -> Result<Handle<T>> {
    let id = host::start_workflow(name, &arguments.into_json(), &options.into_host()?)?;
    Ok(Handle::of(id))
}

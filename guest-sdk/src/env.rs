//! The app's configuration: the variables under `env:` in `dbos-config.yaml`.
//!
//! A program that reads them with `std::env` has to word the error for a missing one itself, and cannot say where it is
//! set. They are there in handlers and steps, not in a workflow: its replay years later must not depend on what the
//! configuration says then.

use crate::{Error, Result};

/// The value of a variable, or an error that says where to set it.
pub fn var(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| missing(name))
}

fn missing(name: &str) -> Error {
    let message = format!(
        "the variable `{name}` is not set\n\
         hint: set it under `env:` in dbos-config.yaml; it is there in handlers and steps, not in workflows"
    );
    Error::new(message).with_name("EnvironmentError").with_code(name).do_not_retry()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_missing_variable_says_where_to_set_it() {
        let error = super::var("SURELY_NOT_SET").unwrap_err();
        assert!(error.message().starts_with("the variable `SURELY_NOT_SET` is not set\nhint: set it under `env:`"));
        assert!(!error.is_retryable());
    }
}

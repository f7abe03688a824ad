//! The parameters of a statement, as the JSON text that crosses to the host.
//!
//! Written as text at once and never held as a tree: a number with more digits than a float has would lose them there.

use serde::Serialize;

use super::finite;
use crate::{Error, Result, host::SQL_ERROR};

/// The parameters of a statement, `$1`, `$2`, …; made by [`params!`](crate::params!).
#[derive(Debug, Default)]
pub struct Parameters {
    values: Vec<String>,
    /// The first parameter that could not be written as JSON. Kept until the statement runs, so that `params!` needs no
    /// `?` of its own.
    failure: Option<Error>,
}

impl Parameters {
    /// No parameters.
    pub fn new() -> Self {
        Parameters::default()
    }

    /// Adds the next one.
    pub fn with(mut self, value: &impl Serialize) -> Self {
        let text = finite::check(value).and_then(|()| serde_json::to_string(value));
        let text = text.unwrap_or_else(|error| {
            let number = self.values.len() + 1;
            let error = Error::new(format!("parameter `${number}` cannot be written as JSON: {error}"));
            self.failure.get_or_insert(error.with_name(SQL_ERROR));
            "null".to_owned()
        });
        self.values.push(text);
        self
    }

    pub(super) fn into_json(self) -> Result<String> {
        match self.failure {
            None => Ok(format!("[{}]", self.values.join(","))),
            Some(error) => Err(error),
        }
    }
}

/// The parameters of a statement: `params![name, note]` for `$1` and `$2`. The values are borrowed; each needs
/// `Serialize`. [`sql`](crate::sql#types) has a table of what each type of the database takes.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        $crate::sql::Parameters::new()$(.with(&$value))*
    };
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::value::RawValue;

    #[test]
    fn parameters_are_a_json_array() {
        let name = "Mike".to_owned();
        assert_eq!(params![name, 3, None::<bool>, [1, 2]].into_json().unwrap(), r#"["Mike",3,null,[1,2]]"#);
        assert_eq!(params![].into_json().unwrap(), "[]");
        assert_eq!(name, "Mike");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let digits = RawValue::from_string("123456789012345678901234567890.50".into()).unwrap();
        assert_eq!(params![digits].into_json().unwrap(), "[123456789012345678901234567890.50]");
    }

    #[test]
    fn a_parameter_that_is_no_json_fails_by_its_number() {
        let error = params![1, HashMap::from([((1, 2), 3)])].into_json().unwrap_err();
        assert!(error.message().starts_with("parameter `$2` cannot be written as JSON"), "{error}");
    }

    #[test]
    fn what_json_would_turn_into_null_is_refused() {
        let error = params![1, Some(vec![0.5, f64::NAN])].into_json().unwrap_err();
        let expected = "parameter `$2` cannot be written as JSON: `NaN` has no number there; use `sql::Float`";
        assert_eq!(error.message(), expected);
    }
}

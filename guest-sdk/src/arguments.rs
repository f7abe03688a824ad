//! Arguments and results, as JSON.
//!
//! A call crosses from one instance to another, maybe to a component that was built months ago, so its arguments are
//! one JSON object by parameter name. What arrives may be anything: each way in which it can fail to fit is an error
//! that names the parameter and what was expected of it.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The name of errors about arguments that do not fit.
pub(crate) const ARGUMENT_ERROR: &str = "ArgumentError";

/// The arguments of one call. Public only for the code that the macros generate.
#[derive(Debug, Default)]
pub struct Arguments {
    values: Map<String, Value>,
    /// The parameters that were taken, for the error about what is left.
    taken: Vec<&'static str>,
}

impl Arguments {
    /// No arguments yet.
    pub fn new() -> Self {
        Arguments::default()
    }

    /// Adds the argument for a parameter.
    pub fn insert(&mut self, name: &'static str, value: &impl Serialize) -> Result<()> {
        let value = serde_json::to_value(value)
            .map_err(|error| argument_error(format!("argument `{name}` cannot be written as JSON: {error}")))?;
        self.values.insert(name.to_owned(), value);
        Ok(())
    }

    /// Reads what the host hands to a body.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match serde_json::from_str(text) {
            Ok(Value::Object(values)) => Ok(Arguments { values, taken: Vec::new() }),
            Ok(other) => {
                Err(argument_error(format!("the arguments must be a JSON object by parameter name, not `{other}`")))
            }
            Err(error) => Err(argument_error(format!("the arguments are not JSON: {error}"))),
        }
    }

    /// The text that crosses to the host.
    pub(crate) fn into_json(self) -> String {
        Value::Object(self.values).to_string()
    }

    /// Takes the argument for a parameter. One that is not required may be missing, and is then `null`.
    pub fn take<T: DeserializeOwned>(&mut self, name: &'static str, required: bool) -> Result<T> {
        self.taken.push(name);
        let value = match self.values.remove(name) {
            Some(value) => value,
            None if required => {
                let expected = short(std::any::type_name::<T>());
                return Err(argument_error(format!("argument `{name}` is missing: expected `{expected}`")));
            }
            None => Value::Null,
        };
        serde_json::from_value(value)
            .map_err(|error| argument_error(format!("argument `{name}` does not fit its parameter: {error}")))
    }

    /// Fails if an argument was given that no parameter has.
    pub fn finish(self) -> Result<()> {
        let Some(unknown) = self.values.keys().next() else { return Ok(()) };
        let known = match self.taken.as_slice() {
            [] => "there are no parameters".to_owned(),
            taken => format!("the parameters are `{}`", taken.join("`, `")),
        };
        Err(argument_error(format!("argument `{unknown}` has no parameter: {known}")))
    }
}

/// Writes what a body returned.
pub fn encode_result(function: &str, value: &(impl Serialize + ?Sized)) -> Result<String> {
    serde_json::to_string(value).with_result_context(function, "written")
}

/// Reads what was recorded.
pub(crate) fn decode_result<T: DeserializeOwned>(function: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).with_result_context(function, "read")
}

trait ResultContext<T> {
    fn with_result_context(self, function: &str, verb: &str) -> Result<T>;
}

impl<T> ResultContext<T> for serde_json::Result<T> {
    fn with_result_context(self, function: &str, verb: &str) -> Result<T> {
        self.map_err(|error| {
            let message = format!("the result of `{function}` cannot be {verb} as JSON: {error}");
            Error::new(message).with_name("ResultError").do_not_retry()
        })
    }
}

/// Arguments that do not fit will not fit the next time either.
fn argument_error(message: String) -> Error {
    Error::new(message).with_name(ARGUMENT_ERROR).do_not_retry()
}

/// `Vec<Order>` of `alloc::vec::Vec<app::Order>`.
fn short(type_name: &str) -> String {
    let mut text = String::new();
    for part in type_name.split_inclusive(['<', '>', ',', ' ', '(', ')', '[', ']']) {
        text.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Arguments, decode_result, encode_result, short};

    #[test]
    fn what_is_inserted_is_taken() {
        let mut arguments = Arguments::new();
        arguments.insert("name", &"Mike").unwrap();
        arguments.insert("at", &Some(3_u64)).unwrap();
        let text = arguments.into_json();
        assert_eq!(text, r#"{"at":3,"name":"Mike"}"#);
        let mut arguments = Arguments::parse(&text).unwrap();
        assert_eq!(arguments.take::<String>("name", true).unwrap(), "Mike");
        assert_eq!(arguments.take::<Option<u64>>("at", false).unwrap(), Some(3));
        assert_eq!(arguments.take::<Option<u64>>("more", false).unwrap(), None);
        arguments.finish().unwrap();
    }

    #[test]
    fn what_does_not_fit_names_the_parameter_and_what_was_expected() {
        let mut arguments = Arguments::parse(r#"{"count":"x","nmae":1}"#).unwrap();
        assert_eq!(
            arguments.take::<u32>("count", true).unwrap_err().message(),
            "argument `count` does not fit its parameter: invalid type: string \"x\", expected u32"
        );
        assert_eq!(
            arguments.take::<Vec<String>>("name", true).unwrap_err().message(),
            "argument `name` is missing: expected `Vec<String>`"
        );
        assert_eq!(
            arguments.finish().unwrap_err().message(),
            "argument `nmae` has no parameter: the parameters are `count`, `name`"
        );
        assert!(Arguments::parse("[1]").unwrap_err().message().contains("must be a JSON object"));
        assert!(Arguments::parse("{").unwrap_err().message().contains("not JSON"));
        let error = Arguments::parse("{\"a\":1}").unwrap().finish().unwrap_err();
        assert_eq!(error.message(), "argument `a` has no parameter: there are no parameters");
        assert_eq!((error.name(), error.is_retryable()), ("ArgumentError", false));
    }

    #[test]
    fn results_cross_as_json() {
        assert_eq!(encode_result("f", &()).unwrap(), "null");
        decode_result::<()>("f", "null").unwrap();
        let error = decode_result::<u8>("f", "300").unwrap_err();
        assert!(error.message().starts_with("the result of `f` cannot be read as JSON"), "{error}");
    }

    #[test]
    fn type_names_are_shortened() {
        assert_eq!(short("alloc::vec::Vec<(app::a::Order, u8)>"), "Vec<(Order, u8)>");
    }
}

//! The arguments of a workflow: one JSON object by parameter name, stored in the shape that DBOS calls `portable_json`.
//!
//! Callers of other languages may pass positional arguments; the manifest's order of parameters gives them names.

use serde_json::{Map, Value, json};

use super::excerpt::excerpt;
use super::manifest::Parameter;
use super::schema::Misfit;

/// How many unfit arguments are told: a caller mends a few at a time.
const MAX_UNFIT: usize = 20;

/// Arguments by parameter name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arguments(pub Map<String, Value>);

/// Arguments that do not fit a workflow or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// Not a JSON object.
    #[error("arguments must be a JSON object by parameter name, but {0} came")]
    NotAnObject(String),
    /// Missing, unknown, or of another type.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unfit(Vec<Unfit>),
    /// More positional arguments than parameters.
    #[error("{came} positional arguments came for {expected} parameters")]
    TooMany {
        /// How many parameters there are.
        expected: usize,
        /// How many arguments came.
        came: usize,
    },
    /// Stored by another SDK in a serialization that only that SDK reads.
    #[error(
        "the inputs are stored as `{0}`, which this host cannot read; start the workflow with portable serialization"
    )]
    Foreign(String),
    /// Stored text that is not what `portable_json` says.
    #[error("the stored inputs are not portable JSON: {0}")]
    Malformed(String),
}

/// An argument that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A required one is not there.
    #[error("the argument `{name}` is missing; expected are: {parameters}")]
    Missing {
        /// The parameter.
        name: String,
        /// All of them.
        parameters: String,
    },
    /// One that no parameter takes.
    #[error("there is no parameter `{name}`; expected are: {parameters}")]
    Unknown {
        /// The argument.
        name: String,
        /// All parameters.
        parameters: String,
    },
    /// Its value is not what the parameter's schema says.
    #[error("the argument `{name}` does not fit{}: expected {}, but {} came", place(.misfit), .misfit.expected, .misfit.came)]
    Wrong {
        /// The parameter.
        name: String,
        /// Where in the value, and why.
        misfit: Misfit,
    },
}

fn place(misfit: &Misfit) -> String {
    if misfit.pointer.is_empty() { String::new() } else { format!(" at `{}`", misfit.pointer) }
}

impl Unfit {
    /// The argument's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Missing { name, .. } | Self::Unknown { name, .. } | Self::Wrong { name, .. } => name,
        }
    }

    /// Where it is in the object of arguments, as a JSON pointer.
    #[must_use]
    pub fn pointer(&self) -> String {
        let name = self.name().replace('~', "~0").replace('/', "~1");
        match self {
            Self::Wrong { misfit, .. } => format!("/{name}{}", misfit.pointer),
            _ => format!("/{name}"),
        }
    }
}

impl Arguments {
    /// Takes a JSON value from outside.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn from_json(value: Value) -> Result<Self, ArgumentsError> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            Value::Array(_) => Err(ArgumentsError::NotAnObject("an array".into())),
            other => Err(ArgumentsError::NotAnObject(format!("`{}`", excerpt(&other.to_string())))),
        }
    }

    /// Checks names against the parameters: none missing, none unknown. In a workflow this must be all that is checked:
    /// what is refused there is refused again in each replay, by later hosts too, which may read schemas better.
    ///
    /// # Errors
    /// The arguments that are missing or unknown, with the list of what is expected.
    pub fn check_names(&self, parameters: &[Parameter]) -> Result<(), ArgumentsError> {
        told(self.unfit_names(parameters))
    }

    /// Checks names and values against the parameters and their schemas.
    ///
    /// # Errors
    /// The arguments that are missing, unknown or of another type, at most 20.
    pub fn check(&self, parameters: &[Parameter]) -> Result<(), ArgumentsError> {
        let wrong = parameters.iter().flat_map(|parameter| {
            let misfits = self.0.get(&parameter.name).map(|value| parameter.schema.misfits(value)).unwrap_or_default();
            misfits.into_iter().map(|misfit| Unfit::Wrong { name: parameter.name.clone(), misfit })
        });
        told(self.unfit_names(parameters).into_iter().chain(wrong).take(MAX_UNFIT).collect())
    }

    fn unfit_names(&self, parameters: &[Parameter]) -> Vec<Unfit> {
        let names = || match parameters {
            [] => "none".into(),
            some => some.iter().map(|p| format!("`{}`", p.name)).collect::<Vec<_>>().join(", "),
        };
        let missing = parameters.iter().filter(|p| p.required && !self.0.contains_key(&p.name));
        let missing = missing.map(|p| Unfit::Missing { name: p.name.clone(), parameters: names() });
        let unknown = self.0.keys().filter(|key| parameters.iter().all(|p| p.name != **key));
        let unknown = unknown.map(|name| Unfit::Unknown { name: excerpt(name), parameters: names() });
        missing.chain(unknown).take(MAX_UNFIT).collect()
    }

    /// The stored form.
    #[must_use]
    pub fn to_stored(&self) -> String {
        json!({"positionalArgs": [], "namedArgs": self.0}).to_string()
    }

    /// Reads the stored form, giving positional arguments the names of `parameters`.
    ///
    /// # Errors
    /// When another serialization was used, the text is malformed, or there are more arguments than parameters.
    pub fn from_stored(
        text: Option<&str>,
        serialization: Option<&str>,
        parameters: &[Parameter],
    ) -> Result<Self, ArgumentsError> {
        if serialization != Some("portable_json") {
            return Err(ArgumentsError::Foreign(serialization.unwrap_or("an unnamed serialization").into()));
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Stored {
            // Left out or null: none. `dbos.enqueue_workflow` writes null.
            positional_args: Option<Vec<Value>>,
            named_args: Option<Map<String, Value>>,
        }
        let stored: Stored =
            serde_json::from_str(text.unwrap_or("{}")).map_err(|error| ArgumentsError::Malformed(error.to_string()))?;
        let positional = stored.positional_args.unwrap_or_default();
        let (expected, came) = (parameters.len(), positional.len());
        if came > expected {
            return Err(ArgumentsError::TooMany { expected, came });
        }
        let mut map = stored.named_args.unwrap_or_default();
        map.extend(parameters.iter().map(|p| p.name.clone()).zip(positional));
        Ok(Self(map))
    }

    /// The arguments as JSON text, as they cross to the guest.
    #[must_use]
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

fn told(unfit: Vec<Unfit>) -> Result<(), ArgumentsError> {
    if unfit.is_empty() { Ok(()) } else { Err(ArgumentsError::Unfit(unfit)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Schema;

    fn parameters() -> Vec<Parameter> {
        let schema = Schema::parse(&json!({"type": "string"})).unwrap();
        ["name", "note"].map(|name| Parameter { name: name.into(), schema: schema.clone(), required: true }).into()
    }

    #[test]
    fn positional_and_named_arguments_meet_in_one_object() {
        let stored = r#"{"positionalArgs":["Mike"],"namedArgs":{"note":"hi"}}"#;
        let arguments = Arguments::from_stored(Some(stored), Some("portable_json"), &parameters()).unwrap();
        assert_eq!(arguments.to_json(), r#"{"name":"Mike","note":"hi"}"#);
        assert_eq!(arguments.check(&parameters()), Ok(()));
        let again = Arguments::from_stored(Some(&arguments.to_stored()), Some("portable_json"), &parameters());
        assert_eq!(again, Ok(arguments));
    }

    #[test]
    fn missing_and_null_arguments_are_none() {
        for stored in ["{}", r#"{"positionalArgs":null,"namedArgs":null}"#] {
            assert_eq!(Arguments::from_stored(Some(stored), Some("portable_json"), &[]), Ok(Arguments::default()));
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let text = |json: Value| Arguments::from_json(json).unwrap().check(&parameters()).unwrap_err().to_string();
        assert_eq!(text(json!({"name": "x"})), "the argument `note` is missing; expected are: `name`, `note`");
        assert_eq!(
            text(json!({"name": 1, "nme": 3})),
            "the argument `note` is missing; expected are: `name`, `note`; \
             there is no parameter `nme`; expected are: `name`, `note`; \
             the argument `name` does not fit: expected a text, but `1` came"
        );
        let names_only = Arguments::from_json(json!({"name": 1, "note": []})).unwrap();
        assert_eq!(names_only.check_names(&parameters()), Ok(()));
        let many = (0..100).map(|n| (format!("x{n}"), Value::Null)).collect();
        let Err(ArgumentsError::Unfit(told)) = Arguments(many).check(&parameters()) else { panic!("they do not fit") };
        assert_eq!((told.len(), told[2].pointer().as_str()), (20, "/x0"));
        assert!(Arguments::from_json(json!([1])).unwrap_err().to_string().ends_with("an array came"));
    }

    #[test]
    fn foreign_serializations_and_too_many_arguments_are_refused() {
        let pickled = Arguments::from_stored(Some("gASV"), Some("py_pickle"), &[]).unwrap_err().to_string();
        assert!(pickled.contains("`py_pickle`") && pickled.contains("portable"), "{pickled}");
        let three = r#"{"positionalArgs":[1,2,3]}"#;
        let error = Arguments::from_stored(Some(three), Some("portable_json"), &parameters()).unwrap_err();
        assert_eq!(error, ArgumentsError::TooMany { expected: 2, came: 3 });
    }
}

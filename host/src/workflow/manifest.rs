//! What an app says about itself: its workflows, steps and routes. The format is documented in `wit/MANIFEST.md`.
//!
//! A guest is not trusted, its manifest least of all: it is read with unknown keys refused and every rule checked, and
//! a manifest that contradicts itself stops the load with all that is wrong in it, not just the first thing.

use std::collections::hash_map::Entry;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::id::check_name;
use super::json::check_json;
use super::retry::RetryPolicy;
use super::route::{Method, PathPattern};
use super::schema::Schema;
use super::undo::contradiction;

/// How many workflows, steps and routes together: far beyond any app, small enough that a hostile manifest costs little.
const MAX_ENTRIES: usize = 10_000;

/// The largest manifest, in bytes: a kilobyte of schemas for each entry, and then some. More than all that is one app.
const MAX_MANIFEST_BYTES: usize = 16 * 1024 * 1024;

/// An isolation level of Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// As if transactions ran one after the other. The default, as in DBOS.
    #[default]
    Serializable,
    /// One snapshot for the whole transaction.
    #[serde(rename = "repeatable read")]
    RepeatableRead,
    /// One snapshot for each statement.
    #[serde(rename = "read committed")]
    ReadCommitted,
}

impl Isolation {
    /// The level in words, as manifests have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serializable => "serializable",
            Self::RepeatableRead => "repeatable read",
            Self::ReadCommitted => "read committed",
        }
    }
}

/// A parameter of a workflow or step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "raw::Parameter")]
pub struct Parameter {
    /// Its name, the key in the arguments.
    pub name: String,
    /// Its JSON Schema.
    pub schema: Schema,
    /// False: may be left out.
    pub required: bool,
}

/// A workflow of the app.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowEntry {
    /// Its name, unique across a host.
    pub name: String,
    /// In the order of the declaration.
    pub parameters: Vec<Parameter>,
    /// The JSON Schema of its result.
    pub result: Value,
}

/// A step of the app.
#[derive(Debug, Clone, PartialEq)]
pub struct StepEntry {
    /// Its name, unique in the app.
    pub name: String,
    /// In the order of the declaration.
    pub parameters: Vec<Parameter>,
    /// The JSON Schema of its result.
    pub result: Value,
    /// Transaction or communicator, with its options.
    pub kind: StepKind,
    /// The step that undoes it when its workflow fails. It has the same parameters, and `result` beside them.
    pub undo: Option<String>,
}

/// What kind of step, with what is particular to the kind.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// SQL and its record in one commit.
    Transaction {
        /// Its isolation level.
        isolation: Isolation,
        /// Postgres refuses writes in it.
        read_only: bool,
    },
    /// Talks to the outside.
    Communicator {
        /// When and how often it is tried again.
        retry: RetryPolicy,
        /// How long one attempt may take.
        timeout: Duration,
    },
}

/// A route of the app.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteEntry {
    /// Its name, unique across a host.
    pub name: String,
    /// The method.
    pub method: Method,
    /// The path.
    pub path: PathPattern,
}

/// What an app says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Name and version of the SDK that made it.
    pub sdk: String,
    /// Its workflows.
    pub workflows: Vec<WorkflowEntry>,
    /// Its steps.
    pub steps: Vec<StepEntry>,
    /// Its routes.
    pub routes: Vec<RouteEntry>,
}

/// A manifest that cannot be accepted, with every reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the manifest is not valid:{}", .0.iter().map(|r| format!("\n  - {r}")).collect::<String>())]
pub struct ManifestError(Vec<String>);

impl Manifest {
    /// Reads and checks what `describe` returned.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(json: &str) -> Result<Self, ManifestError> {
        if json.len() > MAX_MANIFEST_BYTES {
            let text = format!("it has {} bytes, more than the limit of {MAX_MANIFEST_BYTES}", json.len());
            return Err(ManifestError(vec![text]));
        }
        check_json(json).map_err(|error| ManifestError(vec![error.to_string()]))?;
        let raw: raw::Manifest = serde_json::from_str(json).map_err(|e| ManifestError(vec![e.to_string()]))?;
        if raw.workflows.len() + raw.steps.len() + raw.routes.len() > MAX_ENTRIES {
            return Err(ManifestError(vec![format!("it has more than {MAX_ENTRIES} entries")]));
        }
        let mut wrong = Vec::new();
        let mut steps = Vec::new();
        for step in raw.steps {
            step.check().map_or_else(|reason| wrong.push(reason), |step| steps.push(step));
        }
        let mut routes = Vec::new();
        for route in raw.routes {
            match PathPattern::parse(&route.path) {
                Ok(path) => routes.push(RouteEntry { name: route.name, method: route.method, path }),
                Err(reason) => wrong.push(format!("route `{}`: {reason}", route.name)),
            }
        }
        let manifest = Self { sdk: raw.sdk, workflows: raw.workflows, steps, routes };
        manifest.find_contradictions(&mut wrong);
        if wrong.is_empty() { Ok(manifest) } else { Err(ManifestError(wrong)) }
    }

    fn find_contradictions(&self, wrong: &mut Vec<String>) {
        check_names("workflow", self.workflows.iter().map(|w| w.name.as_str()), wrong);
        check_names("step", self.steps.iter().map(|s| s.name.as_str()), wrong);
        check_names("route", self.routes.iter().map(|r| r.name.as_str()), wrong);
        let workflows = self.workflows.iter().map(|w| (&w.name, &w.parameters));
        for (name, parameters) in workflows.chain(self.steps.iter().map(|s| (&s.name, &s.parameters))) {
            let mut seen = std::collections::HashSet::new();
            for parameter in parameters.iter().filter(|p| !seen.insert(p.name.as_str())) {
                wrong.push(format!("`{name}` has the parameter `{}` twice", parameter.name));
            }
        }
        for step in &self.steps {
            wrong.extend(contradiction(self, step));
        }
        let mut shapes = std::collections::HashMap::new();
        for route in &self.routes {
            match shapes.entry((route.method, route.path.shape())) {
                Entry::Occupied(other) => wrong.push(format!(
                    "routes `{}` and `{}` both answer {} {}",
                    other.get(),
                    route.name,
                    route.method,
                    route.path.as_str()
                )),
                Entry::Vacant(place) => {
                    place.insert(&route.name);
                }
            }
        }
    }

    /// The workflow of this name.
    #[must_use]
    pub fn workflow(&self, name: &str) -> Option<&WorkflowEntry> {
        self.workflows.iter().find(|workflow| workflow.name == name)
    }

    /// The step of this name.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&StepEntry> {
        self.steps.iter().find(|step| step.name == name)
    }
}

fn check_names<'a>(what: &'static str, names: impl Iterator<Item = &'a str>, wrong: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if let Err(error) = check_name(what, name) {
            wrong.push(error.to_string());
        }
        if !seen.insert(name) {
            wrong.push(format!("there are two {what}s `{name}`"));
        }
    }
}

/// The shape of the text, before its rules are checked.
mod raw {
    use super::{Duration, Isolation, Method, RetryPolicy, Schema, StepEntry, StepKind, Value, WorkflowEntry};
    use serde::Deserialize;

    /// A day: longer than any HTTP exchange, and a bound on how long a step can hold its slot.
    const MAX_TIMEOUT_MS: u64 = 86_400_000;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Manifest {
        #[serde(default)]
        pub(super) sdk: String,
        #[serde(default)]
        pub(super) workflows: Vec<WorkflowEntry>,
        #[serde(default)]
        pub(super) steps: Vec<Step>,
        #[serde(default)]
        pub(super) routes: Vec<Route>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Parameter {
        name: String,
        schema: Value,
        required: Option<bool>,
    }

    impl TryFrom<Parameter> for super::Parameter {
        type Error = String;

        fn try_from(raw: Parameter) -> Result<Self, String> {
            let schema = Schema::parse(&raw.schema);
            let schema =
                schema.map_err(|why| format!("the schema of the parameter `{}` is not valid: {why}", raw.name))?;
            Ok(Self { name: raw.name, schema, required: raw.required.unwrap_or(true) })
        }
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Route {
        pub(super) name: String,
        pub(super) method: Method,
        pub(super) path: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct Step {
        name: String,
        kind: Kind,
        parameters: Vec<super::Parameter>,
        result: Value,
        isolation: Option<Isolation>,
        read_only: Option<bool>,
        attempts: Option<u32>,
        interval_ms: Option<u64>,
        backoff: Option<f64>,
        max_interval_ms: Option<u64>,
        timeout_ms: Option<u64>,
        undo: Option<String>,
    }

    #[derive(Deserialize, Clone, Copy, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Transaction,
        Communicator,
    }

    impl Step {
        pub(super) fn check(self) -> Result<StepEntry, String> {
            let name = &self.name;
            let kind = match self.kind {
                Kind::Transaction if self.has_retry_options() => {
                    return Err(format!("transaction `{name}` has options of a communicator"));
                }
                Kind::Transaction => StepKind::Transaction {
                    isolation: self.isolation.unwrap_or_default(),
                    read_only: self.read_only.unwrap_or(false),
                },
                Kind::Communicator if self.isolation.is_some() || self.read_only.is_some() => {
                    return Err(format!("communicator `{name}` has options of a transaction"));
                }
                Kind::Communicator => self.communicator()?,
            };
            let Self { name, parameters, result, undo, .. } = self;
            Ok(StepEntry { name, parameters, result, kind, undo })
        }

        fn has_retry_options(&self) -> bool {
            self.attempts.is_some()
                || self.interval_ms.is_some()
                || self.backoff.is_some()
                || self.max_interval_ms.is_some()
                || self.timeout_ms.is_some()
        }

        /// The defaults are DBOS's: tried once; if more often, after 1 s, then twice as long, at most an hour.
        fn communicator(&self) -> Result<StepKind, String> {
            let attempts = self.attempts.unwrap_or(1);
            let backoff = self.backoff.unwrap_or(2.0);
            let timeout_ms = self.timeout_ms.unwrap_or(60_000);
            if attempts == 0 {
                return Err(format!("communicator `{}`: `attempts` must be at least 1", self.name));
            }
            if !backoff.is_finite() || backoff < 1.0 {
                return Err(format!("communicator `{}`: `backoff` must be at least 1", self.name));
            }
            if timeout_ms == 0 || timeout_ms > MAX_TIMEOUT_MS {
                return Err(format!("communicator `{}`: `timeoutMs` must be 1 to {MAX_TIMEOUT_MS}", self.name));
            }
            let retry = RetryPolicy {
                attempts,
                interval: Duration::from_millis(self.interval_ms.unwrap_or(1000)),
                backoff,
                max_interval: Duration::from_millis(self.max_interval_ms.unwrap_or(3_600_000)),
            };
            Ok(StepKind::Communicator { retry, timeout: Duration::from_millis(timeout_ms) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_is_accepted() {
        let text = include_str!("../../../wit/MANIFEST.md");
        let json = text.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let manifest = Manifest::parse(json).unwrap();
        assert_eq!(manifest.workflow("greeting_workflow").unwrap().parameters[0].name, "name");
        assert!(matches!(
            manifest.step("sign_guestbook").unwrap().kind,
            StepKind::Communicator { ref retry, .. } if retry.attempts == 3
        ));
        assert_eq!(manifest.routes[0].path.as_str(), "/greeting/{name}");
    }

    #[test]
    fn defaults_follow_dbos() {
        let manifest = Manifest::parse(
            r#"{"steps":[{"name":"t","kind":"transaction","parameters":[],"result":{}},
                {"name":"c","kind":"communicator","parameters":[],"result":{}}]}"#,
        )
        .unwrap();
        let transaction = StepKind::Transaction { isolation: Isolation::Serializable, read_only: false };
        assert_eq!(manifest.step("t").unwrap().kind, transaction);
        assert!(matches!(
            manifest.step("c").unwrap().kind,
            StepKind::Communicator { ref retry, .. } if retry.attempts == 1
        ));
    }

    #[test]
    fn every_contradiction_is_listed() {
        let error = Manifest::parse(
            r#"{"workflows":[{"name":"w","parameters":[],"result":{}},{"name":"w","parameters":[],"result":{}},
                 {"name":"temp:x","parameters":[],"result":{}}],
                "steps":[{"name":"t","kind":"transaction","parameters":[],"result":{},"attempts":3},
                 {"name":"c","kind":"communicator","parameters":[],"result":{},"attempts":0},
                 {"name":"d","kind":"transaction","result":{},
                  "parameters":[{"name":"x","schema":{}},{"name":"x","schema":{}}]}],
                "routes":[{"name":"a","method":"GET","path":"/x/{y}"},{"name":"b","method":"GET","path":"/x/{z}"},
                 {"name":"c","method":"GET","path":"nowhere"}]}"#,
        )
        .unwrap_err()
        .to_string();
        for expected in [
            "two workflows `w`",
            "workflow `temp:x` is not valid",
            "`t` has options of a communicator",
            "`attempts` must be at least 1",
            "`d` has the parameter `x` twice",
            "routes `a` and `b` both answer GET /x/{z}",
            "must begin with `/`",
        ] {
            assert!(error.contains(expected), "{expected} is not in: {error}");
        }
    }

    #[test]
    fn a_schema_that_cannot_be_read_names_its_parameter() {
        let error = Manifest::parse(
            r##"{"workflows":[{"name":"w","result":{},"parameters":[{"name":"x","schema":{"$ref":"#/nowhere"}}]}]}"##,
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("the schema of the parameter `x` is not valid: `$ref` is `#/nowhere`"), "{error}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(Manifest::parse(r#"{"workflow":[]}"#).unwrap_err().to_string().contains("unknown field `workflow`"));
    }
}

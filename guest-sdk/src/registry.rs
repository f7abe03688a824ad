//! What a program consists of: its workflows, steps and routes.
//!
//! Each macro registers what it expanded, before the first export is called, so that no list of them has to be kept
//! by hand. The order of registration depends on the linker, so nothing here shows it.

use serde_json::Value;

use crate::{Error, Request, Response, Result, arguments::Arguments};

/// A body with its arguments decoded and its result written by generated code.
type Run = fn(Arguments) -> Result<String>;

/// A parameter of a workflow or step.
pub struct Parameter {
    /// Its name, the key in the JSON object of arguments.
    pub name: &'static str,
    /// Whether a caller must give it.
    pub required: bool,
    /// Its JSON Schema.
    pub schema: fn() -> Value,
}

/// A registered workflow.
pub struct Workflow {
    /// Its public name.
    pub name: &'static str,
    /// Its parameters in the order of the declaration.
    pub parameters: &'static [Parameter],
    /// The JSON Schema of its result.
    pub result: fn() -> Value,
    /// Its body.
    pub run: Run,
}

/// A registered step.
pub struct Step {
    /// Its public name.
    pub name: &'static str,
    /// Its parameters in the order of the declaration.
    pub parameters: &'static [Parameter],
    /// The JSON Schema of its result.
    pub result: fn() -> Value,
    /// Its body.
    pub run: Run,
    /// What kind of step it is, with its options.
    pub kind: StepKind,
    /// The step that undoes it.
    pub undo: Option<&'static str>,
}

/// The kinds of steps.
pub enum StepKind {
    /// SQL in one database transaction.
    Transaction {
        /// As the manifest names it.
        isolation: &'static str,
        /// Whether the database refuses writes.
        read_only: bool,
    },
    /// A call of the outside.
    Communicator {
        /// How often it is tried in all.
        attempts: u32,
        /// The wait before the second attempt.
        interval_ms: u64,
        /// By what the wait grows.
        backoff: f64,
        /// The longest wait.
        max_interval_ms: u64,
        /// How long one attempt may take.
        timeout_ms: u64,
    },
}

/// A registered route.
pub struct Route {
    /// Its public name.
    pub name: &'static str,
    /// `GET`, `POST`, ….
    pub method: &'static str,
    /// With placeholders: `/greeting/{name}`.
    pub path: &'static str,
    /// Takes the arguments out of the request, calls the function, makes a response of its value.
    pub handle: fn(Request) -> Result<Response>,
}

inventory::collect!(Workflow);
inventory::collect!(Step);
inventory::collect!(Route);

/// Runs the body of a workflow.
pub(crate) fn run_workflow(name: &str, arguments: &str) -> Result<String> {
    let workflow = inventory::iter::<Workflow>().find(|workflow| workflow.name == name);
    let workflow = workflow.ok_or_else(|| unknown("workflow", name))?;
    (workflow.run)(Arguments::parse(arguments)?)
}

/// Runs the body of a step.
pub(crate) fn run_step(name: &str, arguments: &str) -> Result<String> {
    let step = inventory::iter::<Step>().find(|step| step.name == name);
    let step = step.ok_or_else(|| unknown("step", name))?;
    (step.run)(Arguments::parse(arguments)?)
}

/// Answers a request.
pub(crate) fn handle(name: &str, request: Request) -> Result<Response> {
    let route = inventory::iter::<Route>().find(|route| route.name == name);
    let route = route.ok_or_else(|| unknown("route", name))?;
    (route.handle)(request)
}

/// The host calls what the manifest lists, so this is met only by other callers.
fn unknown(what: &str, name: &str) -> Error {
    Error::new(format!("this component has no {what} `{name}`")).with_name("UnknownName").do_not_retry()
}

#[cfg(test)]
mod tests {
    use super::{handle, run_step, run_workflow};
    use crate::{prelude::*, web::Request as Incoming};

    #[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
    #[schemars(crate = "schemars")]
    struct Greeting {
        name: String,
    }

    #[derive(Debug)]
    struct Refusal;

    impl std::fmt::Display for Refusal {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no more greetings")
        }
    }

    impl std::error::Error for Refusal {}

    #[workflow]
    fn registry_workflow(name: String, greeting: &Greeting, times: Option<u8>) -> Result<Vec<String>> {
        Ok(vec![format!("{} to {name}", greeting.name); usize::from(times.unwrap_or(1))])
    }

    #[transaction]
    fn registry_step(mut words: Vec<String>, suffix: &str) -> Result<String, Refusal> {
        if words.is_empty() {
            return Err(Refusal);
        }
        words.push(suffix.to_owned());
        Ok(words.join(" "))
    }

    #[communicator(name = "registry.plain")]
    fn registry_plain() -> u8 {
        7
    }

    #[get("/registry/{name}")]
    fn registry_route(name: &str, times: Option<u8>) -> String {
        format!("{name} {}", times.unwrap_or(1))
    }

    #[get("/registry/step")]
    #[communicator]
    fn registry_bound_below(name: String) -> u8 {
        u8::try_from(name.len()).unwrap_or(u8::MAX)
    }

    #[workflow]
    #[post("/registry/above/{name}")]
    fn registry_bound_above(name: String, more: Json<Greeting>) -> String {
        name + &more.0.name
    }

    #[test]
    fn bodies_run_by_their_public_names_with_their_arguments_decoded() {
        let arguments = r#"{"name":"Mike","greeting":{"name":"hi"},"times":2}"#;
        assert_eq!(run_workflow("registry_workflow", arguments).unwrap(), r#"["hi to Mike","hi to Mike"]"#);
        let arguments = r#"{"name":"Mike","greeting":{"name":"hi"}}"#;
        assert_eq!(run_workflow("registry_workflow", arguments).unwrap(), r#"["hi to Mike"]"#);
        assert_eq!(run_step("registry_step", r#"{"words":["a"],"suffix":"b"}"#).unwrap(), r#""a b""#);
        assert_eq!(run_step("registry.plain", "{}").unwrap(), "7");
    }

    #[test]
    fn errors_of_bodies_and_wrong_calls() {
        let error = run_step("registry_step", r#"{"words":[],"suffix":""}"#).unwrap_err();
        assert_eq!((error.name(), error.message()), ("Refusal", "no more greetings"));
        let error = run_step("registry_step", r#"{"words":[]}"#).unwrap_err();
        assert_eq!(error.message(), "argument `suffix` is missing: expected `String`");
        let error = run_step("registry_plain", "{}").unwrap_err();
        assert_eq!(error.message(), "this component has no step `registry_plain`");
        assert!(run_workflow("registry_step", "{}").is_err(), "a step is no workflow");
    }

    #[test]
    fn calls_go_to_the_host() {
        let call = registry_step(vec!["a".to_owned()], "b").unwrap_err();
        assert!(call.message().starts_with("`transaction.call`"), "{call}");
        let start = registry_workflow::start("a".to_owned(), &Greeting { name: "b".to_owned() }, None).unwrap_err();
        assert!(start.message().starts_with("`workflow.start`"), "{start}");
        let options = StartOptions::new().id("order-17");
        assert!(
            registry_bound_above::start_with(options, String::new(), Json(Greeting { name: String::new() })).is_err()
        );
    }

    #[test]
    fn routes_take_arguments_out_of_the_request() {
        let mut request = Incoming {
            path_parameters: vec![("name".into(), "Mike".into())],
            query: Some("times=3".into()),
            ..Incoming::default()
        };
        let response = handle("registry_route", request.clone()).unwrap();
        assert_eq!(response, Response::new(200).text("Mike 3"));
        request.query = Some("times=x".into());
        assert_eq!(handle("registry_route", request).unwrap_err().status(), Some(400));
    }

    #[test]
    fn durable_functions_are_bound_in_either_order() {
        let error = handle("registry_bound_below", Incoming { query: Some("name=a".into()), ..Incoming::default() });
        assert!(error.unwrap_err().message().starts_with("`communicator.call`"));
        let request = Incoming {
            path_parameters: vec![("name".into(), "Mike".into())],
            body: br#"{"name":"x"}"#.to_vec(),
            ..Incoming::default()
        };
        assert!(handle("registry_bound_above", request).unwrap_err().message().starts_with("`workflow.start`"));
    }
}

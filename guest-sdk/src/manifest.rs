//! The manifest: what the program tells the host about itself.
//!
//! The host checks it when the component is loaded, shows it, and takes the policy of each step from it. It must be the
//! same at every call and in every instance, so it is sorted by name and made of constants and schemas alone. Its shape
//! is fixed by `wit/MANIFEST.md`.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::Value;

use crate::registry::{self, StepKind};

/// The manifest as it is written.
#[derive(Serialize)]
struct Manifest {
    sdk: &'static str,
    workflows: Vec<Workflow>,
    steps: Vec<Step>,
    routes: Vec<Route>,
}

#[derive(Serialize)]
struct Workflow {
    name: &'static str,
    parameters: Vec<Parameter>,
    result: Value,
}

#[derive(Serialize)]
struct Step {
    name: &'static str,
    #[serde(flatten)]
    kind: Kind,
    parameters: Vec<Parameter>,
    result: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Kind {
    Transaction { isolation: &'static str, read_only: bool },
    Communicator { attempts: u32, interval_ms: u64, backoff: f64, max_interval_ms: u64, timeout_ms: u64 },
}

#[derive(Serialize)]
struct Parameter {
    name: &'static str,
    schema: Value,
    #[serde(skip_serializing_if = "is_true")]
    required: bool,
}

#[derive(Serialize)]
struct Route {
    name: &'static str,
    method: &'static str,
    path: &'static str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_true(value: &bool) -> bool {
    *value
}

/// The manifest of this program, as JSON text.
pub(crate) fn describe() -> String {
    let mut manifest = Manifest {
        sdk: concat!("dbos-guest ", env!("CARGO_PKG_VERSION")),
        workflows: inventory::iter::<registry::Workflow>().map(workflow).collect(),
        steps: inventory::iter::<registry::Step>().map(step).collect(),
        routes: inventory::iter::<registry::Route>().map(route).collect(),
    };
    manifest.workflows.sort_by_key(|workflow| workflow.name);
    manifest.steps.sort_by_key(|step| step.name);
    manifest.routes.sort_by_key(|route| route.name);
    serde_json::to_string(&manifest).expect("the manifest holds text, numbers and schemas, which are JSON values")
}

fn workflow(entry: &registry::Workflow) -> Workflow {
    Workflow { name: entry.name, parameters: parameters(entry.parameters), result: (entry.result)() }
}

fn step(entry: &registry::Step) -> Step {
    let kind = match entry.kind {
        StepKind::Transaction { isolation, read_only } => Kind::Transaction { isolation, read_only },
        StepKind::Communicator { attempts, interval_ms, backoff, max_interval_ms, timeout_ms } => {
            Kind::Communicator { attempts, interval_ms, backoff, max_interval_ms, timeout_ms }
        }
    };
    let (name, undo) = (entry.name, entry.undo);
    Step { name, kind, parameters: parameters(entry.parameters), result: (entry.result)(), undo }
}

fn route(entry: &registry::Route) -> Route {
    Route { name: entry.name, method: entry.method, path: entry.path }
}

fn parameters(entries: &[registry::Parameter]) -> Vec<Parameter> {
    let parameter = |entry: &registry::Parameter| Parameter {
        name: entry.name,
        schema: (entry.schema)(),
        required: entry.required,
    };
    entries.iter().map(parameter).collect()
}

/// The schema of a parameter: what is accepted.
pub fn parameter_schema<T: JsonSchema>() -> Value {
    schema::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// The schema of a result: what is written.
pub fn result_schema<T: JsonSchema>() -> Value {
    schema::<T>(SchemaSettings::draft2020_12().for_serialize())
}

/// The draft is a rule of the manifest and the type's name says nothing to a caller, so both are left out.
fn schema<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let mut schema = settings.with(|settings| settings.meta_schema = None).into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::prelude::*;

    #[workflow]
    fn manifest_workflow(name: &str, note: Option<String>) -> Result<()> {
        drop((name.len(), note));
        Ok(())
    }

    #[transaction(isolation = "read committed", read_only)]
    fn manifest_transaction() -> Result<u8> {
        Ok(1)
    }

    #[communicator(name = "manifest.send", attempts = 3, interval = "2s", timeout = "5s")]
    fn manifest_communicator() {}

    #[get("/manifest/{id}", name = "manifest-page")]
    fn manifest_page(id: u64) -> String {
        id.to_string()
    }

    #[test]
    fn the_manifest_says_everything_in_the_form_of_the_contract() {
        let manifest: Value = serde_json::from_str(&super::describe()).unwrap();
        assert_eq!(manifest["sdk"], concat!("dbos-guest ", env!("CARGO_PKG_VERSION")));
        let find = |list: &str, name: &str| {
            let list = manifest[list].as_array().unwrap();
            list.iter().find(|entry| entry["name"] == name).unwrap().clone()
        };
        assert_eq!(
            find("workflows", "manifest_workflow"),
            json!({"name": "manifest_workflow", "result": {"type": "null"}, "parameters": [
                {"name": "name", "schema": {"type": "string"}},
                {"name": "note", "schema": {"type": ["string", "null"]}, "required": false}]})
        );
        assert_eq!(
            find("steps", "manifest_transaction"),
            json!({"name": "manifest_transaction", "kind": "transaction", "parameters": [],
                "result": {"type": "integer", "format": "uint8", "minimum": 0, "maximum": 255},
                "isolation": "read committed", "readOnly": true})
        );
        assert_eq!(
            find("steps", "manifest.send"),
            json!({"name": "manifest.send", "kind": "communicator", "parameters": [], "result": {"type": "null"},
                "attempts": 3, "intervalMs": 2000, "backoff": 2.0, "maxIntervalMs": 3_600_000, "timeoutMs": 5000})
        );
        assert_eq!(
            find("routes", "manifest-page"),
            json!({"name": "manifest-page", "method": "GET", "path": "/manifest/{id}"})
        );
        assert_eq!(super::describe(), super::describe());
    }

    #[test]
    fn schemas_say_what_is_needed_and_no_more() {
        assert_eq!(super::parameter_schema::<String>(), json!({"type": "string"}));
        assert_eq!(super::result_schema::<()>(), json!({"type": "null"}));
        assert_eq!(super::parameter_schema::<Option<bool>>(), json!({"type": ["boolean", "null"]}));
    }
}

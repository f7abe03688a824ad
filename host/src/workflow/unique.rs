//! Names that must be unique over all apps of a host.
//!
//! A workflow is started by its name alone, and a route is known to operators by its own. If two apps had the same, which
//! of them runs would be decided by chance, so a host that would serve both does not start, and one that runs goes on
//! without the newcomer.

use std::collections::HashMap;

use super::code::Code;
use super::id::AppName;
use super::manifest::Manifest;

/// A name that two apps have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {kind} `{name}` is in the app `{first}` and in the app `{second}`\n  hint: rename one of the two, or let another \
     host serve one of the apps"
)]
pub struct NameClash {
    kind: &'static str,
    name: String,
    first: AppName,
    second: AppName,
}

impl NameClash {
    /// The code by which the error is looked up.
    pub const CODE: Code = Code("name_clash");
}

/// Checks that no two of the apps have a workflow or a route of the same name.
///
/// # Errors
/// The first name, in the order of the apps, that an earlier one has already.
pub fn check_unique<'a>(apps: impl IntoIterator<Item = (&'a AppName, &'a Manifest)>) -> Result<(), NameClash> {
    let mut owners: HashMap<(&'static str, &str), &AppName> = HashMap::new();
    for (app, manifest) in apps {
        let workflows = manifest.workflows.iter().map(|workflow| ("workflow", workflow.name.as_str()));
        let routes = manifest.routes.iter().map(|route| ("route", route.name.as_str()));
        for (kind, name) in workflows.chain(routes) {
            if let Some(first) = owners.insert((kind, name), app) {
                return Err(NameClash { kind, name: name.into(), first: first.clone(), second: app.clone() });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(workflow: &str, route: &str) -> Manifest {
        let json = serde_json::json!({
            "workflows": [{ "name": workflow, "parameters": [], "result": {} }],
            "routes": [{ "name": route, "method": "GET", "path": "/a" }],
        });
        Manifest::parse(&json.to_string()).expect("a manifest")
    }

    fn check(apps: &[(&str, Manifest)]) -> Result<(), String> {
        let named: Vec<_> = apps.iter().map(|(name, m)| (AppName::parse(name).expect("a name"), m)).collect();
        check_unique(named.iter().map(|(name, manifest)| (name, *manifest))).map_err(|clash| clash.to_string())
    }

    #[test]
    fn a_name_that_two_apps_have_is_told_with_both() {
        assert_eq!(check(&[("a", manifest("pay", "index")), ("b", manifest("ship", "start"))]), Ok(()));
        // A workflow and a route are not looked up in the same place.
        assert_eq!(check(&[("a", manifest("pay", "index")), ("b", manifest("index", "pay"))]), Ok(()));
        let hint = "\n  hint: rename one of the two, or let another host serve one of the apps";
        assert_eq!(
            check(&[("a", manifest("pay", "index")), ("b", manifest("pay", "start"))]),
            Err(format!("the workflow `pay` is in the app `a` and in the app `b`{hint}"))
        );
        assert_eq!(
            check(&[("a", manifest("pay", "index")), ("b", manifest("ship", "index"))]),
            Err(format!("the route `index` is in the app `a` and in the app `b`{hint}"))
        );
    }
}

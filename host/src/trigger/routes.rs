//! The apps' routes: which handler answers a request.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::executor::App;
use crate::workflow::{AppName, Code, Manifest, RouteEntry};

/// Two routes that would answer the same requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the route `{route}` ({method} {path}) of the app `{app}` answers the same requests as {other}\n  hint: change one of \
     the paths, or let another host serve one of the apps"
)]
pub struct RouteConflict {
    app: AppName,
    route: String,
    method: &'static str,
    path: String,
    other: String,
}

impl RouteConflict {
    /// The code by which the error is looked up.
    pub const CODE: Code = Code("route_conflict");
}

/// A handler that a request was matched to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) app: Arc<App>,
    pub(super) route: String,
}

/// What a path was matched to.
#[derive(Debug)]
pub(super) enum Matched {
    /// A handler, and the placeholders.
    Handler(Target, Vec<(String, String)>),
    /// There are routes for the path, with these methods only.
    OtherMethods(Vec<&'static str>),
    /// There is none.
    Nothing,
}

/// The routes (lifetime: until an app is deployed anew).
#[derive(Debug, Default)]
pub struct Routes(HashMap<&'static str, matchit::Router<Target>>);

impl Routes {
    /// The routes of the apps' current components.
    ///
    /// # Errors
    /// When two clash.
    pub fn of<'a>(apps: impl Iterator<Item = &'a Arc<App>>) -> Result<Self, RouteConflict> {
        let current: Vec<_> = apps.map(|app| (app, app.current())).collect();
        let manifests = current.iter().map(|(app, component)| (app.name(), &**component.manifest(), *app));
        routers(manifests, |app, route| Target { app: Arc::clone(app), route: route.name.clone() }).map(Self)
    }

    /// Checks that no two routes of these apps clash, before any of them is served.
    ///
    /// # Errors
    /// When two do.
    pub fn check<'a>(apps: impl IntoIterator<Item = (&'a AppName, &'a Manifest)>) -> Result<(), RouteConflict> {
        routers(apps.into_iter().map(|(name, manifest)| (name, manifest, ())), |(), _| ()).map(drop)
    }

    /// Finds the handler for a request. HEAD is answered by GET's.
    pub(super) fn find(&self, method: &Method, path: &str) -> Matched {
        let wanted = if *method == Method::HEAD { "GET" } else { method.as_str() };
        if let Some(found) = self.0.get(wanted).and_then(|router| router.at(path).ok()) {
            let placeholders = found.params.iter().map(|(name, value)| (name.to_owned(), percent_decoded(value)));
            return Matched::Handler(found.value.clone(), placeholders.collect());
        }
        let mut others: Vec<_> = self.0.iter().filter(|(_, router)| router.at(path).is_ok()).map(|(m, _)| *m).collect();
        others.sort_unstable();
        if others.is_empty() { Matched::Nothing } else { Matched::OtherMethods(others) }
    }
}

/// A router for each method; what a route leads to is made by `target`.
fn routers<'a, A: Copy, T>(
    apps: impl Iterator<Item = (&'a AppName, &'a Manifest, A)>,
    target: impl Fn(A, &RouteEntry) -> T,
) -> Result<HashMap<&'static str, matchit::Router<T>>, RouteConflict> {
    let mut routers: HashMap<&'static str, matchit::Router<T>> = HashMap::new();
    let mut owners: HashMap<(&'static str, &str), (&AppName, &str)> = HashMap::new();
    for (app, manifest, of_app) in apps {
        for route in &manifest.routes {
            let (method, path) = (route.method.as_str(), route.path.as_str());
            if let Err(error) = routers.entry(method).or_default().insert(path, target(of_app, route)) {
                let owner = |with: &str| {
                    let (app, name) = owners.get(&(method, with))?;
                    Some(format!("the route `{name}` ({method} {with}) of the app `{app}`"))
                };
                let other = match &error {
                    matchit::InsertError::Conflict { with } => owner(with),
                    _ => None,
                };
                return Err(RouteConflict {
                    app: app.clone(),
                    route: route.name.clone(),
                    method,
                    path: path.into(),
                    other: other.unwrap_or_else(|| format!("another: {error}")),
                });
            }
            owners.insert((method, path), (app, &route.name));
        }
    }
    Ok(routers)
}

/// Percent-decoding of one path segment. Bytes that are no UTF-8 become the replacement character.
fn percent_decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.filter(|_| *byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_clash_are_told_with_both_apps() {
        let manifest = |name: &str, path: &str| {
            let routes = serde_json::json!([{ "name": name, "method": "GET", "path": path }]);
            let json = serde_json::json!({ "routes": routes });
            Manifest::parse(&json.to_string()).expect("a manifest")
        };
        let [a, b] = ["a", "b"].map(|name| AppName::parse(name).expect("a name"));
        let check = |one: &Manifest, other: &Manifest| {
            Routes::check([(&a, one), (&b, other)]).map_err(|error| error.to_string())
        };
        assert_eq!(check(&manifest("star", "/star/{name}"), &manifest("sun", "/sun/{name}")), Ok(()));
        assert_eq!(
            check(&manifest("star", "/star/{name}"), &manifest("numbered", "/star/{number}")),
            Err("the route `numbered` (GET /star/{number}) of the app `b` answers the same requests as the route `star` \
                 (GET /star/{name}) of the app `a`\n  hint: change one of the paths, or let another host serve one of the apps"
                .into())
        );
    }

    #[test]
    fn segments_are_decoded() {
        assert_eq!(percent_decoded("Mike%20J%C3%B6rg"), "Mike Jörg");
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%2"), "%zz%2");
        assert_eq!(percent_decoded("%2Fetc"), "/etc");
    }
}

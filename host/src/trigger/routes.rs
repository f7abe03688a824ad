//! The apps' routes: which handler answers a request.
//!
//! A path is matched as it was sent: case counts, so does a slash at the end, and an escape is no other way to write a
//! literal. A placeholder matches one segment that is not empty. Where a literal and a placeholder both match, the literal
//! is taken, segment by segment from the left.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::executor::App;
use crate::workflow::{AppName, Code, Manifest, RouteEntry};

/// Two routes that would answer the same requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{route} clashes with {other}: both answer {method} {shape}\n  hint: give one of them another path")]
pub struct RouteConflict {
    route: String,
    other: String,
    method: String,
    shape: String,
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

/// Names of placeholders, with their segments as they were sent.
pub(super) type Placeholders = Vec<(String, String)>;

/// What a path was matched to.
#[derive(Debug)]
pub(super) enum Matched {
    /// A handler, and its placeholders.
    Handler(Target, Placeholders),
    /// There are routes for the path, with these methods only.
    OtherMethods(Vec<&'static str>),
    /// There is none.
    Nothing,
}

/// The routes (lifetime: until an app is deployed anew).
#[derive(Debug, Default)]
pub struct Routes(Table<Target>);

impl Routes {
    /// The routes of the apps' current components.
    ///
    /// # Errors
    /// When two clash.
    pub fn of<'a>(apps: impl Iterator<Item = &'a Arc<App>>) -> Result<Self, RouteConflict> {
        let current: Vec<_> = apps.map(|app| (app, app.current())).collect();
        let manifests = current.iter().map(|(app, component)| (app.name(), &**component.manifest(), *app));
        Table::of(manifests, |app, route| Target { app: Arc::clone(app), route: route.name.clone() }).map(Self)
    }

    /// Checks that no two routes of these apps clash, before any of them is served.
    ///
    /// # Errors
    /// When two do.
    pub fn check<'a>(apps: impl IntoIterator<Item = (&'a AppName, &'a Manifest)>) -> Result<(), RouteConflict> {
        Table::of(apps.into_iter().map(|(name, manifest)| (name, manifest, ())), |(), _| ()).map(drop)
    }

    /// Finds the handler for a request. HEAD is answered by GET's.
    pub(super) fn find(&self, method: &Method, path: &str) -> Matched {
        match self.0.find(method, path) {
            Ok((target, placeholders)) => Matched::Handler(target.clone(), placeholders),
            Err(others) if others.is_empty() => Matched::Nothing,
            Err(others) => Matched::OtherMethods(others),
        }
    }
}

/// Routes with anything behind them.
#[derive(Debug)]
struct Table<T> {
    routers: HashMap<&'static str, matchit::Router<T>>,
    /// What has a method and a shape, in words.
    taken: HashMap<(&'static str, String), String>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { routers: HashMap::new(), taken: HashMap::new() }
    }
}

impl<T> Table<T> {
    /// The routes of these apps; what a route leads to is made by `target`.
    fn of<'a, A: Copy>(
        apps: impl Iterator<Item = (&'a AppName, &'a Manifest, A)>,
        target: impl Fn(A, &RouteEntry) -> T,
    ) -> Result<Self, RouteConflict> {
        let mut table = Self::default();
        for (name, manifest, of_app) in apps {
            for route in &manifest.routes {
                let described = format!("the route `{}` ({}) of the app `{name}`", route.name, route.path.as_str());
                let path = (route.path.as_str(), route.path.shape());
                table.insert(route.method.as_str(), path, described, target(of_app, route))?;
            }
        }
        Ok(table)
    }

    fn insert(
        &mut self,
        method: &'static str,
        (path, shape): (&str, String),
        described: String,
        target: T,
    ) -> Result<(), RouteConflict> {
        let clash = |other: String| RouteConflict {
            route: described.clone(),
            other,
            method: method.into(),
            shape: shape.clone(),
        };
        if let Some(other) = self.taken.get(&(method, shape.clone())) {
            return Err(clash(other.clone()));
        }
        let inserted = self.routers.entry(method).or_default().insert(path, target);
        // What the shapes do not tell, the router does.
        inserted.map_err(|error| clash(error.to_string()))?;
        self.taken.insert((method, shape), described);
        Ok(())
    }

    /// The target, or the methods that the path has.
    fn find(&self, method: &Method, path: &str) -> Result<(&T, Placeholders), Vec<&'static str>> {
        let wanted = if *method == Method::HEAD { "GET" } else { method.as_str() };
        if let Some(found) = self.routers.get(wanted).and_then(|router| router.at(path).ok()) {
            let placeholders = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            return Ok((found.value, placeholders.collect()));
        }
        let mut others: Vec<_> =
            self.routers.iter().filter(|(_, router)| router.at(path).is_ok()).map(|(method, _)| *method).collect();
        others.sort_unstable();
        Err(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::PathPattern;

    fn table(routes: &[(&'static str, &'static str)]) -> Result<Table<&'static str>, RouteConflict> {
        let mut table = Table::default();
        for (method, path) in routes {
            let shape = PathPattern::parse(path).expect("a pattern").shape();
            table.insert(method, (path, shape), format!("the route for `{path}`"), *path)?;
        }
        Ok(table)
    }

    #[test]
    fn a_path_is_matched_as_it_was_sent() {
        let routes = [
            ("GET", "/"),
            ("GET", "/a/{x}"),
            ("POST", "/a/{x}"),
            ("GET", "/a/b"),
            ("GET", "/{x}/c/"),
            ("PUT", "/{x}/c/d"),
        ];
        let table = table(&routes).expect("no clash");
        for (path, expected, placeholders) in [
            ("/", Some("/"), ""),
            ("/a/b", Some("/a/b"), ""),
            ("/a/B", Some("/a/{x}"), "x=B"),
            ("/a/%62", Some("/a/{x}"), "x=%62"),
            ("/a/b%2Fc", Some("/a/{x}"), "x=b%2Fc"),
            ("/z/c/", Some("/{x}/c/"), "x=z"),
            ("/z/c", None, ""),
            ("/a/", None, ""),
            ("/a", None, ""),
            ("//b", None, ""),
            ("/a/b/", None, ""),
            ("/A/b", None, ""),
            ("", None, ""),
            ("*", None, ""),
        ] {
            let found = table.find(&Method::GET, path);
            let placeholders_of =
                |found: &[(String, String)]| found.iter().map(|(n, v)| format!("{n}={v}")).collect::<String>();
            match (found, expected) {
                (Ok((target, found)), Some(expected)) => {
                    assert_eq!((*target, placeholders_of(&found).as_str()), (expected, placeholders), "{path}");
                }
                (Err(_), None) => {}
                (found, _) => panic!("{path}: {found:?}"),
            }
        }
        assert!(table.find(&Method::HEAD, "/a/x").is_ok());
        assert_eq!(table.find(&Method::DELETE, "/a/x").expect_err("no such method"), ["GET", "POST"]);
    }

    #[test]
    fn a_clash_names_both_routes() {
        let clash =
            table(&[("GET", "/a/{x}"), ("POST", "/a/{y}"), ("GET", "/a/{z}")]).expect_err("a clash").to_string();
        assert!(
            clash.starts_with("the route for `/a/{z}` clashes with the route for `/a/{x}`: both answer GET /a/{}"),
            "{clash}"
        );
    }

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
            Err("the route `numbered` (/star/{number}) of the app `b` clashes with the route `star` (/star/{name}) of the app \
                 `a`: both answer GET /star/{}\n  hint: give one of them another path"
                .into())
        );
    }
}

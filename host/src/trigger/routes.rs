//! The apps' routes: which handler answers a request.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::executor::App;

/// Two routes that would answer the same requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the route `{route}` ({method} {path}) of the app `{app}` clashes with another: {reason}")]
pub struct RouteConflict {
    app: String,
    route: String,
    method: String,
    path: String,
    reason: String,
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
        let mut routers: HashMap<&'static str, matchit::Router<Target>> = HashMap::new();
        for app in apps {
            for route in &app.current().manifest().routes {
                let (method, path) = (route.method.as_str(), route.path.as_str());
                let target = Target { app: Arc::clone(app), route: route.name.clone() };
                let inserted = routers.entry(method).or_default().insert(path, target);
                inserted.map_err(|error| RouteConflict {
                    app: app.name().to_string(),
                    route: route.name.clone(),
                    method: method.into(),
                    path: path.into(),
                    reason: error.to_string(),
                })?;
            }
        }
        Ok(Self(routers))
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

/// Percent-decoding of one path segment. Bytes that are no UTF-8 become the replacement character.
pub(super) fn percent_decoded(segment: &str) -> String {
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
    fn segments_are_decoded() {
        assert_eq!(percent_decoded("Mike%20J%C3%B6rg"), "Mike Jörg");
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%2"), "%zz%2");
        assert_eq!(percent_decoded("%2Fetc"), "/etc");
    }
}

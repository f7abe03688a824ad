//! Requests of any shape, as far as they are read before an app or the database is asked. See [`crate::fuzz`].

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::path::decoded;
use super::prefer;
use super::result::at;
use super::start::{idempotency_key, trace};
use crate::workflow::{Manifest, WorkflowId};

/// A request as text: the method and the path, headers, an empty line. The body is JSON for the target `arguments`.
///
/// # Panics
/// If an id that was accepted cannot be told to the client.
pub(crate) fn trigger(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut words = lines.next().unwrap_or_default().splitn(2, |byte| *byte == b' ');
    let _ = Method::from_bytes(words.next().unwrap_or_default());
    let uri = Uri::try_from(words.next().unwrap_or_default()).unwrap_or_default();
    for segment in uri.path().split('/') {
        if let Ok(decoded) = decoded("segment", segment) {
            assert!(decoded.len() <= segment.len(), "decoding does not blow up");
            id(&decoded);
        }
    }
    let mut headers = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let _ = trace(&headers);
    let mut request = http::Request::new(());
    (*request.uri_mut(), *request.headers_mut()) = (uri, headers.clone());
    if let Err(problem) = prefer::wait(&request.into_parts().0) {
        drop(axum::response::IntoResponse::into_response(problem));
    }
    match idempotency_key(&headers) {
        Ok(key) => id(&key.unwrap_or_default()),
        Err(problem) => drop(axum::response::IntoResponse::into_response(problem)),
    }
}

fn id(text: &str) {
    match WorkflowId::parse(text) {
        Ok(id) => {
            let location = at(&id);
            let path = location.strip_prefix("/workflows/").expect("it is below the host's own path");
            let found = decoded("id", path).unwrap_or_else(|_| panic!("`{location}` cannot be asked for"));
            assert_eq!(found, id.as_str(), "an id is found where it is told to be");
        }
        Err(error) => drop(error.to_string()),
    }
}

/// The routes of a manifest that was accepted.
///
/// # Panics
/// If a route is refused for another reason than a clash, or a path that has its shape does not find one.
pub(crate) fn routes(manifest: &Manifest) {
    let mut routers: HashMap<&'static str, matchit::Router<()>> = HashMap::new();
    for route in &manifest.routes {
        match routers.entry(route.method.as_str()).or_default().insert(route.path.as_str(), ()) {
            Ok(()) => {}
            Err(matchit::InsertError::Conflict { .. }) => return,
            Err(error) => panic!("`{}` was accepted: {error}", route.path.as_str()),
        }
    }
    for route in &manifest.routes {
        let segments =
            route.path.as_str().split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment });
        let path = segments.collect::<Vec<_>>().join("/");
        assert!(path.parse::<Uri>().is_ok_and(|uri| uri.path() == path), "`{path}` can be asked for");
        assert!(routers[route.method.as_str()].at(&path).is_ok(), "`{path}` is found");
    }
}

//! The request that a handler answers.

use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{Error, Result};

/// Status of answers to requests that do not fit the handler.
const BAD_REQUEST: u16 = 400;

/// A request, for handlers that want more than their parameters: declare a parameter of this type.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) path_parameters: Vec<(String, String)>,
    pub(crate) query: Option<String>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// `GET`, `POST`, ….
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path without the query, as it was sent.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query string as it was sent, without `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The first header of this name, in any case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers, in the order in which they came.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// The body as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, which must be JSON that fits the type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| bad_request("body", None, &error))
    }

    /// The same for the parameter `name` of a handler, which an error names.
    #[doc(hidden)]
    pub fn json_parameter<T: DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| bad_request("body", Some(name), &error))
    }

    /// The value of a placeholder of the route, percent-decoded.
    pub fn path_parameter<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let values: Vec<String> =
            self.path_parameters.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect();
        super::plain::read(&values).map_err(|error| bad_request("path", Some(name), &error))
    }

    /// The value of a parameter of the query string, percent-decoded. An `Option` may be missing, a `Vec` takes every
    /// value of the name.
    pub fn query_parameter<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let values = super::query::values(self.query.as_deref().unwrap_or_default(), name);
        let values = values.map_err(|error| bad_request("query string", Some(name), &error))?;
        super::plain::read(&values).map_err(|error| bad_request("query string", Some(name), &error))
    }

    /// The value of a parameter of the query string or of a form: a body of the type
    /// `application/x-www-form-urlencoded`. As [`Self::query_parameter`] otherwise.
    pub fn parameter<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        if !self.is_form() {
            return self.query_parameter(name);
        }
        let wrong = |error: &dyn Display| bad_request("query string or form", Some(name), error);
        let form = std::str::from_utf8(&self.body).map_err(|_| wrong(&super::query::NotText))?;
        let mut values = Vec::new();
        for place in [self.query.as_deref().unwrap_or_default(), form] {
            values.extend(super::query::values(place, name).map_err(|error| wrong(&error))?);
        }
        super::plain::read(&values).map_err(|error| wrong(&error))
    }

    fn is_form(&self) -> bool {
        let content_type = self.header("content-type").unwrap_or_default();
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }
}

fn bad_request(place: &str, name: Option<&str>, error: &dyn Display) -> Error {
    let (message, data) = match name {
        Some(name) => {
            (format!("`{name}` in the {place} does not fit: {error}"), json!({ "in": place, "parameter": name }))
        }
        None => (format!("the {place} does not fit: {error}"), json!({ "in": place })),
    };
    Error::new(message).with_name("BadRequest").with_code("bad_parameter").with_data(data).with_status(BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::{Request, json};

    fn request() -> Request {
        Request {
            method: "POST".into(),
            path: "/greeting/Mike%20M".into(),
            path_parameters: vec![("name".into(), "Mike M".into())],
            query: Some("times=3".into()),
            headers: vec![("content-type".into(), b"application/json".to_vec())],
            body: br#"{"note":"hi"}"#.to_vec(),
        }
    }

    #[test]
    fn everything_can_be_read() {
        let request = request();
        assert_eq!(request.path_parameter::<String>("name").unwrap(), "Mike M");
        assert_eq!(request.query_parameter::<u8>("times").unwrap(), 3);
        assert_eq!(request.query_parameter::<Option<u8>>("page").unwrap(), None);
        assert_eq!(request.header("Content-Type"), Some("application/json"));
        assert_eq!(request.json::<serde_json::Value>().unwrap()["note"], "hi");
    }

    #[test]
    fn what_does_not_fit_is_the_fault_of_the_request() {
        let request = request();
        let error = request.query_parameter::<String>("page").unwrap_err();
        assert_eq!(error.message(), "`page` in the query string does not fit: it is missing");
        assert_eq!(error.status(), Some(400));
        assert_eq!(request.path_parameter::<u8>("name").unwrap_err().status(), Some(400));
        assert_eq!(request.json::<Vec<u8>>().unwrap_err().status(), Some(400));
        let error = request.json_parameter::<Vec<u8>>("numbers").unwrap_err();
        assert!(error.message().starts_with("`numbers` in the body does not fit: invalid type: map"), "{error}");
        assert_eq!(
            (error.code(), error.data()),
            (Some("bad_parameter"), Some(json!({"in": "body", "parameter": "numbers"})))
        );
    }

    #[test]
    fn a_form_gives_parameters_as_a_query_string_does() {
        let mut request = request();
        request.body = b"note=M%C3%BCller+%26+Co&n=1&n=2&times=4".to_vec();
        assert!(request.parameter::<String>("note").is_err(), "the body is not said to be a form");
        request.headers = vec![("Content-Type".into(), b"application/x-www-form-urlencoded; charset=UTF-8".to_vec())];
        assert_eq!(request.parameter::<String>("note").unwrap(), "Müller & Co");
        assert_eq!(request.parameter::<Vec<u8>>("n").unwrap(), [1, 2]);
        let error = request.parameter::<u8>("times").unwrap_err();
        assert_eq!(error.message(), "`times` in the query string or form does not fit: it is given 2 times");
        assert_eq!(request.query_parameter::<u8>("times").unwrap(), 3);
        request.body = b"note=\xff".to_vec();
        assert!(request.parameter::<String>("note").unwrap_err().message().ends_with("it is not UTF-8"));
    }
}

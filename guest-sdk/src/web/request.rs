//! The request that a handler answers.

use serde::de::DeserializeOwned;

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
        serde_json::from_slice(&self.body).map_err(|error| bad_request(format!("the body does not fit: {error}")))
    }

    /// The value of a placeholder of the route, percent-decoded.
    pub fn path_parameter<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let values: Vec<String> =
            self.path_parameters.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect();
        super::plain::read(&values).map_err(|error| bad_request(format!("`{name}` in the path does not fit: {error}")))
    }

    /// The value of a parameter of the query string, percent-decoded. An `Option` may be missing, a `Vec` takes every
    /// value of the name.
    pub fn query_parameter<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let values = super::query::values(self.query.as_deref().unwrap_or_default(), name);
        super::plain::read(&values)
            .map_err(|error| bad_request(format!("`{name}` in the query string does not fit: {error}")))
    }
}

fn bad_request(message: String) -> Error {
    Error::new(message).with_name("BadRequest").with_status(BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::Request;

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
    }
}

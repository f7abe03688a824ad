//! What a handler answers.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;

/// An answer with status, headers and body of the handler's choice.
///
/// ```
/// use dbos_guest::prelude::*;
///
/// let response = Response::new(201).header("location", "/greeting/7").text("created");
/// assert_eq!(response.status(), 201);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// An empty answer with this status.
    pub fn new(status: u16) -> Self {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Sets a header, in place of one of the same name.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let name = name.into();
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(&name));
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the body as it is.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// Sets a body of plain text.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.body("text/plain; charset=utf-8", text.into())
    }

    /// Sets a body of HTML.
    pub fn html(self, html: impl Into<String>) -> Self {
        self.body("text/html; charset=utf-8", html.into())
    }

    /// Sets a body of JSON.
    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(value)?;
        Ok(self.body("application/json", body))
    }
}

/// What can be an answer without being turned into JSON. Any other `Serialize` value is answered as JSON.
pub trait IntoResponse {
    /// Makes the answer.
    fn into_response(self) -> Result<Response>;
}

impl IntoResponse for Response {
    fn into_response(self) -> Result<Response> {
        Ok(self)
    }
}

/// Plain text.
impl IntoResponse for String {
    fn into_response(self) -> Result<Response> {
        Ok(Response::new(200).text(self))
    }
}

/// Plain text.
impl IntoResponse for &'static str {
    fn into_response(self) -> Result<Response> {
        Ok(Response::new(200).text(self))
    }
}

/// Plain text.
impl IntoResponse for Cow<'static, str> {
    fn into_response(self) -> Result<Response> {
        Ok(Response::new(200).text(self))
    }
}

/// No content.
impl IntoResponse for () {
    fn into_response(self) -> Result<Response> {
        Ok(Response::new(204))
    }
}

/// An answer of HTML.
#[derive(Clone, Debug, PartialEq)]
pub struct Html<T>(pub T);

impl<T: Into<String>> IntoResponse for Html<T> {
    fn into_response(self) -> Result<Response> {
        Ok(Response::new(200).html(self.0))
    }
}

/// JSON: as a parameter of a handler it takes the body of the request, as a result it is the body of the answer.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Result<Response> {
        Response::new(200).json(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Html, IntoResponse, Json, Response};

    #[test]
    fn each_kind_of_answer_has_its_content_type() {
        let content_type = |response: &Response| String::from_utf8(response.headers[0].1.clone()).unwrap();
        let text = "hi".to_owned().into_response().unwrap();
        assert_eq!((text.status, content_type(&text)), (200, "text/plain; charset=utf-8".into()));
        assert_eq!(content_type(&Html("<p>").into_response().unwrap()), "text/html; charset=utf-8");
        let json = Json("x").into_response().unwrap();
        assert_eq!((json.body.as_slice(), content_type(&json)), (&b"\"x\""[..], "application/json".into()));
        assert_eq!(().into_response().unwrap(), Response::new(204));
    }

    #[test]
    fn a_header_is_set_once() {
        let response = Response::new(200).text("a").header("Content-Type", "text/csv");
        assert_eq!(response.headers, [("Content-Type".to_owned(), b"text/csv".to_vec())]);
    }
}

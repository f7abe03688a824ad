//! An answer from the outside.

use serde::de::DeserializeOwned;
use serde_json::json;

use super::{HTTP_ERROR, url::shown};
use crate::{Error, Result};

/// How much of a body an error shows: enough for a sentence, too little to fill a record.
const EXCERPT_CHARS: usize = 300;

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub(super) url: String,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Where the answer came from, after redirects.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The first header of this name, in any case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// The body as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body, which must be UTF-8.
    pub fn text(&self) -> Result<String> {
        String::from_utf8(self.body.clone()).map_err(|error| self.error(format!("its body is not text: {error}")))
    }

    /// The body, which must be JSON that fits the type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| self.error(format!("its body does not fit: {error}: `{}`", self.excerpt())))
    }

    /// The answer itself if its status is below 400, else an error with the status as its code and the beginning of the
    /// body in its message.
    pub fn error_for_status(self) -> Result<Self> {
        if self.status < 400 {
            return Ok(self);
        }
        let excerpt = self.excerpt();
        let said = if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") };
        let error = Error::new(format!("{} answered with status {}{said}", shown(&self.url), self.status));
        let data = json!({ "url": shown(&self.url) });
        Err(error.with_name(HTTP_ERROR).with_code(self.status.to_string()).with_data(data))
    }

    fn error(&self, why: String) -> Error {
        Error::new(format!("the answer of {} cannot be read: {why}", shown(&self.url))).with_name(HTTP_ERROR)
    }

    fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let mut excerpt: String = text.trim().chars().take(EXCERPT_CHARS).collect();
        if excerpt.len() < text.trim().len() {
            excerpt.push('…');
        }
        excerpt
    }

    #[cfg(test)]
    pub(super) fn for_tests(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Response { url: "http://a/".to_owned(), status, headers, body: body.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::Response;

    #[test]
    fn a_body_is_text_or_json() {
        let response = Response::for_tests(200, &[("Content-Type", "application/json")], "[1]");
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.json::<Vec<u8>>().unwrap(), [1]);
        assert_eq!(response.text().unwrap(), "[1]");
        let error = response.json::<String>().unwrap_err();
        assert!(error.message().starts_with("the answer of http://a/ cannot be read"), "{error}");
        assert!(error.message().ends_with("`[1]`"), "{error}");
    }

    #[test]
    fn a_bad_status_is_an_error_with_what_the_service_said() {
        assert_eq!(Response::for_tests(302, &[], "").error_for_status().unwrap().status(), 302);
        let error = Response::for_tests(401, &[], "unknown key\n").error_for_status().unwrap_err();
        assert_eq!(error.message(), "http://a/ answered with status 401: unknown key");
        assert_eq!((error.name(), error.code()), ("HttpError", Some("401")));
        let long = Response::for_tests(500, &[], &"ü".repeat(1000)).error_for_status().unwrap_err();
        assert_eq!(long.message().chars().filter(|c| *c == 'ü').count(), 300);
    }
}

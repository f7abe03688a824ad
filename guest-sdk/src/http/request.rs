//! A request, from its first header to its answer.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    HTTP_ERROR,
    redirect::{self, CREDENTIALS},
    response::Response,
    transport,
    url::{self, Url},
};
use crate::{Error, Result, host};

/// The header in which payment services and the like look for a key.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How long a request may take unless it says otherwise: less than the minute that an attempt of a communicator has by
/// default, so that the error is that of the request and names it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A request that is being put together; [`Request::send`] sends it.
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Request {
    method: String,
    url: Result<Url>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    timeout: Duration,
    /// The first thing that was wrong, kept until it is sent so that the calls can be chained.
    failure: Option<Error>,
}

/// What is sent in one exchange, and until when its answer must be there.
pub(super) struct Outgoing<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a Url,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: &'a [u8],
    pub(super) deadline: Instant,
}

impl Request {
    pub(super) fn new(method: String, url: &str) -> Self {
        let (url, timeout) = (Url::parse(url), DEFAULT_TIMEOUT);
        Request { method, url, headers: Vec::new(), body: Vec::new(), timeout, failure: None }
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            self.fail(format!("`{name}` is not a name of a header"));
        } else if value.chars().any(|c| c.is_control() && c != '\t') {
            // The value may be a secret, so it is not shown.
            self.fail(format!("the value of the header `{name}` contains a control character"));
        }
        self.headers.push((name, value));
        self
    }

    /// Adds `Authorization: Bearer …`. It is not sent along when a redirect leads to another origin.
    pub fn bearer_token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Adds an `Idempotency-Key` header, for services that ignore a request whose key they have seen.
    ///
    /// The key is made of the workflow's id, the number of the step, and how many keys this attempt has asked for: the
    /// same in every attempt as long as the code asks in the same order, and different for each request.
    pub fn idempotency_key(self) -> Result<Self> {
        Ok(self.header(IDEMPOTENCY_KEY, host::idempotency_key()?))
    }

    /// Sets the body as it is; add a `content-type` with [`Request::header`].
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to JSON, with its content type.
    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(value).map_err(|error| http_error(format!("the body is no JSON: {error}")))?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// How long everything may take in all, redirects and the answer's body included; 30 seconds unless it is set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the request and returns the whole answer, whatever its status.
    ///
    /// An error means that there is no answer; whether the request arrived is then not known. Redirects of `GET` and
    /// `HEAD` are followed, at most five, never from `https` to `http`, and without credentials to another origin.
    pub fn send(self) -> Result<Response> {
        host::may_send_requests()?;
        let started = Instant::now();
        let deadline = started.checked_add(self.timeout).unwrap_or_else(|| started + Duration::from_secs(86_400));
        self.send_by(deadline, transport::exchange)
    }

    fn send_by(self, deadline: Instant, exchange: impl Fn(&Outgoing<'_>) -> Result<Response>) -> Result<Response> {
        let Request { method, url, mut headers, body, failure, .. } = self;
        let mut url = url?;
        failure.map_or(Ok(()), Err)?;
        let mut hops = 0;
        loop {
            let outgoing = Outgoing { method: &method, url: &url, headers: &headers, body: &body, deadline };
            let context = |error: Error| error.context(format!("{method} {}", url::shown(&url.to_string())));
            let response = exchange(&outgoing).map_err(context)?;
            let Some(hop) = redirect::next(&method, &url, response.status(), response.header("location"), hops)? else {
                return Ok(response);
            };
            if !hop.keeps_credentials {
                headers.retain(|(name, _)| !CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential)));
            }
            url = hop.url;
            hops += 1;
        }
    }

    fn fail(&mut self, message: String) {
        self.failure.get_or_insert_with(|| http_error(message));
    }
}

/// An error in how the request is written, which another attempt would repeat.
fn http_error(message: String) -> Error {
    Error::new(message).with_name(HTTP_ERROR).do_not_retry()
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, time::Instant};

    use super::{Outgoing, Response};
    use crate::{Error, Result, http};

    /// Sends to a world in which `/old` is now at another origin.
    fn send(request: http::Request) -> (Result<Response>, Vec<String>) {
        let seen = RefCell::new(Vec::new());
        let exchange = |outgoing: &Outgoing<'_>| {
            let names: Vec<&str> = outgoing.headers.iter().map(|(name, _)| name.as_str()).collect();
            seen.borrow_mut().push(format!("{} {} {}", outgoing.method, outgoing.url, names.join(",")));
            match outgoing.url.path_and_query.as_str() {
                "/old" => Ok(Response::for_tests(302, &[("Location", "https://b/new")], "")),
                "/down" => Err(Error::new("connection refused")),
                _ => Ok(Response::for_tests(200, &[], "here")),
            }
        };
        let result = request.send_by(Instant::now(), exchange);
        (result, seen.into_inner())
    }

    #[test]
    fn a_redirect_to_another_origin_is_followed_without_credentials() {
        let (result, seen) = send(http::get("https://a/old").bearer_token("secret").header("accept", "text/plain"));
        assert_eq!(result.unwrap().text().unwrap(), "here");
        assert_eq!(seen, ["GET https://a/old authorization,accept", "GET https://b/new accept"]);
    }

    #[test]
    fn a_redirect_of_a_post_is_the_answer() {
        let (result, seen) = send(http::post("https://a/old").json(&1).unwrap());
        assert_eq!(result.unwrap().status(), 302);
        assert_eq!(seen, ["POST https://a/old content-type"]);
    }

    #[test]
    fn an_error_names_the_request() {
        let (result, _) = send(http::get("https://a/down"));
        assert_eq!(result.unwrap_err().message(), "GET https://a/down: connection refused");
    }

    #[test]
    fn an_error_does_not_show_the_query() {
        let down = |outgoing: &Outgoing<'_>| Err(Error::new(format!("no {}", outgoing.url.authority)));
        let result = http::get("https://a/b?key=sesame").send_by(Instant::now(), down);
        assert_eq!(result.unwrap_err().message(), "GET https://a/b: no a");
    }

    #[test]
    fn nothing_is_sent_of_a_request_that_is_wrong() {
        let (result, seen) = send(http::get("https://a/").header("a b", "c").header("x", "y\r\nz: injected"));
        assert_eq!(result.unwrap_err().message(), "`a b` is not a name of a header");
        assert!(
            send(http::get("https://a/").header("x", "y\nz")).0.unwrap_err().message().contains("control character")
        );
        assert!(send(http::get("a/")).0.unwrap_err().message().contains("must begin with"));
        assert!(seen.is_empty());
    }
}

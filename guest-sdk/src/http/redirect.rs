//! Whether, and where to, a redirect is followed: a pure decision.
//!
//! A client that follows everything can be led anywhere, with its credentials. So only requests that change nothing are
//! followed, a few times, never from a protected connection to an open one, and what proves who is asking stays at
//! home.

use super::{
    HTTP_ERROR,
    url::{Scheme, Url, shown},
};
use crate::{Error, Result};

/// How many redirects are followed. Honest services need one or two (to `https`, to a canonical host, to a store of
/// files); more are a loop or a trap.
pub(super) const MOST_HOPS: usize = 5;

/// Headers that prove who is asking, which another origin must not see.
pub(super) const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Where to go next.
#[derive(Debug, PartialEq)]
pub(super) struct Hop {
    pub(super) url: Url,
    /// False when the next URL belongs to somebody else.
    pub(super) keeps_credentials: bool,
}

/// Decides on an answer with `status` and `location` to a request by `method` to `from`, after `hops` redirects. `None`
/// means that the answer is the answer.
pub(super) fn next(method: &str, from: &Url, status: u16, location: Option<&str>, hops: usize) -> Result<Option<Hop>> {
    let follows = matches!(method, "GET" | "HEAD") && matches!(status, 301 | 302 | 303 | 307 | 308);
    let Some(location) = location.filter(|_| follows) else { return Ok(None) };
    let refuse = |why: String| Err(Error::new(why).with_name(HTTP_ERROR).with_code("redirect").do_not_retry());
    if hops == MOST_HOPS {
        return refuse(format!("`{}` redirects again after {MOST_HOPS} redirects", shown(&from.to_string())));
    }
    let url = from.join(location)?;
    if from.scheme == Scheme::Https && url.scheme == Scheme::Http {
        let (from, url) = (from.to_string(), url.to_string());
        return refuse(format!("`{}` redirects to `{}`, which is not protected by TLS", shown(&from), shown(&url)));
    }
    let keeps_credentials = from.same_origin(&url);
    Ok(Some(Hop { url, keeps_credentials }))
}

#[cfg(test)]
mod tests {
    use super::{Hop, MOST_HOPS, Url, next};
    use crate::Result;

    fn decide(method: &str, status: u16, location: &str) -> Result<Option<Hop>> {
        next(method, &Url::parse("https://a/x").unwrap(), status, Some(location), 0)
    }

    #[test]
    fn requests_that_change_nothing_are_followed() {
        for status in [301, 302, 303, 307, 308] {
            let hop = decide("GET", status, "/y").unwrap().unwrap();
            assert_eq!((hop.url.to_string(), hop.keeps_credentials), ("https://a/y".to_owned(), true));
        }
        assert!(decide("HEAD", 302, "/y").unwrap().is_some());
        assert_eq!(decide("POST", 303, "/y").unwrap(), None);
        assert_eq!(decide("GET", 304, "/y").unwrap(), None);
        assert_eq!(next("GET", &Url::parse("https://a/x").unwrap(), 302, None, 0).unwrap(), None);
    }

    #[test]
    fn another_origin_sees_no_credentials() {
        assert!(!decide("GET", 302, "https://b/").unwrap().unwrap().keeps_credentials);
        assert!(!decide("GET", 302, "https://a:8443/").unwrap().unwrap().keeps_credentials);
    }

    #[test]
    fn never_to_an_open_connection_and_not_for_ever() {
        assert!(decide("GET", 302, "http://a/").unwrap_err().message().contains("not protected by TLS"));
        let from = Url::parse("https://a/x").unwrap();
        let error = next("GET", &from, 302, Some("/x"), MOST_HOPS).unwrap_err();
        assert_eq!(error.message(), "`https://a/x` redirects again after 5 redirects");
    }
}

//! How long a client wants to wait: `Prefer` (RFC 7240) and `?wait=`.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::problem::Problem;
use crate::workflow::{Code, excerpt};

/// How long a request waits for a result if its client does not say. Most proxies cut a silent request off after a
/// minute, so there is no use in more; and a client that gets `202` asks again.
const DEFAULT_WAIT: Duration = Duration::from_secs(55);

/// The longest wait. It holds one of `limits.requests` and a connection, and whoever waits that long may as well ask
/// again every five minutes.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// How long the client of this request wants to wait for a result.
///
/// `?wait=` counts before `Prefer: wait=`; `Prefer: respond-async` alone is no wait at all. What is longer than the
/// longest wait is that.
pub(super) fn wait(parts: &Parts) -> Result<Duration, Problem> {
    let preferred = Preferences::of(&parts.headers);
    let asked = parts.uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("wait=")));
    let seconds = match asked {
        Some(text) => Some(seconds(text).ok_or_else(|| {
            let text = format!("`wait` in the query string is `{}`: expected a whole number of seconds", excerpt(text));
            Problem::new(StatusCode::BAD_REQUEST, Code("bad_parameter"), text).with("parameter", "wait")
        })?),
        None => preferred.wait,
    };
    Ok(match seconds {
        Some(seconds) => Duration::from_secs(seconds).min(MAX_WAIT),
        None if preferred.respond_async => Duration::ZERO,
        None => DEFAULT_WAIT,
    })
}

#[derive(Debug, Default, PartialEq)]
struct Preferences {
    respond_async: bool,
    wait: Option<u64>,
}

impl Preferences {
    /// Preferences are wishes: what cannot be read is passed over. The first of each name counts.
    fn of(headers: &HeaderMap) -> Self {
        let mut preferences = Self::default();
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for preference in values.flat_map(|value| value.split(',')) {
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let name = name.trim().to_ascii_lowercase();
            match name.as_str() {
                "respond-async" => preferences.respond_async = true,
                "wait" => preferences.wait = preferences.wait.or_else(|| seconds(value.trim().trim_matches('"'))),
                _ => {}
            }
        }
        preferences
    }
}

/// Digits only; a number that is too large for any clock is the longest wait.
fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn waited(target: &str, preferences: &[&'static str]) -> Result<u64, ()> {
        let mut request = Request::get(target).body(()).expect("a request");
        for preference in preferences {
            request.headers_mut().append("prefer", HeaderValue::from_static(preference));
        }
        wait(&request.into_parts().0).map(|wait| wait.as_secs()).map_err(|_| ())
    }

    #[test]
    fn the_client_says_how_long_it_waits() {
        for (target, preferences, expected) in [
            ("/r", &[][..], 55),
            ("/r", &["wait=10"], 10),
            ("/r", &["handling=lenient; x=1, Wait = \"7\";y"], 7),
            ("/r", &["wait=0"], 0),
            ("/r", &["wait=1000000"], 300),
            ("/r", &["wait=99999999999999999999999"], 300),
            ("/r", &["Respond-Async"], 0),
            ("/r", &["respond-async", "wait=5"], 5),
            ("/r", &["wait=soon"], 55),
            ("/r?wait=3", &["wait=10"], 3),
            ("/r?a=b&wait=3", &["respond-async"], 3),
        ] {
            assert_eq!(waited(target, preferences), Ok(expected), "{target} {preferences:?}");
        }
        for wrong in ["/r?wait=", "/r?wait=-1", "/r?wait=1s", "/r?wait=1.5"] {
            assert_eq!(waited(wrong, &[]), Err(()), "{wrong}");
        }
    }
}

//! Who may ask: programs on this machine, and whoever comes through a tunnel. Not pages in a browser.
//!
//! Problem: that a server listens on the loopback address keeps no browser out. A page from anywhere can send a POST to
//! `http://127.0.0.1:3001`, and though it cannot read the answer, the workflow is cancelled; and by a name of its own that
//! resolves to 127.0.0.1 (DNS rebinding) it can read the answer too. Browsers say both: `Origin` or `Sec-Fetch-Site` with
//! the first, the name in `Host` with the second. Programs send neither, so nothing else needs to be known.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::trigger::Problem;
use crate::workflow::Code;

/// How long an answer may take. Far more than a list or a take-over needs; without a limit, a database that does not answer
/// would collect requests for as long as it is silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lets a request through, or answers it.
pub(super) async fn check(request: Request, next: Next) -> Response {
    if let Err(reason) = refusal(request.headers()) {
        return Problem::new(StatusCode::FORBIDDEN, Code("forbidden_request"), reason).into_response();
    }
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => unavailable(),
    }
}

/// The answer when the database gives none.
pub(super) fn unavailable() -> Response {
    let text = "the database does not answer; try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code("database_unavailable"), text)
        .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
        .into_response()
}

/// Why a request is refused.
fn refusal(headers: &HeaderMap) -> Result<(), String> {
    if headers.contains_key(header::ORIGIN) {
        return Err(
            "the request comes from a page in a browser (it has an `Origin`); the admin server answers programs \
                    only"
                .into(),
        );
    }
    // `none` is a person who typed the address.
    if headers.get("sec-fetch-site").is_some_and(|site| site != "none" && site != "same-origin") {
        return Err(
            "the request comes from a page in a browser (see `Sec-Fetch-Site`); the admin server answers programs \
                    only"
                .into(),
        );
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_this_machine(host) {
        return Ok(());
    }
    Err(format!(
        "`Host` is `{}`, which is no name of this machine; ask for `localhost` or `127.0.0.1`, through a tunnel if need be",
        host.escape_debug()
    ))
}

/// `localhost`, or an address of the loopback network, with any port: a tunnel may have another one at its near end.
fn is_this_machine(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        refusal(&headers).is_err()
    }

    #[test]
    fn names_of_this_machine_are_told_from_others() {
        for host in
            ["localhost", "LOCALHOST:3001", "127.0.0.1:3001", "127.1.2.3", "[::1]:9000", "[::1]", "localhost:80"]
        {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:3001",
            "localhost.evil.example",
            "10.0.0.1:3001",
            "localhost:80:80",
            "[::]",
            "0.0.0.0",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn pages_in_a_browser_are_refused_and_programs_are_not() {
        assert!(!is_refused(&[("host", "localhost:3001")]));
        assert!(!is_refused(&[("host", "localhost:3001"), ("sec-fetch-site", "none")]));
        assert!(is_refused(&[("host", "localhost:3001"), ("origin", "http://localhost:3001")]));
        assert!(is_refused(&[("host", "localhost:3001"), ("origin", "null")]));
        assert!(is_refused(&[("host", "localhost:3001"), ("sec-fetch-site", "cross-site")]));
        assert!(is_refused(&[("host", "localhost:3001"), ("sec-fetch-site", "same-site")]));
        assert!(is_refused(&[("host", "rebound.example")]) && is_refused(&[]));
    }
}

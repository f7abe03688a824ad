//! Outgoing HTTP: which hosts a communicator may talk to, and the client that does it.
//!
//! The guest is not trusted with the network of its host. Nothing is allowed unless the operator lists it, the scheme and
//! port count, and redirects are not followed here: the guest follows them itself, and each hop is checked like the first.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use http_body_util::{BodyExt, BodyStream};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// How long a connection may take to open, unless the guest asks for less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a request's body is handed over at once, in bytes; two of these wait until the network takes them. A guest
/// may have hundreds of bodies open.
pub(super) const BODY_PIECE: usize = 64 * 1024;

/// The hosts that an app may talk to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowList(pub Vec<Origin>);

/// One entry: `https://api.example.com`, `http://localhost:8080`, `https://*.example.com` for every host below a domain,
/// or `*` for everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Pattern);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Everything,
    Origin { scheme: http::uri::Scheme, host: String, any_subdomain: bool, port: u16 },
}

impl AllowList {
    /// True when a request to `uri` is allowed.
    #[must_use]
    pub fn allows(&self, uri: &http::Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme(), uri.host()) else { return false };
        let port = uri.port_u16().unwrap_or_else(|| default_port(scheme));
        // A name with a final dot is the same name, written in full.
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.0.iter().any(|entry| match &entry.0 {
            Pattern::Everything => true,
            Pattern::Origin { scheme: s, host: allowed, any_subdomain, port: p } => {
                let host_fits = if *any_subdomain {
                    host.strip_suffix(allowed.as_str()).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
                } else {
                    host == *allowed
                };
                s == scheme && *p == port && host_fits
            }
        })
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(entry: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected an origin, like `https://api.example.com`, `http://localhost:8080` or `https://*.example.com`, or `*`";
        if entry == "*" {
            return Ok(Self(Pattern::Everything));
        }
        let (entry, any_subdomain) = match entry.split_once("://*.") {
            Some((scheme, rest)) => (format!("{scheme}://{rest}"), true),
            None => (entry.to_owned(), false),
        };
        let uri: http::Uri = entry.parse().map_err(|_| EXPECTED)?;
        let (Some(scheme), Some(host)) = (uri.scheme().cloned(), uri.host()) else { return Err(EXPECTED) };
        if scheme != http::uri::Scheme::HTTP && scheme != http::uri::Scheme::HTTPS {
            return Err("expected the scheme `http` or `https`");
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err("expected an origin without a path: every path of a host is allowed, or none");
        }
        // The parser drops the one and skips the other, and what the operator meant by them would be lost.
        if entry.contains(['#', '@']) {
            return Err("expected an origin without a fragment, a user or a password");
        }
        if host.contains('*') {
            return Err("expected a `*` only as the first label of the host, like `https://*.example.com`");
        }
        let port = uri.port_u16().unwrap_or_else(|| default_port(&scheme));
        // Without the final dot, as the hosts of requests are compared.
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Ok(Self(Pattern::Origin { scheme, host, any_subdomain, port }))
    }
}

fn default_port(scheme: &http::uri::Scheme) -> u16 {
    if *scheme == http::uri::Scheme::HTTPS { 443 } else { 80 }
}

/// The way out of an instance (lifetime: the app; cloned for each communicator).
#[derive(Debug, Clone)]
pub struct Outbound(Option<Arc<Way>>);

#[derive(Debug)]
struct Way {
    client: reqwest::Client,
    allow: AllowList,
}

impl Outbound {
    /// No way out: every request is refused with a sentence that names the phase.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// A client for the hosts of `allow`: no redirects, no proxies of the environment, no decompression.
    ///
    /// # Errors
    /// When the TLS client cannot be made (the system has no root certificates, say).
    pub fn to(allow: AllowList) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(Self(Some(Arc::new(Way { client, allow }))))
    }
}

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Outbound {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_PIECE
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _answered: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let way = self.0.clone();
        Box::new(async move {
            let Some(way) = way else {
                return Err(Error::InternalError(Some("outgoing HTTP is only available in a communicator".into())));
            };
            if !way.allow.allows(request.uri()) {
                let (scheme, authority) = (request.uri().scheme_str(), request.uri().authority());
                let origin =
                    format!("{}://{}", scheme.unwrap_or("?"), authority.map_or("?", http::uri::Authority::as_str));
                tracing::warn!("a request to `{origin}` was refused: it is not in `outbound.allow`");
                return Err(Error::HttpRequestDenied);
            }
            way.send(request, options).await
        })
    }
}

impl Way {
    async fn send(&self, request: http::Request<WasiBody>, options: Option<RequestOptions>) -> Sent {
        let (parts, body) = request.into_parts();
        let frames = BodyStream::new(body).try_filter_map(async |frame| Ok(frame.into_data().ok()));
        let body = reqwest::Body::wrap_stream(frames.map_err(|error| std::io::Error::other(format!("{error:?}"))));
        let mut sent = http::Request::from_parts(parts, body);
        // The client sets it from the address, as it must be.
        sent.headers_mut().remove(http::header::HOST);
        let mut sent = reqwest::Request::try_from(sent).map_err(|error| internal(&error))?;
        let first_byte = options.as_ref().and_then(|options| options.first_byte_timeout);
        *sent.timeout_mut() = None;
        let answer = self.client.execute(sent);
        let answer = match first_byte {
            Some(limit) => tokio::time::timeout(limit, answer).await.map_err(|_| Error::ConnectionTimeout)?,
            None => answer.await,
        };
        let answer: http::Response<reqwest::Body> = answer.map_err(|error| internal(&error))?.into();
        let answer = answer.map(|body| body.map_err(|error| internal(&error)).boxed_unsync());
        Ok((answer, Box::new(async { Ok(()) })))
    }
}

/// What the guest is told when a request fails: the whole chain of causes, without the address, which may hold secrets.
fn internal(error: &dyn std::error::Error) -> Error {
    let mut text = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    Error::InternalError(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entries: &[&str], uri: &str) -> bool {
        let list = entries.iter().map(|entry| entry.parse().unwrap()).collect();
        AllowList(list).allows(&uri.parse().unwrap())
    }

    #[test]
    fn scheme_host_and_port_count() {
        let list = ["https://api.example.com", "http://localhost:8080"];
        assert!(allows(&list, "https://api.example.com/v1?x=1"));
        assert!(allows(&list, "https://API.example.com:443/"));
        assert!(allows(&list, "http://localhost:8080/key"));
        assert!(
            allows(&list, "https://api.example.com./") && allows(&["https://a.example.com."], "https://a.example.com/")
        );
        assert!(!allows(&list, "http://api.example.com/"));
        assert!(!allows(&list, "https://api.example.com:8443/"));
        assert!(!allows(&list, "http://localhost/"));
        assert!(!allows(&list, "https://api.example.com.evil.net/"));
        assert!(!allows(&[], "https://api.example.com/"));
    }

    #[test]
    fn a_star_stands_for_subdomains_only() {
        let list = ["https://*.example.com"];
        assert!(allows(&list, "https://a.b.example.com/"));
        assert!(!allows(&list, "https://example.com/"));
        assert!(!allows(&list, "https://badexample.com/"));
        assert!(allows(&["*"], "http://anything:1/"));
    }

    #[test]
    fn entries_that_mean_nothing_are_refused() {
        for entry in [
            "example.com",
            "localhost:8080",
            "ftp://x",
            "https://x/path",
            "https://a.*.b",
            "https://x#y",
            "https://u:p@x",
        ] {
            assert!(entry.parse::<Origin>().unwrap_err().starts_with("expected"), "{entry}");
        }
    }
}

//! Outgoing HTTP: where a communicator may send requests, and the client that does it.
//!
//! The guest is not trusted with the network of its host. A request passes two checks. Its origin must be on the list of
//! the operator ([`AllowList`]); and the address that it goes to must be public, or granted. The second is there because
//! a name proves nothing: whoever owns it decides, at each look-up anew, whether it leads to a service or to the
//! database, the metadata of the cloud or the router beside this host. So the check is not of a name, but of the very
//! addresses that are connected to, where they are found ([`resolver`]).
//!
//! Both checks look at the URL as the client understands it, never at the text that the guest wrote: what two parsers
//! read differently, one of them checks and the other one follows. Redirects are not followed here: the guest follows
//! them itself, and each hop is checked like the first. Nothing here must know phases or instances.

mod address;
mod allow;
#[cfg(feature = "failpoints")]
mod fuzz;
mod resolver;

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use http_body_util::{BodyExt, BodyStream};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

pub use self::address::Network;
pub use self::allow::{AllowList, Origin};
use self::allow::{Reach, Refusal};
#[cfg(feature = "failpoints")]
pub use self::fuzz::outbound as fuzz_outbound;
use self::resolver::{Prohibited, Resolver};
use super::log_budget::{LogBudget, Verdict};
use crate::workflow::excerpt;

/// How long a connection may take to open, unless the guest asks for less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a request's body is handed over at once, in bytes; two of these wait until the network takes them. A guest
/// may have hundreds of bodies open.
pub(super) const BODY_PIECE: usize = 64 * 1024;

/// What the host says of refused requests of an app, in bytes a second: a guest can have one refused every few
/// microseconds, and what the host itself writes is not within the budget of the app's lines. Some hundred refusals a
/// second are more than anybody reads.
const SAID_PER_SECOND: u64 = 32 * 1024;

/// The way out of an instance (lifetime: the app; cloned for each communicator).
#[derive(Debug, Clone)]
pub struct Outbound(Option<Arc<Way>>);

/// Each client keeps its connections to itself, so none that one rule has let through serves a request under another.
#[derive(Debug)]
struct Way {
    allow: AllowList,
    /// For addresses that are public or granted.
    anywhere: reqwest::Client,
    /// For `localhost`, where it is listed.
    this_machine: reqwest::Client,
    said: LogBudget,
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
        let client = |reach| {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .dns_resolver(Resolver::new(reach, allow.private.clone()))
                .build()
        };
        let (anywhere, this_machine) = (client(Reach::Anywhere)?, client(Reach::ThisMachine)?);
        let said = LogBudget::new(SAID_PER_SECOND);
        Ok(Self(Some(Arc::new(Way { allow, anywhere, this_machine, said }))))
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
        let mut sent = reqwest::Request::try_from(sent).map_err(|_| Error::HttpRequestUriInvalid)?;
        let origin = sent.url().origin().ascii_serialization();
        let client = match self.allow.decide(sent.url()) {
            Ok(Reach::Anywhere) => &self.anywhere,
            Ok(Reach::ThisMachine) => &self.this_machine,
            Err(Refusal::NotListed) => {
                let origin = excerpt(&origin);
                self.warn(&format!("a request to `{origin}` was refused: it is not in `outbound.allow`"));
                return Err(Error::HttpRequestDenied);
            }
            Err(Refusal::Address(prohibited)) => return Err(self.prohibited_at(&origin, &prohibited)),
        };
        let first_byte = options.as_ref().and_then(|options| options.first_byte_timeout);
        *sent.timeout_mut() = None;
        let answer = client.execute(sent);
        let answer = match first_byte {
            Some(limit) => tokio::time::timeout(limit, answer).await.map_err(|_| Error::ConnectionTimeout)?,
            None => answer.await,
        };
        let answer = answer.map_err(|error| match find::<Prohibited>(&error) {
            Some(prohibited) => self.prohibited_at(&origin, prohibited),
            None => internal(error),
        });
        let answer: http::Response<reqwest::Body> = answer?.into();
        let answer = answer.map(|body| body.map_err(internal).boxed_unsync());
        Ok((answer, Box::new(async { Ok(()) })))
    }

    /// The operator learns where a name leads; the guest does not, or it could map the network that it is kept out of.
    fn prohibited_at(&self, origin: &str, prohibited: &Prohibited) -> Error {
        let (origin, reason) = (excerpt(origin), prohibited.to_string());
        self.warn(&format!(
            "a request to `{origin}` was refused: {}; if it is meant to be reached, add its network to `outbound.private`",
            excerpt(&reason)
        ));
        Error::DestinationIpProhibited
    }

    /// Warns the operator, unless the guest makes it too often.
    fn warn(&self, text: &str) {
        match self.said.spend(text.len()) {
            Verdict::Drop => {}
            Verdict::Print => tracing::warn!("{text}"),
            Verdict::PrintBehind(left_out) => tracing::warn!("{text}; {left_out} like it were not written"),
        }
    }
}

/// A cause of this type, if the error has one.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// What the guest is told when a request fails: the whole chain of causes, without the address, which may hold secrets.
fn internal(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    Error::InternalError(Some(text))
}

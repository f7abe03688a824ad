//! `wasi:http`: as wasmtime-wasi-http has it, except that only a communicator may send a request, and that the parts of a
//! request have lengths that make sense: the host keeps them, and a guest may have hundreds of requests open.
//!
//! The hook that sends a request can refuse it too, but its refusal is an answer that the guest has to wait for; a guest
//! waits with a timer, and in a workflow that timer would end the run with an error about clocks. So the refusal must
//! come from the call itself.

use http::{HeaderName, HeaderValue};
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, Host as _, HostOutgoingRequest as _, Method, RequestOptions, Scheme,
};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};

use super::guest::{Guest, Phase, unwind};
use crate::failpoint;
use crate::workflow::TraceContext;

/// The name under which wasmtime-wasi-http defines the interface. A guest that imports an earlier 0.2 gets it as well.
const INTERFACE: &str = "wasi:http/outgoing-handler@0.2.12";

/// The same for requests that are being put together.
const TYPES: &str = "wasi:http/types@0.2.12";

/// The longest method, scheme, host or path, in bytes. Servers take paths of about this length; names of hosts end at 253.
const MAX_PART: usize = 8 * 1024;

type Arguments = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);
type Answer = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

/// Replaces the functions by those that ask for the phase and look at lengths.
///
/// # Errors
/// When the linker may not shadow what it has.
pub(super) fn guard<T: AsMut<Guest> + Send + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap_async("handle", |mut store, (request, options): Arguments| {
        Box::new(async move {
            let answer: Answer = send(store.data_mut().as_mut(), request, options).await?;
            Ok((answer,))
        })
    })?;
    let mut types = linker.instance(TYPES)?;
    type Request = Resource<HostOutgoingRequest>;
    // The interface has no other word for "not valid" than an error without a text.
    types.func_wrap("[method]outgoing-request.set-method", |mut store, (request, method): (Request, Method)| {
        let fits = !matches!(&method, Method::Other(text) if text.len() > MAX_PART);
        let mut http = store.data_mut().as_mut().http();
        Ok((if fits { http.set_method(request, method)? } else { Err(()) },))
    })?;
    types.func_wrap(
        "[method]outgoing-request.set-scheme",
        |mut store, (request, scheme): (Request, Option<Scheme>)| {
            let fits = !matches!(&scheme, Some(Scheme::Other(text)) if text.len() > MAX_PART);
            let mut http = store.data_mut().as_mut().http();
            Ok((if fits { http.set_scheme(request, scheme)? } else { Err(()) },))
        },
    )?;
    let fits = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= MAX_PART);
    types.func_wrap("[method]outgoing-request.set-authority", move |mut store, (request, text): (Request, _)| {
        let mut http = store.data_mut().as_mut().http();
        Ok((if fits(&text) { http.set_authority(request, text)? } else { Err(()) },))
    })?;
    types.func_wrap("[method]outgoing-request.set-path-with-query", move |mut store, (request, text): (Request, _)| {
        let mut http = store.data_mut().as_mut().http();
        Ok((if fits(&text) { http.set_path_with_query(request, text)? } else { Err(()) },))
    })
}

async fn send(
    guest: &mut Guest,
    request: Resource<HostOutgoingRequest>,
    options: Option<Resource<RequestOptions>>,
) -> wasmtime::Result<Answer> {
    let Phase::Communicator(calls) = guest.phase_mut() else {
        let text = "outgoing HTTP is only available in a communicator";
        return Ok(Err(ErrorCode::InternalError(Some(text.into()))));
    };
    // This is where a step acts.
    unwind(calls.clear().await)?;
    failpoint::hit("communicator.before_request").await;
    if let Some(trace) = calls.trace {
        carry_trace(guest, &request, trace)?;
    }
    let mut http = guest.http();
    match http.handle(request, options) {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => http.convert_error_code(error).map(Err),
    }
}

/// The header by which a trace goes on.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Puts the run's trace into a request, with a span of its own. A guest that keeps traces itself has written the header
/// already, and knows better.
fn carry_trace(
    guest: &mut Guest,
    request: &Resource<HostOutgoingRequest>,
    trace: TraceContext,
) -> wasmtime::Result<()> {
    let request = guest.table.get_mut(request)?;
    if request.headers.contains_key(&TRACEPARENT) {
        return Ok(());
    }
    let mut span = [0; 8];
    getrandom::fill(&mut span).map_err(|error| wasmtime::Error::msg(error.to_string()))?;
    let value = HeaderValue::from_str(&trace.with_span(u64::from_be_bytes(span)).to_header());
    let mut headers = http::HeaderMap::clone(&request.headers);
    headers.insert(TRACEPARENT, value.expect("hexadecimal digits and hyphens are visible ASCII"));
    request.headers = FieldMap::new_immutable(&mut guest.outbound, headers);
    Ok(())
}

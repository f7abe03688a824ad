//! `wasi:http/outgoing-handler`: as wasmtime-wasi-http has it, except that only a communicator may send a request.
//!
//! The hook that sends a request can refuse it too, but its refusal is an answer that the guest has to wait for; a guest
//! waits with a timer, and in a workflow that timer would end the run with an error about clocks. So the refusal must
//! come from the call itself.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Host as _, RequestOptions};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};

use super::guest::{Guest, Phase};

/// The name under which wasmtime-wasi-http defines the interface. A guest that imports an earlier 0.2 gets it as well.
const INTERFACE: &str = "wasi:http/outgoing-handler@0.2.12";

type Arguments = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);
type Answer = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

/// Replaces the interface by the one that asks for the phase.
///
/// # Errors
/// When the linker may not shadow what it has.
pub(super) fn guard<T: AsMut<Guest> + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap("handle", |mut store, (request, options): Arguments| {
        let answer: Answer = send(store.data_mut().as_mut(), request, options)?;
        Ok((answer,))
    })
}

fn send(
    guest: &mut Guest,
    request: Resource<HostOutgoingRequest>,
    options: Option<Resource<RequestOptions>>,
) -> wasmtime::Result<Answer> {
    if !matches!(guest.phase(), Phase::Communicator(_)) {
        let text = "outgoing HTTP is only available in a communicator";
        return Ok(Err(ErrorCode::InternalError(Some(text.into()))));
    }
    let mut http = guest.http();
    match http.handle(request, options) {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => http.convert_error_code(error).map(Err),
    }
}

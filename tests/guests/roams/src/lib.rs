//! Asks whatever URLs it is given, by the SDK and past it.

use dbos_guest::prelude::*;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

/// With a header of this name, unless it is empty.
#[communicator]
fn ask(url: &str, header: &str) -> Result<String> {
    let request = http::get(url);
    let request = if header.is_empty() { request } else { request.header(header, "evil.example") };
    request.send()?.error_for_status()?.text()
}

/// What the workflow is told for each URL, one after the other.
#[workflow]
fn asks(urls: Vec<String>, header: &str) -> Result<Vec<String>> {
    let told = urls.iter().map(|url| ask(url, header).unwrap_or_else(|error| format!("error: {error}")));
    Ok(told.collect())
}

/// Puts a request together as the SDK never would. What comes back is whether it was taken, and what became of it.
#[communicator]
fn ask_raw(authority: &str, path: &str) -> Result<String> {
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    if set.is_err() {
        return Ok("not taken".to_owned());
    }
    let answer = match outgoing_handler::handle(request, None) {
        Ok(answer) => answer,
        Err(code) => return Ok(format!("{code:?}")),
    };
    answer.subscribe().block();
    Ok(match answer.get() {
        Some(Ok(Ok(answer))) => answer.status().to_string(),
        Some(Ok(Err(code))) => format!("{code:?}"),
        _ => bail!("the answer cannot be read"),
    })
}

#[workflow]
fn asks_raw(requests: Vec<(String, String)>) -> Result<Vec<String>> {
    requests.iter().map(|(authority, path)| ask_raw(authority, path)).collect()
}

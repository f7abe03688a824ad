//! What the host calls.
//!
//! Each function translates between the types of the contract and those of this crate, and does nothing else. The
//! component that is built from a user's crate exports them although the crate does not mention them: the symbols of a
//! dependency's exports are kept by the linker.

use crate::{
    Request, Response,
    bindings::exports::dbos::host::app::{self, Guest},
    host::{self, Level},
    manifest, panic, registry,
    web::problem,
};

struct Component;

#[expect(
    unsafe_code,
    reason = "an export is a symbol of its own choice that takes raw memory from the host; it is generated"
)]
mod symbols {
    use super::Component;

    crate::bindings::export!(Component with_types_in crate::bindings);
}

impl Guest for Component {
    fn describe() -> String {
        panic::install_hook();
        manifest::describe()
    }

    fn run_workflow(name: String, arguments: String) -> Result<String, app::Failure> {
        panic::install_hook();
        registry::run_workflow(&name, &arguments).map_err(|error| host::into_failure(&error))
    }

    fn run_step(name: String, arguments: String) -> Result<String, app::Failure> {
        panic::install_hook();
        registry::run_step(&name, &arguments).map_err(|error| host::into_failure(&error))
    }

    fn handle(route: String, request: app::Request) -> app::Response {
        panic::install_hook();
        let app::Request { method, path, path_parameters, query, headers, body } = request;
        let request = Request { method, path, path_parameters, query, headers, body };
        let Response { status, headers, body } = registry::handle(&route, request).unwrap_or_else(|error| {
            let answer = problem(&error);
            // The client gets the message too, but whoever runs the app must not depend on clients to tell.
            if answer.status() >= 500 {
                host::log(Level::Error, &format!("the handler `{route}` failed: {error}"));
            }
            answer
        });
        app::Response { status, headers, body }
    }
}

//! The attribute macros of `dbos-guest`; use them through that crate.
//!
//! A workflow must be written like a plain function and called like one, yet a call must not run its body: it has to
//! go to the host, which runs the body in another instance and records the result. So each macro splits a function in
//! two: the body, registered under a public name and run by the host, and a function of the same name and parameters
//! that makes the call. What would fail at run time because of how the function is written is refused here, with a
//! sentence at the place.
//!
//! The entry points are below; the work is done on `proc_macro2` tokens in the modules, so that tests can look at it.
//! This crate must not know what the host does with a call, only the names in `dbos_guest::__private`.

mod attributes;
mod durable;
mod duration;
mod function;
mod name;
mod options;
mod path;
mod route;

use proc_macro::TokenStream;

use crate::{durable::Kind, route::Method};

/// Makes a function a **workflow**: once its start is acknowledged it runs to its end, whatever crashes, and has one
/// outcome.
///
/// * `greet(name)?` starts a run and waits for its result.
/// * `greet::start(name)?` starts a run and returns a `Handle` at once.
/// * `greet::start_with(StartOptions::new().id("order-17"), name)?` starts it under an id of the caller's choice.
///
/// The functions above return `dbos_guest::Result<T>`, where `T` is what the body returns (inside `Result`, or plain).
/// Everything that the body does outside its own memory must be a call of a step, of another workflow, or of `sleep`.
///
/// Option: `name = "…"`, the public name, if it should stay the same when the function is renamed. Runs are recorded
/// under it.
///
/// Parameters are taken by value or by `&` reference; their types need `Serialize`, `DeserializeOwned` and
/// `JsonSchema`, and so does the result. An `Option` parameter may be left out by a caller.
#[proc_macro_attribute]
pub fn workflow(options: TokenStream, item: TokenStream) -> TokenStream {
    durable_function(Kind::Workflow, options, item)
}

/// Makes a function a **transaction**: a step that runs SQL in one database transaction together with its record, so it
/// takes effect exactly once.
///
/// Call it like any function, from a workflow or a handler; it returns `dbos_guest::Result<T>`. An error rolls it back.
/// The body may run more than once (after a serialization failure), but only one run of it is ever committed.
///
/// Options:
/// * `isolation = "serializable"` (default), `"repeatable read"` or `"read committed"`;
/// * `read_only`: the database refuses writes; from a handler such a call is not recorded;
/// * `undo = unreserve`: the step that undoes it when its workflow fails, as for a communicator; its `result` is always there;
/// * `name = "…"`: the public name, under which the step is recorded.
#[proc_macro_attribute]
pub fn transaction(options: TokenStream, item: TokenStream) -> TokenStream {
    durable_function(Kind::Transaction, options, item)
}

/// Makes a function a **communicator**: a step that talks to the outside over HTTP. Until its result is recorded it is
/// run at least once, after that never again.
///
/// Call it like any function, from a workflow or a handler; it returns `dbos_guest::Result<T>`. A failure is recorded
/// too.
///
/// Options; durations are a whole number with a unit: `"250ms"`, `"1s"`, `"5m"`, `"2h"`:
/// * `attempts = 3`: how often it is tried in all (default 1); an error that is marked `do_not_retry` ends it at once;
/// * `interval = "1s"`: the wait before the second attempt;
/// * `backoff = 2.0`: by what the wait grows before each further one;
/// * `max_interval = "1h"`: the longest wait;
/// * `timeout = "1m"`: how long one attempt may take;
/// * `undo = refund`: the step that undoes it, see below;
/// * `name = "…"`: the public name, under which the step is recorded.
///
/// **Undo.** When a workflow ends with an error, is cancelled, or runs out of time, its steps that have an undo are undone, what
/// happened last first. The undo is a step of either kind with the same parameters and one more, `result`:
///
/// ```text
/// #[communicator(undo = refund)]
/// fn charge(order: u64, amount: u32) -> Result<Receipt> { … }
///
/// #[communicator(attempts = 10)]
/// fn refund(order: u64, amount: u32, result: Option<Receipt>) -> Result<()> { … }
/// ```
///
/// A transaction that has failed was rolled back, and is not undone. A communicator that has failed, or was under way, is undone with
/// `None`: nobody knows what it has done, so its undo has to find that out. (A result of `()` is `None` in any case: return
/// something that the undo can use.) The undos run as a workflow of their own,
/// `<id>-undo`, which is durable and recorded like any other; one that fails does not keep the others from being done. A run that
/// was undone cannot be resumed. What undoes a step is written down before the step begins, which costs a commit.
#[proc_macro_attribute]
pub fn communicator(options: TokenStream, item: TokenStream) -> TokenStream {
    durable_function(Kind::Communicator, options, item)
}

/// Answers `GET` requests to a path with this function.
///
/// ```text
/// #[get("/greeting/{name}")]
/// fn greet(name: String, shout: Option<bool>) -> Result<String> { … }
/// ```
///
/// A parameter with the name of a placeholder takes its value; any other comes from the query string (of a `POST`, `PUT`
/// or `PATCH` also from a form in its body), except `Json<T>`, which takes the body, and `Request`, which takes
/// everything. The function stays an ordinary function;
/// a `#[workflow]`, `#[transaction]` or `#[communicator]` can be bound to a path in the same way, in either order.
///
/// Option: `name = "…"` after the path, the route's public name; by default the function's.
#[proc_macro_attribute]
pub fn get(options: TokenStream, item: TokenStream) -> TokenStream {
    handler(Method::Get, options, item)
}

/// Answers `POST` requests to a path with this function; see [`macro@get`].
#[proc_macro_attribute]
pub fn post(options: TokenStream, item: TokenStream) -> TokenStream {
    handler(Method::Post, options, item)
}

/// Answers `PUT` requests to a path with this function; see [`macro@get`].
#[proc_macro_attribute]
pub fn put(options: TokenStream, item: TokenStream) -> TokenStream {
    handler(Method::Put, options, item)
}

/// Answers `PATCH` requests to a path with this function; see [`macro@get`].
#[proc_macro_attribute]
pub fn patch(options: TokenStream, item: TokenStream) -> TokenStream {
    handler(Method::Patch, options, item)
}

/// Answers `DELETE` requests to a path with this function; see [`macro@get`].
#[proc_macro_attribute]
pub fn delete(options: TokenStream, item: TokenStream) -> TokenStream {
    handler(Method::Delete, options, item)
}

fn durable_function(kind: Kind, options: TokenStream, item: TokenStream) -> TokenStream {
    let original = item.clone();
    or_error(durable::expand(kind, options.into(), item.into()), original)
}

fn handler(method: Method, options: TokenStream, item: TokenStream) -> TokenStream {
    let original = item.clone();
    or_error(route::expand(method, options.into(), item.into()), original)
}

/// The error keeps the function beside it, so that the compiler does not add "cannot find function" for each caller.
fn or_error(expanded: syn::Result<proc_macro2::TokenStream>, original: TokenStream) -> TokenStream {
    match expanded {
        Ok(tokens) => tokens.into(),
        Err(error) => {
            let mut tokens = TokenStream::from(error.into_compile_error());
            tokens.extend(original);
            tokens
        }
    }
}

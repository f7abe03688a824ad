//! Where a guest was when it panicked: the names of its functions, as its author wrote them.
//!
//! wasmtime knows the functions by the names that the component has of them, which a compiler has put together with hashes
//! and lengths, and the innermost ones are those that make a panic of an error, which are the same for every panic. What is
//! left without both is read by people.

use wasmtime::WasmBacktrace;

/// Functions that a panic passes through on its way out, by the beginnings of their names.
const MACHINERY: &[&str] = &[
    "abort",
    "__rust",
    "rust_",
    "std::panicking::",
    "std::sys::",
    "std::process::abort",
    "core::panicking::",
    "core::option::",
    "core::result::",
    "alloc::alloc::handle_alloc_error",
    "dbos_guest::panic",
];

/// What the SDK puts between the host and a function of the app, by what such names have in them.
const GLUE: &[&str] =
    &["::__dbos_run", "::__dbos_handle", "dbos_guest::export", "dbos_guest::registry", "dbos:host/app@"];

/// How a text begins that wasmtime puts in front of an error, with all functions in it.
const HEADING: &str = "error while executing at wasm backtrace";

/// The functions that an error has ended, the innermost first.
pub(super) fn of(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    let names = frames.iter().map(|frame| match frame.func_name() {
        Some(name) => readable(name),
        None => format!("function {}", frame.func_index()),
    });
    let mut names: Vec<String> = names.skip_while(|name| is_machinery(name)).collect();
    while names.last().is_some_and(|name| GLUE.iter().any(|part| name.contains(part))) {
        names.pop();
    }
    names
}

/// An error's text with its causes, without the functions.
pub(super) fn without(error: &wasmtime::Error) -> String {
    let texts = error.chain().map(ToString::to_string).filter(|text| !text.starts_with(HEADING));
    texts.collect::<Vec<_>>().join(": ")
}

/// Where the SDK puts the body of a workflow, a step or a handler, and what its name begins with there.
const BODY: &str = "::_::__dbos_body_of_";

/// The name of a function as it stands in the source, without the hash that tells it from others of the same name. A linker may
/// have taken all but the hash away already.
fn readable(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    let plain = match name.rsplit_once("::h") {
        Some((plain, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => plain,
        _ => &name,
    };
    plain.replace(BODY, "::")
}

fn is_machinery(name: &str) -> bool {
    // `<core::option::Option<T>>::unwrap` is a name, too.
    let name = name.trim_start_matches('<');
    MACHINERY.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_in_the_source() {
        assert_eq!(readable("_ZN4shop3pay17h0123456789abcdefE"), "shop::pay");
        assert_eq!(readable("shop::pay::h0123456789abcdef"), "shop::pay");
        assert_eq!(readable("_RNvCs1234_4shop3pay"), "shop::pay");
        assert_eq!(readable("shop::hash::h1"), "shop::hash::h1");
        assert_eq!(readable("main"), "main");
        let body = "_ZN4shop1_25__dbos_body_of_first_card17h0123456789abcdefE";
        assert_eq!(readable(body), "shop::first_card");
    }

    #[test]
    fn what_every_panic_passes_through_is_known() {
        for name in ["core::panicking::panic_fmt", "<core::option::Option<u8>>::unwrap", "rust_begin_unwind"] {
            assert!(is_machinery(name), "{name}");
        }
        assert!(!is_machinery("shop::rust_pay"));
    }
}

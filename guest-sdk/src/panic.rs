//! The last words of a program that panics.
//!
//! A guest is built with `panic = "abort"`, so a panic ends as a trap, and all that the host would see is
//! "unreachable". The hook tells it the message first.

use std::{
    panic::{self, PanicHookInfo},
    sync::Once,
};

use crate::host;

static INSTALLED: Once = Once::new();

/// Makes panics tell the host their message. Called at the beginning of each export; only the first call does anything.
pub(crate) fn install_hook() {
    INSTALLED.call_once(|| {
        panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
            let location = info.location().map(ToString::to_string);
            host::panic(message(info.payload()), location.as_deref());
        }));
    });
}

/// A panic's payload is text, unless somebody used `panic_any`.
fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the panic has no message")
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn the_message_of_any_panic() {
        assert_eq!(message(&"plain"), "plain");
        assert_eq!(message(&"formatted".to_owned()), "formatted");
        assert_eq!(message(&5), "the panic has no message");
    }
}

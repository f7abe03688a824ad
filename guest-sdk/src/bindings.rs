//! The Rust side of `wit/host.wit`, generated.
//!
//! Only `host` and `export` look in here: the rest of the crate, and its tests, must not know how a call crosses.

wit_bindgen::generate!({
    path: "../wit",
    world: "guest",
});

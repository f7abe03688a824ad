//! Where the programs under test are. `cargo xtask test` builds them and says so in environment variables: the host's
//! binary with fail points, the guests, the stand-in guestbook and a Python with the `dbos` package.

use std::path::{Path, PathBuf};

/// The host's binary, built with the feature `failpoints`.
#[must_use]
pub fn host() -> PathBuf {
    variable("DBOS_HOST_BIN")
}

/// The example's guestbook server.
#[must_use]
pub fn guestbook() -> PathBuf {
    variable("GUESTBOOK_BIN")
}

/// A Python interpreter that can import `dbos`.
#[must_use]
pub fn python() -> PathBuf {
    variable("DBOS_PYTHON")
}

/// The component of a guest, by the name of its crate.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    let path = variable("DBOS_HOST_GUESTS").join(format!("{name}.wasm"));
    assert!(path.exists(), "there is no guest `{name}`: run `cargo xtask test`, which builds the guests");
    path
}

/// The target folder for guests that a test builds itself: what the others are made of is compiled there already.
#[must_use]
pub fn guest_target() -> PathBuf {
    variable("DBOS_HOST_GUEST_TARGET")
}

/// A file of this checkout, by its path from the top.
#[must_use]
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the checkout").join(path)
}

fn variable(name: &str) -> PathBuf {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    value.unwrap_or_else(|| panic!("`{name}` is not set: run `cargo xtask test`, which sets it")).into()
}

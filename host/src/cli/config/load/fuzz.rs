//! Configurations of any text. See [`crate::fuzz`].

use std::env::VarError;
use std::path::{Path, PathBuf};

use super::{Config, Overrides};

/// The text of a `dbos-config.yaml`.
///
/// # Panics
/// If an error has characters that a terminal would obey.
pub(crate) fn config(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let variable = |name: &str| match name {
        "SET" => Ok("value".to_owned()),
        _ => Err(VarError::NotPresent),
    };
    let folder = PathBuf::from("/app");
    if let Err(error) = Config::assemble(Path::new("/"), folder, None, Some(source), Overrides::default(), &variable) {
        let text = error.to_string();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}

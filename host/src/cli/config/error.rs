//! What is wrong with a configuration.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// A configuration that cannot be used: where, what, and what to do about it. Never shows a secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    file: Option<PathBuf>,
    line: Option<u64>,
    text: String,
    hint: Option<String>,
}

impl ConfigError {
    /// An error that belongs to no place in a file.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { file: None, line: None, text: text.into(), hint: None }
    }

    /// An error in a line of the file that is being read.
    pub(super) fn at(line: u64, text: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::new(text) }
    }

    /// Adds advice.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says which file it is about.
    pub(super) fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "`{}` line {line}: ", file.display())?,
            (Some(file), None) => write!(f, "`{}`: ", file.display())?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.text)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::to("read the configuration").because(error).exit(Exit::Configuration)
    }
}

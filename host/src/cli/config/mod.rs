//! What a host is told: the file `dbos-config.yaml`, the environment variables that it refers to, and the flags that
//! override it.
//!
//! A setting that is misspelt, out of range or refers to nothing must be found when the host starts, by a text that names
//! the line and the key; not by a default that silently takes its place. And a setting may be a secret, so no text that
//! this folder makes shows the value of one: values of `env` and `database_url` are [`Secret`]s from the moment they are
//! read, errors of the YAML parser are told without the lines that they are about, and a value that came from a variable is
//! shown as it is written in the file.
//!
//! [`keys`] is the one list of what may be set; [`tree`] reads the file, [`values`] gives typed access to it, [`app`] and
//! [`load`] put the [`Config`] together. The rest of the host gets plain values from it and does not know this folder.

mod app;
mod error;
mod keys;
mod limits;
mod load;
pub(crate) mod reference;
pub(crate) mod retention;
mod settings;
mod substitute;
mod tree;
mod types;
mod values;

pub(crate) use app::{App, SqlLogin};
#[cfg(test)]
pub(crate) use keys::KEYS;
pub(crate) use limits::Limits;
#[cfg(feature = "failpoints")]
pub(crate) use load::fuzz::config as fuzz;
pub(crate) use load::{Config, Overrides};
pub(crate) use types::{AdminListen, ExecutorId, Listen, RoleName, Secret};

//! What a host is told: the file `dbos-config.yaml`, the environment variables that it refers to, and the flags that
//! override it.
//!
//! A setting that is misspelt, out of range or refers to nothing must be found when the host starts, by a text that names
//! the line and the key; not by a default that silently takes its place. And a setting may be a secret, so no text that
//! this folder makes shows the value of one: values of `env` and `database_url` are [`Secret`]s from the moment they are
//! read, and errors of the YAML parser are told without the lines that they are about.
//!
//! [`keys`] is the one list of what may be set; [`tree`] reads the file, [`values`] gives typed access to it, [`load`]
//! puts the [`Config`] together. The rest of the host gets plain values from it and does not know this folder.

mod error;
mod keys;
mod limits;
mod load;
pub(crate) mod reference;
mod substitute;
mod tree;
mod types;
mod values;

pub(crate) use limits::Limits;
#[cfg(feature = "failpoints")]
pub(crate) use load::fuzz::config as fuzz;
pub(crate) use load::{Config, Overrides, SqlLogin};
pub(crate) use types::{AdminListen, ExecutorId, Listen, Secret};

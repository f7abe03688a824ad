//! Everything that a program usually names: `use dbos_guest::prelude::*;`.

pub use std::time::Duration;

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use serde_json::json;

pub use crate::{
    Context, Error, Handle, Html, Json, Request, Response, Result, StartOptions, bail, communicator, delete,
    deprecate_patch, ensure, env, get, http, log, now, params, patch, post, put, random, sleep, sleep_until, sql,
    transaction, uuid, workflow, workflow_id,
};

//! Everything that a program usually names: `use dbos_guest::prelude::*;`.

pub use std::time::Duration;

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use serde_json::json;

pub use crate::{
    Context, Error, Group, Handle, Html, Json, Request, Response, Result, StartOptions, Step, bail, communicator,
    delete, deprecate_patch, ensure, env, get, get_event, get_event_within, http, join_all, log, map, now, params,
    patch, post, promise, put, race, random, read_stream, read_stream_from, recv, select, select_within, send,
    send_once, set_event, sleep, sleep_until, sql, stream, timeout, transaction, uuid, workflow, workflow_id,
};

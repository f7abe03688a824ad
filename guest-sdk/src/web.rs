//! Requests that come in and answers that go out: what handlers work with.

mod plain;
mod problem;
mod query;
mod reply;
mod request;
mod response;

pub use self::{
    reply::{AsJson, AsResponse, Reply},
    request::Request,
    response::{Html, IntoResponse, Json, Response},
};

pub(crate) use self::problem::problem;

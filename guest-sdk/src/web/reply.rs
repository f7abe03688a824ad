//! The choice between an answer of its own kind and JSON, for the code that `#[get]` generates.
//!
//! A `String` is an answer of plain text, but it is `Serialize` as well, so one trait for "anything that can be
//! answered" would have two implementations for it. The generated code knows the type, and calls
//! `(&Reply::new(value)).respond()`: the compiler tries the method of `Reply<T>` before that of `&Reply<T>`, so JSON is
//! taken only if the type has no answer of its own.

use std::cell::Cell;

use serde::Serialize;

use super::response::{IntoResponse, Response};
use crate::{Error, Result};

/// The value that a handler returned.
pub struct Reply<T>(Cell<Option<T>>);

impl<T> Reply<T> {
    /// Wraps the value.
    pub fn new(value: T) -> Self {
        Reply(Cell::new(Some(value)))
    }

    fn take(&self) -> Result<T> {
        self.0.take().ok_or_else(|| Error::new("the answer was taken twice"))
    }
}

/// Types that are answers of their own kind.
pub trait AsResponse {
    /// Makes the answer.
    fn respond(&self) -> Result<Response>;
}

impl<T: IntoResponse> AsResponse for Reply<T> {
    fn respond(&self) -> Result<Response> {
        self.take()?.into_response()
    }
}

/// Types that are answered as JSON.
pub trait AsJson {
    /// Makes the answer.
    fn respond(&self) -> Result<Response>;
}

impl<T: Serialize> AsJson for &Reply<T> {
    fn respond(&self) -> Result<Response> {
        Response::new(200).json(&self.take()?)
    }
}

#[cfg(test)]
mod tests {
    use super::{AsJson as _, AsResponse as _, Reply};
    use crate::Response;

    #[test]
    fn a_type_with_an_answer_of_its_own_is_not_answered_as_json() {
        let text = &Reply::new("hi".to_owned());
        assert_eq!(text.respond().unwrap(), Response::new(200).text("hi"));
        let response = &Reply::new(Response::new(418));
        assert_eq!(response.respond().unwrap(), Response::new(418));
    }

    #[test]
    fn any_other_value_is_answered_as_json() {
        let list = &Reply::new(vec![1, 2]);
        assert_eq!(list.respond().unwrap(), Response::new(200).body("application/json", "[1,2]"));
    }
}

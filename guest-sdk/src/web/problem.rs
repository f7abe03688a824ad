//! The answer of a handler that failed: a problem document (RFC 9457).

use serde_json::{Value, json};

use super::response::Response;
use crate::Error;

/// The status of an error that has none of its own.
const INTERNAL_SERVER_ERROR: u16 = 500;

/// The answer for an error: its status, or 500, its message as the detail, and for a mistake of the client what is
/// attached to it as further members.
pub(crate) fn problem(error: &Error) -> Response {
    let status = error.status().unwrap_or(INTERNAL_SERVER_ERROR);
    let mut document = json!({
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": error.message(),
        "name": error.name(),
    });
    if let Some(code) = error.code() {
        document["code"] = code.into();
    }
    // What a client did wrong it may be told in full; what a program attached to its own failures is for its own eyes.
    if status < INTERNAL_SERVER_ERROR
        && let (Some(Value::Object(data)), Some(members)) = (error.data(), document.as_object_mut())
    {
        for (name, value) in data {
            members.entry(name).or_insert(value);
        }
    }
    Response::new(status).body("application/problem+json", document.to_string())
}

/// The phrase of the statuses that programs use most; a client that needs more has the number.
fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        410 => "Gone",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ if status < 500 => "Client Error",
        _ => "Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::problem;
    use crate::Error;

    #[test]
    fn an_error_becomes_a_document() {
        let response = problem(&Error::new("no such greeting").with_status(404).with_code("E1"));
        assert_eq!(response.status(), 404);
        let document: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(
            document,
            serde_json::json!({"type": "about:blank", "title": "Not Found", "status": 404,
                "detail": "no such greeting", "name": "Error", "code": "E1"})
        );
        assert_eq!(problem(&Error::new("x")).status(), 500);
    }

    #[test]
    fn what_is_attached_is_told_of_mistakes_of_the_client() {
        let error = Error::new("too little").with_data(serde_json::json!({"balance": 30, "status": 1}));
        let document: serde_json::Value = serde_json::from_slice(&problem(&error.with_status(403)).body).unwrap();
        assert_eq!((&document["balance"], &document["status"]), (&30.into(), &403.into()));
        let error = Error::new("secret").with_data(serde_json::json!({"balance": 30}));
        let document: serde_json::Value = serde_json::from_slice(&problem(&error).body).unwrap();
        assert!(document.get("balance").is_none());
    }
}

//! The routes: reads requests, asks the book, and answers in a sentence when something is wrong.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::book::{Book, Entry, Refused};
use crate::key::{BadKey, Key};
use crate::page::page;

/// The largest body: a key, the longest name with each character written as `\u….`, and room to spare.
const LARGEST_BODY: usize = 16 * 1024;

/// The book, shared by all requests. Writing to its file happens under the lock: a guestbook has no hurry, and the
/// order of the entries is that of the lines.
type Shared = Arc<Mutex<Book>>;

/// What a signer sends. Anything more is ignored, as a service that grows would.
#[derive(Debug, Deserialize)]
struct Greeting {
    key: String,
    name: String,
}

/// An answer that is not what was asked for: a status and a sentence.
#[derive(Debug)]
struct Problem(StatusCode, String);

/// All routes.
pub(crate) fn routes(book: Book) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/key", get(key))
        .route("/record_greeting", post(record_greeting))
        .route("/greetings/{key}", get(greetings))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Shared::new(Mutex::new(book)))
}

async fn index(State(book): State<Shared>) -> Html<String> {
    Html(page(lock(&book).entries()))
}

async fn key() -> String {
    Key::new().to_string()
}

async fn record_greeting(State(book): State<Shared>, headers: HeaderMap, body: Bytes) -> Result<Json<Entry>, Problem> {
    let greeting: Greeting = serde_json::from_slice(&body).map_err(|error| {
        Problem(StatusCode::BAD_REQUEST, format!("expected JSON with the texts `key` and `name`: {error}"))
    })?;
    let key = Key::parse(&greeting.key)?;
    let idempotency_key = match headers.get("idempotency-key").map(|value| value.to_str()) {
        None => None,
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => return Err(Problem(StatusCode::BAD_REQUEST, "the Idempotency-Key is not ASCII".to_owned())),
    };
    Ok(Json(lock(&book).sign(key, &greeting.name, idempotency_key)?))
}

async fn greetings(State(book): State<Shared>, Path(key): Path<String>) -> Result<Json<Vec<Entry>>, Problem> {
    Ok(Json(lock(&book).signed_with(Key::parse(&key)?)))
}

async fn nothing_here() -> Problem {
    Problem(StatusCode::NOT_FOUND, "there is nothing here: see /".to_owned())
}

/// A handler that panicked has not left the book half-changed: everything that can fail comes before the change.
fn lock(book: &Shared) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<BadKey> for Problem {
    fn from(bad: BadKey) -> Self {
        let status = match bad {
            BadKey::Length(_) => StatusCode::BAD_REQUEST,
            BadKey::Unknown => StatusCode::UNAUTHORIZED,
        };
        Self(status, bad.to_string())
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::Name | Refused::IdempotencyKey => StatusCode::BAD_REQUEST,
            Refused::OtherRequest => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::Full => StatusCode::INSUFFICIENT_STORAGE,
            Refused::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, refused.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

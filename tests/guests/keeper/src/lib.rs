//! Uses secrets of its environment as programs do (in a header, a query, a body, a parameter of SQL), and fails in the middle
//! of it in different ways.

use dbos_guest::prelude::*;

/// Sends the secret to `OUTSIDE_URL`, in every place that a request has for one.
fn send(path: &str) -> Result<u16> {
    let (url, token) = (env::var("OUTSIDE_URL")?, env::var("TOKEN")?);
    let request = http::post(format!("{url}/{path}?key={token}")).bearer_token(&token).body(token.clone());
    Ok(request.send()?.error_for_status()?.status())
}

#[communicator]
fn tell(path: &str) -> Result<u16> {
    send(path)
}

/// Tells, and panics.
#[communicator]
fn tell_and_panic() -> Result<u16> {
    send("panic")?;
    panic!("it was told")
}

#[derive(Deserialize)]
struct Length {
    length: i64,
}

#[transaction]
fn measure() -> Result<i64> {
    let row: Length = sql::query_one("SELECT length($1::text)::bigint AS length", params![env::var("TOKEN")?])?;
    Ok(row.length)
}

/// Sends a statement with the secret as a parameter, and the database refuses it.
#[transaction]
fn measure_nothing() -> Result<i64> {
    let row: Length =
        sql::query_one("SELECT length($1::text)::bigint AS length FROM nowhere", params![env::var("TOKEN")?])?;
    Ok(row.length)
}

/// Does all of it; tells how each ended.
#[workflow]
fn keep() -> Vec<String> {
    let shown = |told: Result<u16>| told.map_or_else(|error| error.to_string(), |status| status.to_string());
    let measured = |told: Result<i64>| told.map_or_else(|error| error.to_string(), |length| length.to_string());
    vec![
        shown(tell("well")),
        shown(tell("refused")),
        shown(tell("dropped")),
        shown(tell_and_panic()),
        measured(measure()),
        measured(measure_nothing()),
    ]
}

/// Panics with the secret in its hands.
#[get("/panic")]
fn panics() -> Result<String> {
    let token = env::var("TOKEN")?;
    assert!(token.is_empty(), "a handler fails");
    Ok(token)
}

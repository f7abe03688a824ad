//! Sends values of every SQL type through a transaction as they came, or as values of Rust types, and reads with cursors.

use std::net::IpAddr;

use dbos_guest::prelude::*;
use dbos_guest::serde_json::Value;

#[derive(Deserialize)]
struct One {
    v: Value,
}

/// Binds each value as its type and returns what came back.
#[transaction]
fn pass(cases: Vec<(String, Value)>) -> Result<Vec<Value>> {
    let pass = |(ty, value): (String, Value)| {
        let one: One = sql::query_one(&format!("SELECT $1::{ty} AS v"), params![value])
            .with_context(|| format!("{ty} {value}"))?;
        Ok(one.v)
    };
    cases.into_iter().map(pass).collect()
}

/// Values go through a step and a record.
#[workflow]
fn values(cases: Vec<(String, Value)>) -> Result<Vec<Value>> {
    pass(cases)
}

#[transaction]
fn statement(sql: &str, parameters: Vec<Value>) -> Result<Vec<Value>> {
    let parameters = parameters.iter().fold(params![], |parameters, value| parameters.with(value));
    sql::query(sql, parameters)
}

/// Tells what a workflow knows of a statement that failed.
#[workflow]
fn told(sql: &str, parameters: Vec<Value>) -> Value {
    let error = match statement(sql, parameters) {
        Ok(rows) => return json!(rows),
        Err(error) => error,
    };
    let Some(failure) = sql::Failure::of(&error) else { return json!({ "name": error.name() }) };
    json!({
        "code": failure.code,
        "message": error.message(),
        "detail": failure.detail,
        "hint": failure.hint,
        "constraint": failure.constraint,
        "position": failure.position,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mood {
    Sad,
    Ok,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Typed {
    id: i32,
    yes: bool,
    small: i16,
    large: i64,
    narrow: f32,
    wide: sql::Float,
    amount: rust_decimal::Decimal,
    note: String,
    nothing: Option<String>,
    bytes: sql::Bytes,
    number: uuid::Uuid,
    document: Value,
    day: jiff::civil::Date,
    at: jiff::civil::Time,
    local: jiff::civil::DateTime,
    moment: jiff::Timestamp,
    lasts: String,
    address: IpAddr,
    feeling: Mood,
    cost: rust_decimal::Decimal,
    list: Vec<Option<i32>>,
    notes: Vec<String>,
}

const INSERT: &str = "INSERT INTO typed VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
                      $17, $18, $19, $20, $21, $22)";

/// Writes a row of Rust's types, reads it, and tells whether it is the same. `typed` again is a violated key.
#[transaction]
fn typed() -> Result<bool> {
    let t = Typed {
        id: 1,
        yes: true,
        small: i16::MIN,
        large: i64::MAX,
        narrow: 0.1,
        wide: sql::Float(f64::NEG_INFINITY),
        amount: "79228162514264337593543950.335".parse()?,
        note: "a \"note\" of\nMike's \u{1f980}".into(),
        nothing: None,
        bytes: sql::Bytes((0..=255).collect()),
        number: uuid::Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057),
        document: json!({"a": [1, null, "x"]}),
        day: "2026-05-01".parse()?,
        at: "23:59:59.999999".parse()?,
        local: "2026-05-01T12:34:56.789".parse()?,
        moment: "2026-05-01T12:34:56.789012Z".parse()?,
        lasts: "P1Y2M3DT4H5M6.7S".into(),
        address: "2001:db8::1".parse()?,
        feeling: Mood::Ok,
        cost: "12.50".parse()?,
        list: vec![Some(1), None],
        notes: vec!["{,}".into(), "NULL".into(), String::new()],
    };
    let parameters = params![
        t.id, t.yes, t.small, t.large, t.narrow, t.wide, t.amount, t.note, t.nothing, t.bytes, t.number, t.document,
        t.day, t.at, t.local, t.moment, t.lasts, t.address, t.feeling, t.cost, t.list, t.notes
    ];
    ensure!(sql::execute(INSERT, parameters)? == 1, "one row is affected");
    let back: Typed = sql::query_one("SELECT * FROM typed", params![])?;
    Ok(back == t)
}

#[derive(Deserialize)]
struct Numbered {
    n: i64,
}

/// A series with a text of this length in each row.
const SERIES: &str = "SELECT n, repeat('x', $2) AS text FROM generate_series(1, $1::int4) n";

/// Reads a series by a cursor; how many rows came, and their sum.
#[transaction(read_only)]
fn read_pages(rows: i32, length: i32, page: u32) -> Result<(i64, i64)> {
    let mut read = (0, 0);
    for row in sql::cursor::<Numbered>(SERIES, params![rows, length])?.page(page) {
        let row = row?;
        read = (read.0 + 1, read.1 + row.n);
    }
    Ok(read)
}

fn series(last: i32) -> Result<sql::Cursor<Numbered>> {
    Ok(sql::cursor(SERIES, params![last, 0])?.page(2))
}

/// The numbers of the rows that are left.
fn rest(cursor: sql::Cursor<Numbered>) -> Result<Vec<i64>> {
    cursor.map(|row| Ok(row?.n)).collect()
}

/// Uses cursors in this way, and tells what came of it.
fn used(case: &str) -> Result<Value> {
    let mut first = series(5)?;
    let one = first.next().transpose()?.map(|row| row.n);
    Ok(match case {
        "two at once" => {
            let second = rest(series(3)?)?;
            json!([one, second, rest(first)?])
        }
        "blind to later writes" => {
            sql::execute("INSERT INTO numbered VALUES (1)", params![])?;
            let cursor = sql::cursor::<Numbered>("SELECT n FROM numbered", params![])?;
            sql::execute("INSERT INTO numbered VALUES (2)", params![])?;
            json!(rest(cursor)?)
        }
        "many, one after another" => {
            (0..100).try_for_each(|_| series(5)?.next().transpose().map(|_| ()))?;
            json!(rest(first)?)
        }
        "too many at once" => {
            let opened: Vec<Result<_>> = (0..30).map(|_| series(1)).collect();
            let failed = opened.iter().filter_map(|cursor| cursor.as_ref().err());
            let told: Vec<String> = failed.map(|error| format!("{:?}: {error}", error.code())).collect();
            json!([told.len(), told.first(), rest(first)?])
        }
        "across an undone savepoint" => {
            let mut inner = None;
            let undone = sql::savepoint(|| {
                sql::execute("INSERT INTO numbered VALUES (1)", params![])?;
                inner = Some(series(5)?);
                first.next().transpose()?;
                sql::execute("INSERT INTO numbered VALUES (1)", params![])
            });
            let failure = undone.err().and_then(|error| sql::Failure::of(&error));
            let inner = inner.map(rest).transpose().err().map(|error| error.message().to_owned());
            // Another is opened, so that what is not needed any more is closed.
            let more = rest(series(2)?)?;
            json!([failure.and_then(|failure| failure.constraint), inner, more, rest(first)?])
        }
        "across a kept savepoint" => {
            let inner = sql::savepoint(|| series(4))?;
            let undone = sql::savepoint(|| -> Result<()> { bail!("undone") });
            json!([undone.is_err(), rest(inner)?, rest(first)?])
        }
        "a page that is too large" => {
            let large = sql::savepoint(|| {
                let cursor: sql::Cursor<Numbered> = sql::cursor(SERIES, params![100, 1_000_000])?;
                rest(cursor)
            });
            json!([large.err().map(|error| error.code().map(str::to_owned)), rest(first)?])
        }
        "no query" => {
            let told = sql::savepoint(|| rest(sql::cursor("INSERT INTO numbered VALUES (7) RETURNING n", params![])?));
            let failure = told.err().and_then(|error| sql::Failure::of(&error));
            json!([failure.map(|failure| (failure.code, failure.hint)), rest(first)?])
        }
        "no rows" => {
            let told = sql::cursor::<Numbered>("DROP TABLE numbered", params![]).err();
            json!([told.map(|error| error.message().to_owned()), rest(first)?])
        }
        "a wrong statement" => {
            let told = sql::savepoint(|| sql::cursor::<Numbered>("SELECT missing", params![]).map(drop));
            let failure = told.err().and_then(|error| sql::Failure::of(&error));
            json!([failure.map(|failure| (failure.code, failure.position)), rest(first)?])
        }
        "a place" => {
            let told = sql::cursor::<Numbered>("SELECT point(1, 2) AS place", params![]).err();
            json!([told.map(|error| error.message().to_owned()), rest(first)?])
        }
        _ => bail!("there is no case `{case}`"),
    })
}

#[transaction]
fn cursors(case: &str) -> Result<Value> {
    used(case)
}

#[workflow]
fn run_typed() -> Result<bool> {
    typed()
}

#[workflow]
fn run_pages(rows: i32, length: i32, page: u32) -> Result<(i64, i64)> {
    read_pages(rows, length, page)
}

#[workflow]
fn run_cursors(case: &str) -> Result<Value> {
    cursors(case)
}

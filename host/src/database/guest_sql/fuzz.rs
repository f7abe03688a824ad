//! Values, rows and statements of guests' SQL from any bytes. See [`crate::fuzz`].

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, Kind, ToSql, Type};

use super::form::Form;
use super::value::write_value;
use super::{bind, refuse_transaction_control};

/// How large the JSON of a value may be here.
const LIMIT: usize = 64 * 1024;

/// What one more element can add behind the limit: the digits of the longest numeric, or six bytes for each of a text.
const ONE_MORE: usize = 6 * LIMIT;

/// A type that the first byte chooses, as itself, in an array, or as a domain over an array.
fn chosen(data: &[u8]) -> Option<(Type, &[u8])> {
    const TYPES: [Type; 27] = [
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::OID,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::NUMERIC,
        Type::TEXT,
        Type::VARCHAR,
        Type::BPCHAR,
        Type::CHAR,
        Type::BYTEA,
        Type::UUID,
        Type::JSON,
        Type::JSONB,
        Type::DATE,
        Type::TIME,
        Type::TIMETZ,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
        Type::INTERVAL,
        Type::INET,
        Type::CIDR,
        Type::VOID,
        Type::POINT,
        Type::RECORD,
    ];
    let (choice, rest) = data.split_first()?;
    let ty = TYPES[usize::from(*choice) % TYPES.len()].clone();
    let made = |name: &str, kind| Type::new(name.to_owned(), 100_000, kind, "public".to_owned());
    Some(match usize::from(*choice) / TYPES.len() % 3 {
        0 => (ty, rest),
        1 => (made("_made", Kind::Array(ty)), rest),
        _ => (made("made", Kind::Domain(made("_made", Kind::Array(ty)))), rest),
    })
}

/// The text of a parameter, as it is sent; `None` is NULL.
fn bound(ty: &Type, json: &str) -> Result<Option<String>, super::SqlFailure> {
    let values = bind(std::slice::from_ref(ty), &format!("[{json}]"))?;
    let mut out = BytesMut::new();
    let is_null = values[0].to_sql_checked(ty, &mut out).expect("every parameter can be written");
    let text = String::from_utf8(out.to_vec()).expect("the text format is text");
    Ok(matches!(is_null, IsNull::No).then_some(text))
}

/// A type, and JSON for a parameter of it.
///
/// # Panics
/// If a value that was taken cannot be sent, or a refusal does not say which parameter it is about.
pub(crate) fn parameters(data: &[u8]) {
    let Some((ty, json)) = chosen(data) else { return };
    let Ok(json) = std::str::from_utf8(json) else { return };
    match bound(&ty, json) {
        Ok(None) => assert_eq!(json.trim(), "null", "only null is NULL"),
        Ok(Some(text)) => assert!(!text.contains('\0'), "the server ends a text there"),
        Err(failure) => {
            let is_named = failure.message.starts_with("bind `$1` of type `") || failure.code == "parameter_count";
            assert!(is_named, "{failure}");
            assert!(failure.message.len() < 500, "a refusal is short: {}", failure.message.len());
        }
    }
}

/// A type, and bytes of a value as the server would send it.
///
/// # Panics
/// If the JSON is none, is larger than it may be, or cannot go in again.
pub(crate) fn rows(data: &[u8]) {
    let Some((ty, raw)) = chosen(data) else { return };
    let form = Form::of(&ty);
    let mut json = String::new();
    let written = write_value(&form, Some(raw), &mut json, LIMIT);
    assert!(json.len() <= LIMIT + ONE_MORE, "{} bytes of JSON of {} for {ty}", json.len(), raw.len());
    // What is in a json column is passed on as it is: the server has checked it.
    if written.is_err() || may_hold_json(&form) {
        return;
    }
    serde_json::from_str::<serde::de::IgnoredAny>(&json).unwrap_or_else(|error| panic!("{ty}: {json}: {error}"));
    if json.contains("\\u0000") {
        return;
    }
    let again = bound(&ty, &json).unwrap_or_else(|failure| panic!("{ty}: {json}: {failure}"));
    let expected = match form {
        Form::Text => std::str::from_utf8(raw).ok().map(str::to_owned),
        Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid => Some(json),
        _ => return,
    };
    assert_eq!(again, expected, "{ty} goes in as it came out");
}

fn may_hold_json(form: &Form) -> bool {
    match form {
        Form::Json | Form::Jsonb => true,
        Form::Array(element) => may_hold_json(element),
        _ => false,
    }
}

/// A statement.
///
/// # Panics
/// If blanks and comments before it change what is thought of it.
pub(crate) fn statement(data: &[u8]) {
    let Ok(sql) = std::str::from_utf8(data) else { return };
    let verdict = refuse_transaction_control(sql);
    for prefix in [" ", ";", "\n-- COMMIT\n", "/* /* */ ' */", "\t; /**/ ;"] {
        assert_eq!(refuse_transaction_control(&format!("{prefix}{sql}")), verdict, "behind {prefix:?}");
    }
}

//! Parameters: JSON values as values of the types that a prepared statement asks for.
//!
//! The problem: JSON has six kinds of values and the server has hundreds of types. A program that decides by the JSON
//! value alone guesses wrong (is `"2026-05-01"` a text or a date?), and one that reads numbers into floating point
//! damages them silently. The types are known, though: the server tells them when it prepares the statement.
//!
//! So the type decides, and the digits are never touched: each value is cut out of the JSON text as it stands and sent
//! in the server's **text format**, which every type has. The server parses it and checks it against domains, enums
//! and lengths, as it would a literal. Checked here is what the server would take without a word but differently from
//! what was meant, and what it could not blame on a parameter by number.
//!
//! The forms are listed in the module of [`Form`].

use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;

use bytes::{BufMut, BytesMut};
use serde_json::value::RawValue;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use super::array;
use super::error::{HostCode, SqlFailure};
use super::form::{Form, TypeName};

/// How much of a value that does not fit is shown in the message: enough to recognise it, little enough to read.
const SHOWN_CHARACTERS: usize = 40;

/// One value, ready to be sent. `None` is NULL.
pub struct Parameter(Option<String>);

/// Turns the JSON array `parameters` into values of `types`, the parameter types of a prepared statement.
///
/// When it returns `Ok`, there are as many values as types and each can be sent; the server may still refuse one.
pub fn bind(types: &[Type], parameters: &str) -> Result<Vec<Parameter>, SqlFailure> {
    let values: Vec<&RawValue> = serde_json::from_str(parameters).map_err(|error| {
        let message = format!("read the parameters as a JSON array: {error}");
        SqlFailure::host(HostCode::ParameterCount, message)
    })?;
    if values.len() != types.len() {
        let message = format!("bind {} parameters to a statement that has {}", values.len(), types.len());
        return Err(SqlFailure::host(HostCode::ParameterCount, message).with_hint("give one value for each `$n`"));
    }
    let bound = types.iter().zip(values).enumerate().map(|(index, (ty, value))| {
        let text = text_of(&Form::of(ty), value);
        text.map(Parameter).map_err(|mismatch| mismatch.of_parameter(index + 1, ty))
    });
    bound.collect()
}

/// Why a value does not fit, before it is known which parameter it is a part of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    expected: String,
    got: String,
}

impl Mismatch {
    pub(super) fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { expected: expected.into(), got: got.into() }
    }

    fn of_value(expected: impl Into<String>, value: &RawValue) -> Self {
        let text = value.get();
        let shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
        let cut = if shown.len() < text.len() { "…" } else { "" };
        Self::new(expected, format!("`{shown}{cut}`"))
    }

    fn of_parameter(self, number: usize, ty: &Type) -> SqlFailure {
        let message =
            format!("bind `${number}` of type `{}`: expected {}, got {}", TypeName(ty), self.expected, self.got);
        SqlFailure::host(HostCode::ParameterMismatch, message)
    }
}

/// A value in the server's text format, or `None` for NULL.
pub(super) fn text_of(form: &Form, value: &RawValue) -> Result<Option<String>, Mismatch> {
    let json = value.get();
    // RawValue is valid JSON without blanks around it, so the first byte tells the kind.
    let first = json.as_bytes().first().copied().unwrap_or_default();
    if first == b'n' {
        return Ok(None);
    }
    let text = match form {
        Form::Json | Form::Jsonb => json.to_owned(),
        Form::Array(element) if first == b'[' => array::text_of(element, value)?,
        _ => match first {
            b'"' => text_of_string(form, value)?,
            b't' | b'f' if *form == Form::Bool => json.to_owned(),
            b'-' | b'0'..=b'9' => text_of_number(form, value)?,
            _ => return Err(Mismatch::of_value(expected_by(form), value)),
        },
    };
    Ok(Some(text))
}

/// A JSON string: what is in it is the type's text form, which the server reads.
fn text_of_string(form: &Form, value: &RawValue) -> Result<String, Mismatch> {
    let text: String = serde_json::from_str(value.get())
        .map_err(|_| Mismatch::of_value("a string of Unicode characters without lone surrogates", value))?;
    let fits = match form {
        Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid => fits_integer(form, &text),
        // The server would take any other string as the bytes of its characters: base64 would be stored as it stands.
        Form::Bytea => text.starts_with("\\x"),
        // The server would take the first byte and drop the rest.
        Form::Char => text.is_ascii() && text.len() <= 1,
        _ => true,
    };
    match fits {
        true if text.contains('\0') => {
            Err(Mismatch::new("a string without U+0000, which the server cannot store", "one with it"))
        }
        true => Ok(text),
        false => Err(Mismatch::of_value(expected_by(form), value)),
    }
}

/// A JSON number: its digits as they stand.
fn text_of_number(form: &Form, value: &RawValue) -> Result<String, Mismatch> {
    let digits = value.get();
    let fits = match form {
        Form::Float4 | Form::Float8 | Form::Numeric => true,
        form => fits_integer(form, digits),
    };
    if fits { Ok(digits.to_owned()) } else { Err(Mismatch::of_value(expected_by(form), value)) }
}

fn fits_integer(form: &Form, digits: &str) -> bool {
    integer_range(form).is_some_and(|range| digits.parse().is_ok_and(|number: i64| range.contains(&number)))
}

fn integer_range(form: &Form) -> Option<RangeInclusive<i64>> {
    match form {
        Form::Int2 => Some(i64::from(i16::MIN)..=i64::from(i16::MAX)),
        Form::Int4 => Some(i64::from(i32::MIN)..=i64::from(i32::MAX)),
        Form::Int8 => Some(i64::MIN..=i64::MAX),
        Form::Oid => Some(0..=i64::from(u32::MAX)),
        _ => None,
    }
}

fn expected_by(form: &Form) -> String {
    if let Some(range) = integer_range(form) {
        return format!("a whole number from {} to {}", range.start(), range.end());
    }
    let expected = match form {
        Form::Bool => "true or false",
        Form::Float4 | Form::Float8 => "a number, or \"NaN\", \"Infinity\" or \"-Infinity\"",
        Form::Numeric => "a number, or a string with its digits",
        Form::Char => "a string of at most one ASCII character",
        Form::Bytea => "a string of `\\x` and hexadecimal digits",
        Form::Uuid => "a string with a UUID",
        Form::Date => "a string like \"2026-05-01\"",
        Form::Time | Form::TimeTz => "a string like \"12:00:00\"",
        Form::Timestamp => "a string like \"2026-05-01T12:00:00\"",
        Form::TimestampTz => "a string like \"2026-05-01T12:00:00Z\"",
        Form::Interval => "a string like \"PT1H30M\"",
        Form::Network => "a string with an IP address",
        Form::Array(_) => "an array",
        _ => "a string",
    };
    expected.to_owned()
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.put_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    /// Every type has a text format, and [`bind`] has looked at the type already.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// The driver prints parameters when its debug logging is on. Values are the guest's data and stay out of logs.
impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("NULL"),
            Some(text) => write!(f, "{} bytes", text.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ty: Type, json: &str) -> Result<Option<String>, String> {
        let mut bound = bind(&[ty], &format!("[ {json} ]")).map_err(|failure| failure.message)?;
        Ok(bound.remove(0).0)
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (ty, json) in [
            (Type::INT8, "9223372036854775807"),
            (Type::INT2, "-32768"),
            (Type::OID, "4294967295"),
            (Type::NUMERIC, "12.50"),
            (Type::NUMERIC, "123456789012345678901234567890.000"),
            (Type::FLOAT8, "1E-7"),
        ] {
            assert_eq!(text(ty, json), Ok(Some(json.to_owned())));
        }
        assert_eq!(text(Type::INT8, "\"9007199254740993\""), Ok(Some("9007199254740993".to_owned())));
        assert_eq!(
            text(Type::JSONB, "{\"a\":100000000000000000000}"),
            Ok(Some("{\"a\":100000000000000000000}".to_owned()))
        );
    }

    #[test]
    fn a_value_that_does_not_fit_names_parameter_type_and_value() {
        let failure = bind(&[Type::TEXT, Type::INT4], "[\"a\", 3000000000]").expect_err("a failure");
        assert_eq!(failure.code, "parameter_mismatch");
        assert_eq!(
            failure.message,
            "bind `$2` of type `int4`: expected a whole number from -2147483648 to 2147483647, got `3000000000`"
        );
    }

    #[test]
    fn wrong_kinds_are_refused() {
        for (ty, json) in [
            (Type::TEXT, "5"),
            (Type::TEXT, "true"),
            (Type::TEXT, "{}"),
            (Type::TEXT, "[\"a\"]"),
            (Type::BOOL, "1"),
            (Type::INT4, "5.0"),
            (Type::INT4, "1e3"),
            (Type::INT4, "true"),
            (Type::INT4, "\"five\""),
            (Type::INT2, "32768"),
            (Type::OID, "-1"),
            (Type::INT8, "9223372036854775808"),
            (Type::NUMERIC, "false"),
            (Type::BYTEA, "\"aGk=\""),
            (Type::CHAR, "\"ab\""),
            (Type::CHAR, "\"é\""),
            (Type::DATE, "20260501"),
            (Type::UUID, "7"),
            (Type::INT4_ARRAY, "5"),
            (Type::INT4_ARRAY, "{}"),
            (Type::POINT, "[1,2]"),
            (Type::MONEY, "5"),
            (Type::TEXT, "\"a\\u0000b\""),
            (Type::TEXT, "\"\\ud800\""),
        ] {
            let name = TypeName(&ty).to_string();
            let message = text(ty, json).expect_err(&format!("{name} {json}"));
            assert!(message.starts_with(&format!("bind `$1` of type `{name}`: expected ")), "{message}");
        }
    }

    #[test]
    fn null_is_null_and_json_keeps_its_text() {
        assert_eq!(text(Type::INT4, "null"), Ok(None));
        assert_eq!(text(Type::JSONB, "null"), Ok(None));
        assert_eq!(text(Type::JSONB, "\"null\""), Ok(Some("\"null\"".to_owned())));
        assert_eq!(text(Type::JSON, "{\"b\": 1.0, \"b\":2}"), Ok(Some("{\"b\": 1.0, \"b\":2}".to_owned())));
    }

    #[test]
    fn the_count_must_match() {
        let code = |types: &[Type], json| bind(types, json).expect_err("a failure").code;
        assert_eq!(code(&[Type::INT4], "[]"), "parameter_count");
        assert_eq!(code(&[], "[1]"), "parameter_count");
        assert_eq!(code(&[], "{}"), "parameter_count");
        assert_eq!(code(&[], "[] x"), "parameter_count");
        assert!(bind(&[], "[]").expect("no parameters").is_empty());
    }

    #[test]
    fn a_long_value_is_shown_in_part_and_never_in_debug_output() {
        let long = format!("\"{}\"", "é".repeat(500));
        assert!(text(Type::BYTEA, &long).expect_err("a failure").len() < 200);
        let bound = bind(&[Type::TEXT, Type::TEXT], "[\"secret\", null]").expect("two strings");
        assert_eq!(format!("{bound:?}"), "[6 bytes, NULL]");
    }
}

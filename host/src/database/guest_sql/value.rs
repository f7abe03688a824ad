//! One column value, from the server's binary format to JSON text.
//!
//! The JSON is written straight into the answer and never built as a tree: a json column goes through as the text
//! that it is, so that no number in it can change on the way, and a large result is held once.

use std::fmt::{Display, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use uuid::Uuid;

use super::datetime::{Date, Time, TimeTz, Timestamp};
use super::form::Form;
use super::interval::Interval;
use super::numeric;
use super::reader::{DecodeError, Reader};

/// The server's own limit for the dimensions of an array (MAXDIM). More would be a depth of recursion that somebody else
/// chooses.
const MAX_DIMENSIONS: i32 = 6;

/// Appends the JSON of a value; `None` is NULL. `out` may grow to `limit` bytes and what one more element of an array
/// has.
///
/// The limit is looked at for each element because a few bytes of the server can be many of JSON: a numeric of ten bytes
/// has 130,000 digits, and an array a million of them.
pub(super) fn write_value(form: &Form, raw: Option<&[u8]>, out: &mut String, limit: usize) -> Result<(), DecodeError> {
    match raw {
        None => out.push_str("null"),
        // No form is shorter in JSON than these are in bytes.
        Some(raw) if matches!(form, Form::Text | Form::Bytea | Form::Json) && raw.len() > limit => {
            return Err(DecodeError::TooLarge);
        }
        Some(raw) => {
            let mut reader = Reader(raw);
            write_present(form, &mut reader, out, limit)?;
            reader.end()?;
        }
    }
    if out.len() > limit { Err(DecodeError::TooLarge) } else { Ok(()) }
}

fn write_present(form: &Form, reader: &mut Reader<'_>, out: &mut String, limit: usize) -> Result<(), DecodeError> {
    match form {
        Form::Bool => out.push_str(if reader.u8()? == 0 { "false" } else { "true" }),
        Form::Int2 => plain(reader.i16()?, out),
        Form::Int4 => plain(reader.i32()?, out),
        Form::Int8 => plain(reader.i64()?, out),
        Form::Oid => plain(reader.u32()?, out),
        Form::Float4 => write_float(f32::from_bits(reader.u32()?), out),
        Form::Float8 => write_float(f64::from_bits(reader.i64()?.cast_unsigned()), out),
        Form::Numeric => {
            out.push('"');
            numeric::write(reader, out)?;
            out.push('"');
        }
        Form::Text => push_string(reader.text()?, out),
        Form::Char => write_char(reader.u8()?, out)?,
        Form::Bytea => write_bytes(reader.rest(), out),
        Form::Uuid => quoted(Uuid::from_bytes(reader.array()?), out),
        Form::Json => out.push_str(reader.text()?),
        Form::Jsonb => {
            // The only version of the binary format that there is.
            if reader.u8()? != 1 {
                return Err(DecodeError::Malformed);
            }
            out.push_str(reader.text()?);
        }
        Form::Date => quoted(Date(reader.i32()?), out),
        Form::Time => quoted(Time(reader.i64()?), out),
        Form::TimeTz => quoted(TimeTz { time: Time(reader.i64()?), seconds_west: reader.i32()? }, out),
        Form::Timestamp => quoted(Timestamp { micros: reader.i64()?, zone: false }, out),
        Form::TimestampTz => quoted(Timestamp { micros: reader.i64()?, zone: true }, out),
        Form::Interval => quoted(Interval::read(reader)?, out),
        Form::Network => write_network(reader, out)?,
        Form::Void => out.push_str("null"),
        Form::Array(element) => write_array(element, reader, out, limit)?,
        Form::Other => return Err(DecodeError::NoJson("values of this type")),
    }
    Ok(())
}

/// Appends something whose text is JSON as it stands.
fn plain(value: impl Display, out: &mut String) {
    write!(out, "{value}").expect("writing to a string does not fail");
}

/// Appends something whose text needs no escapes as a JSON string.
fn quoted(value: impl Display, out: &mut String) {
    write!(out, "\"{value}\"").expect("writing to a string does not fail");
}

/// Appends any text as a JSON string.
pub(super) fn push_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
}

/// Appends the shortest number that reads back as the same float. JSON has no word for the three that are none.
fn write_float(value: impl Into<f64> + Serialize + Copy, out: &mut String) {
    // The wide value only tells the kind; written is the narrow one, as 0.1 and not as 0.10000000149011612.
    let wide: f64 = value.into();
    if wide.is_nan() {
        out.push_str("\"NaN\"");
    } else if wide.is_infinite() {
        out.push_str(if wide > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else {
        out.push_str(&serde_json::to_string(&value).expect("a finite number is always JSON"));
    }
}

/// A byte without a character is the empty string, as the server has it.
fn write_char(byte: u8, out: &mut String) -> Result<(), DecodeError> {
    match byte {
        0 => out.push_str("\"\""),
        1..0x80 => push_string(char::from(byte).encode_utf8(&mut [0; 4]), out),
        0x80.. => return Err(DecodeError::NoJson("a \"char\" that is not ASCII")),
    }
    Ok(())
}

fn write_bytes(bytes: &[u8], out: &mut String) {
    out.reserve(bytes.len() * 2 + 5);
    out.push_str("\"\\\\x");
    for byte in bytes {
        plain(format_args!("{byte:02x}"), out);
    }
    out.push('"');
}

fn write_network(reader: &mut Reader<'_>, out: &mut String) -> Result<(), DecodeError> {
    let [_family, bits, is_cidr, length] = reader.array()?;
    out.push('"');
    match length {
        4 => plain(Ipv4Addr::from(reader.array::<4>()?), out),
        16 => plain(Ipv6Addr::from(reader.array::<16>()?), out),
        _ => return Err(DecodeError::Malformed),
    }
    // As the server writes them: a cidr always has its length, an inet only if it is not a single host.
    if is_cidr != 0 || bits != length * 8 {
        plain(format_args!("/{bits}"), out);
    }
    out.push('"');
    Ok(())
}

fn write_array(element: &Form, reader: &mut Reader<'_>, out: &mut String, limit: usize) -> Result<(), DecodeError> {
    let dimensions = reader.i32()?;
    let _has_nulls = reader.i32()?;
    let _element_type = reader.u32()?;
    if !(0..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(DecodeError::Malformed);
    }
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        lengths.push(reader.u32()?);
        let _lower_bound = reader.i32()?;
    }
    // An array without elements has no dimensions. With a length of zero, the dimensions around it could go on without
    // an element that ends them.
    if lengths.contains(&0) {
        return Err(DecodeError::Malformed);
    }
    if lengths.len() > 1 && element.may_be_json_array() {
        return Err(DecodeError::NoJson("an array of more than one dimension whose elements are JSON or arrays"));
    }
    if lengths.is_empty() {
        out.push_str("[]");
        return Ok(());
    }
    write_dimension(element, &lengths, reader, out, limit)
}

/// Writes the outermost of `lengths` and everything in it. The elements come in the order in which they are written.
fn write_dimension(
    element: &Form,
    lengths: &[u32],
    reader: &mut Reader<'_>,
    out: &mut String,
    limit: usize,
) -> Result<(), DecodeError> {
    let Some((length, inner)) = lengths.split_first() else {
        let length = reader.i32()?;
        let raw = usize::try_from(length).ok().map(|length| reader.take(length)).transpose()?;
        return write_value(element, raw, out, limit);
    };
    out.push('[');
    for index in 0..*length {
        if index > 0 {
            out.push(',');
        }
        write_dimension(element, inner, reader, out, limit)?;
    }
    out.push(']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(form: Form, raw: &[u8]) -> Result<String, DecodeError> {
        let mut out = String::new();
        write_value(&form, Some(raw), &mut out, 1_000).map(|()| out)
    }

    #[test]
    fn null_needs_no_form() {
        let mut out = String::new();
        write_value(&Form::Int4, None, &mut out, 10).expect("null");
        assert_eq!(out, "null");
    }

    #[test]
    fn floats_are_short_and_the_special_ones_are_words() {
        assert_eq!(json(Form::Float4, &0.1_f32.to_be_bytes()).as_deref(), Ok("0.1"));
        assert_eq!(json(Form::Float8, &1e300_f64.to_be_bytes()).as_deref(), Ok("1e+300"));
        assert_eq!(json(Form::Float8, &f64::NAN.to_be_bytes()).as_deref(), Ok("\"NaN\""));
        assert_eq!(json(Form::Float4, &f32::NEG_INFINITY.to_be_bytes()).as_deref(), Ok("\"-Infinity\""));
    }

    #[test]
    fn text_is_escaped_and_json_is_not_touched() {
        assert_eq!(json(Form::Text, b"a\"\n\\").as_deref(), Ok(r#""a\"\n\\""#));
        assert_eq!(json(Form::Json, b"{\"a\":  1e999}").as_deref(), Ok("{\"a\":  1e999}"));
        assert_eq!(json(Form::Bytea, &[0, 255]).as_deref(), Ok(r#""\\x00ff""#));
        assert_eq!(json(Form::Text, &[0xff]), Err(DecodeError::NotUtf8));
    }

    #[test]
    fn values_of_the_wrong_length_are_an_error() {
        for (form, raw) in [
            (Form::Int4, &[0; 3][..]),
            (Form::Int4, &[0; 5]),
            (Form::Uuid, &[0; 15]),
            (Form::Jsonb, b"\x02{}"),
            (Form::Network, &[2, 32, 0, 5, 1, 2, 3, 4, 5]),
            (Form::Array(Box::new(Form::Int4)), &array_of(&[u32::MAX])),
            // Without an end: no element that would run out.
            (Form::Array(Box::new(Form::Int4)), &array_of(&[u32::MAX, u32::MAX, 0])),
            // Without an end: a dimension for each eight bytes.
            (Form::Array(Box::new(Form::Int4)), &array_of(&[1; 100_000])),
        ] {
            assert_eq!(json(form, raw), Err(DecodeError::Malformed));
        }
    }
    /// The head of an array of these lengths, in which no element follows.
    fn array_of(lengths: &[u32]) -> Vec<u8> {
        let head = [lengths.len() as u32, 0, 23];
        let words = head.into_iter().chain(lengths.iter().flat_map(|length| [*length, 1]));
        words.flat_map(u32::to_be_bytes).collect()
    }

    #[test]
    fn the_limit_holds_inside_of_an_array() {
        // 10^131068: eight words for the server, 131,069 digits.
        let digits = [10_u32, 0x0001_7fff, 0x0000_0000, 0x0001_0000].map(u32::to_be_bytes).concat();
        let mut elements = array_of(&[1_000]);
        for _ in 0..1_000 {
            elements.extend_from_slice(&digits[..14]);
        }
        let mut out = String::new();
        let result = write_value(&Form::Array(Box::new(Form::Numeric)), Some(&elements), &mut out, 100_000);
        assert_eq!(result, Err(DecodeError::TooLarge));
        assert!(out.len() < 300_000, "{}", out.len());
        assert_eq!(json(Form::Text, &[b'x'; 1_001]), Err(DecodeError::TooLarge));
    }
}

//! Values that Rust's own types do not write as the database reads them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes, for `bytea`. A `Vec<u8>` is an array of numbers in JSON, which the database does not take for bytes.
///
/// ```
/// use dbos_guest::prelude::*;
///
/// assert_eq!(serde_json::to_string(&sql::Bytes(vec![0, 255]))?, r#""\\x00ff""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(2 + self.0.len() * 2);
        text.push_str("\\x");
        for byte in &self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexDigits).map(Bytes)
    }
}

struct HexDigits;

impl de::Visitor<'_> for HexDigits {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of `\\x` and two hexadecimal digits for each byte")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
        let digits = text.strip_prefix("\\x").ok_or_else(wrong)?.as_bytes();
        let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
        let byte = |pair: &[u8]| Some((value(*pair.first()?)? << 4) | value(*pair.get(1)?)?);
        digits.chunks(2).map(|pair| byte(pair).ok_or_else(wrong)).collect()
    }
}

/// A float that may be NaN or infinite, for `float4` and `float8`. JSON has no numbers for these: they cross as the
/// strings `"NaN"`, `"Infinity"` and `"-Infinity"`. Plain `f32` and `f64` do for all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Float(pub f64);

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else if self.0.is_nan() {
            serializer.serialize_str("NaN")
        } else {
            serializer.serialize_str(if self.0 > 0.0 { "Infinity" } else { "-Infinity" })
        }
    }
}

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FloatOrWord).map(Float)
    }
}

struct FloatOrWord;

impl de::Visitor<'_> for FloatOrWord {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
    }

    fn visit_f64<E: de::Error>(self, float: f64) -> Result<f64, E> {
        Ok(float)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
        match text {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, to_string};

    use super::{Bytes, Float};

    #[test]
    fn bytes_go_both_ways() {
        let bytes = Bytes((0..=255).collect());
        assert_eq!(from_str::<Bytes>(&to_string(&bytes).unwrap()).unwrap(), bytes);
        assert_eq!(from_str::<Bytes>(r#""\\xAbCd""#).unwrap(), Bytes(vec![0xab, 0xcd]));
        for wrong in [r#""00""#, r#""\\x0""#, r#""\\x0g""#, "[1,2]", r#""\\xé""#] {
            assert!(from_str::<Bytes>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn floats_that_are_no_numbers_are_words() {
        for (float, json) in [(0.1, "0.1"), (f64::INFINITY, "\"Infinity\""), (f64::NEG_INFINITY, "\"-Infinity\"")] {
            assert_eq!(to_string(&Float(float)).unwrap(), json);
            assert_eq!(from_str::<Float>(json).unwrap(), Float(float));
        }
        assert_eq!(to_string(&Float(f64::NAN)).unwrap(), "\"NaN\"");
        assert!(from_str::<Float>("\"NaN\"").unwrap().0.is_nan());
        assert_eq!(from_str::<Float>("-3").unwrap(), Float(-3.0));
        assert!(from_str::<Float>("\"1\"").is_err());
    }
}

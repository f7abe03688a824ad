//! JSON from a guest, looked at before it is read.
//!
//! Text of sixteen megabytes is harmless; what it becomes in memory may be eighty times larger (`[{"":0},{"":0}, …]`), and
//! nested deeper than other readers can follow. So the text is walked through once, without keeping anything, before
//! anybody makes values of it.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// What one JSON text may need as values, in bytes, roughly. Eight times the largest payload: four million numbers, or a
/// hundred thousand small objects with some members each.
const MAX_VALUES_BYTES: usize = 128 * 1024 * 1024;

/// A value by itself; for text, its bytes come on top.
const VALUE: usize = 32;

/// An object with a member, as nodes of a tree are.
const OBJECT: usize = 640;

/// A member of an object beside the value: the key's own allocation.
const MEMBER: usize = 48;

/// JSON that is not read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is none.
    #[error("{0}")]
    Malformed(serde_json::Error),
    /// It would be too large.
    #[error("its values need more than {MAX_VALUES_BYTES} bytes of memory")]
    TooLarge,
}

/// Walks through a JSON text. When this returns `Ok`, it is one value, nested at most 128 deep, and harmless to read.
///
/// # Errors
/// What is wrong with it.
pub fn check_json(text: &str) -> Result<(), JsonError> {
    let mut left = MAX_VALUES_BYTES;
    let mut reader = serde_json::Deserializer::from_str(text);
    let walked = Walk { left: &mut left }.deserialize(&mut reader).and_then(|()| reader.end());
    match walked {
        Err(_) if left == 0 => Err(JsonError::TooLarge),
        Err(error) => Err(JsonError::Malformed(error)),
        Ok(()) => Ok(()),
    }
}

/// Walks one value and takes what it needs from `left`, which is zero once that was not enough.
struct Walk<'a> {
    left: &'a mut usize,
}

impl Walk<'_> {
    fn take<E: de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        *self.left = self.left.saturating_sub(bytes);
        if *self.left == 0 { Err(E::custom("too large")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(mut self) -> Result<(), E> {
        self.take(VALUE)
    }

    fn visit_bool<E: de::Error>(mut self, _: bool) -> Result<(), E> {
        self.take(VALUE)
    }

    fn visit_i64<E: de::Error>(mut self, _: i64) -> Result<(), E> {
        self.take(VALUE)
    }

    fn visit_u64<E: de::Error>(mut self, _: u64) -> Result<(), E> {
        self.take(VALUE)
    }

    fn visit_f64<E: de::Error>(mut self, _: f64) -> Result<(), E> {
        self.take(VALUE)
    }

    fn visit_str<E: de::Error>(mut self, text: &str) -> Result<(), E> {
        self.take(VALUE + text.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut values: A) -> Result<(), A::Error> {
        self.take(VALUE)?;
        while values.next_element_seed(Walk { left: &mut *self.left })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.take(VALUE + OBJECT)?;
        while let Some(Key(length)) = members.next_key()? {
            self.take(MEMBER + length)?;
            members.next_value_seed(Walk { left: &mut *self.left })?;
        }
        Ok(())
    }
}

/// The length of a key.
struct Key(usize);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Length;
        impl Visitor<'_> for Length {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
                Ok(Key(text.len()))
            }
        }
        reader.deserialize_str(Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        check_json(text).err().map_or_else(|| "ok".to_owned(), |error| error.to_string())
    }

    #[test]
    fn ordinary_json_passes() {
        for text in ["null", "1e300", "-1", "18446744073709551615", r#"{"a":[1,"x\u0000",{"b":null}],"c":true}"#] {
            assert_eq!(told(text), "ok", "{text}");
        }
        let large = format!("[{}0]", "0,".repeat(4_000_000));
        assert_eq!(told(&large), "ok");
    }

    #[test]
    fn what_is_no_json_is_told() {
        assert_eq!(told(""), "EOF while parsing a value at line 1 column 0");
        assert_eq!(told("{} {}"), "trailing characters at line 1 column 4");
        assert_eq!(told("[1,]"), "trailing comma at line 1 column 4");
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(told(&deep).starts_with("recursion limit exceeded"), "{}", told(&deep));
    }

    #[test]
    fn what_would_grow_in_memory_is_refused() {
        let objects = format!("[{}0]", r#"{"":0},"#.repeat(2_000_000));
        assert!(objects.len() < 16 * 1024 * 1024, "it is no larger than a payload may be");
        assert_eq!(told(&objects), "its values need more than 134217728 bytes of memory");
    }
}

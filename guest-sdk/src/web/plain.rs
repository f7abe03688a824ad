//! Values of any simple type out of the plain text of a path or query string.
//!
//! `42` in a URL may be meant as a number or as a text; only the type of the parameter knows. So this is a serde
//! deserialiser that looks at nothing but what the type asks for: numbers and booleans are parsed, an `Option` may be
//! missing, a list takes every value of that name. A type with fields of its own cannot come from a URL.

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, IntoDeserializer, Visitor,
        value::{Error, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

/// Reads the values that a URL gives under one name.
pub(super) fn read<T: DeserializeOwned>(values: &[String]) -> Result<T, Error> {
    T::deserialize(Values(values))
}

#[derive(Clone, Copy)]
struct Values<'a>(&'a [String]);

impl<'a> Values<'a> {
    fn one(self) -> Result<&'a str, Error> {
        match self.0 {
            [one] => Ok(one),
            [] => Err(serde::de::Error::custom("it is missing")),
            _ => Err(serde::de::Error::custom(format!("it is given {} times", self.0.len()))),
        }
    }

    fn parsed<T: std::str::FromStr>(self, expected: &str) -> Result<T, Error> {
        let text = self.one()?;
        text.parse().map_err(|_| serde::de::Error::custom(format!("expected {expected}, found `{text}`")))
    }
}

/// The methods for the types that are written as one word and parsed by the standard library.
macro_rules! parse {
    ($($method:ident => $visit:ident, $expected:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.parsed($expected)?)
        })*
    };
}

/// The methods for the types that have parts of their own.
macro_rules! refuse {
    ($($method:ident($($argument:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $argument,)* _: V) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom("a type with parts of its own cannot come from a URL"))
        })*
    };
}

impl<'de> Deserializer<'de> for Values<'_> {
    type Error = Error;

    parse! {
        deserialize_bool => visit_bool, "`true` or `false`";
        deserialize_i8 => visit_i8, "a whole number from -128 to 127";
        deserialize_i16 => visit_i16, "a whole number from -32768 to 32767";
        deserialize_i32 => visit_i32, "a whole number of 32 bits";
        deserialize_i64 => visit_i64, "a whole number of 64 bits";
        deserialize_i128 => visit_i128, "a whole number of 128 bits";
        deserialize_u8 => visit_u8, "a whole number from 0 to 255";
        deserialize_u16 => visit_u16, "a whole number from 0 to 65535";
        deserialize_u32 => visit_u32, "a whole number of 32 bits, not negative";
        deserialize_u64 => visit_u64, "a whole number of 64 bits, not negative";
        deserialize_u128 => visit_u128, "a whole number of 128 bits, not negative";
        deserialize_f32 => visit_f32, "a number";
        deserialize_f64 => visit_f64, "a number";
    }

    refuse! {
        deserialize_unit_struct(&'static str);
        deserialize_tuple(usize);
        deserialize_tuple_struct(&'static str, usize);
        deserialize_map();
        deserialize_struct(&'static str, &'static [&'static str]);
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.one()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(self.0.iter().map(std::slice::from_ref).map(Values)))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.one()?.into_deserializer())
    }

    forward_to_deserialize_any! { char str string bytes byte_buf unit identifier ignored_any }
}

impl<'de> IntoDeserializer<'de, Error> for Values<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use serde::{Deserialize, de::DeserializeOwned};

    fn from<T: DeserializeOwned>(values: &[&str]) -> Result<T, String> {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        read(&values).map_err(|error| error.to_string())
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Order {
        Newest,
        Oldest,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Id(u64);

    #[test]
    fn the_type_decides_what_the_text_is() {
        assert_eq!(from::<String>(&["42"]).unwrap(), "42");
        assert_eq!(from::<u8>(&["42"]), Ok(42));
        assert_eq!(from::<f64>(&["-1.5"]), Ok(-1.5));
        assert_eq!(from::<bool>(&["true"]), Ok(true));
        assert_eq!(from::<char>(&["x"]), Ok('x'));
        assert_eq!(from::<Id>(&["7"]), Ok(Id(7)));
        assert_eq!(from::<Order>(&["oldest"]), Ok(Order::Oldest));
        assert_eq!(from::<Option<Order>>(&["newest"]), Ok(Some(Order::Newest)));
        assert_eq!(from::<Option<u8>>(&[]), Ok(None));
        assert_eq!(from::<Vec<u16>>(&["1", "2"]), Ok(vec![1, 2]));
        assert_eq!(from::<Vec<u16>>(&[]), Ok(vec![]));
    }

    #[test]
    fn what_does_not_fit_says_what_was_expected() {
        assert_eq!(from::<u8>(&["300"]).unwrap_err(), "expected a whole number from 0 to 255, found `300`");
        assert_eq!(from::<bool>(&["yes"]).unwrap_err(), "expected `true` or `false`, found `yes`");
        assert_eq!(from::<String>(&[]).unwrap_err(), "it is missing");
        assert_eq!(from::<String>(&["a", "b"]).unwrap_err(), "it is given 2 times");
        assert!(from::<Order>(&["best"]).unwrap_err().contains("expected `newest` or `oldest`"));
        assert!(from::<(u8, u8)>(&["1", "2"]).unwrap_err().contains("cannot come from a URL"));
    }
}

//! Looks for floats that JSON has no number for.
//!
//! Serializers of JSON write NaN and the infinities as `null`. In a parameter that is NULL: a value would be gone without
//! a word. So parameters are looked through first, by a serializer that writes nothing.

use std::fmt::Display;

use serde::Serialize;
use serde::ser::{self, Error as _, Serializer};
use serde_json::Error;

/// Fails if there is a float in `value` that is no number.
pub(super) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), Error> {
    value.serialize(Look)
}

fn check_float(float: impl Into<f64> + Display) -> Result<(), Error> {
    let text = float.to_string();
    if float.into().is_finite() {
        return Ok(());
    }
    Err(Error::custom(format!("`{text}` has no number there; use `sql::Float`")))
}

#[derive(Clone, Copy)]
struct Look;

/// Methods for values in which there is no float.
macro_rules! passes {
    ($($method:ident($($argument:ty),*);)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<(), Error> { Ok(()) })*
    };
}

/// Methods for values that have others in them.
macro_rules! enters {
    ($($method:ident($($argument:ty),*) -> $compound:ident;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<Self, Error> { Ok(self) })*
    };
}

impl Serializer for Look {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    passes! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    enters! {
        serialize_seq(Option<usize>) -> SerializeSeq;
        serialize_tuple(usize) -> SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> SerializeTupleVariant;
        serialize_map(Option<usize>) -> SerializeMap;
        serialize_struct(&'static str, usize) -> SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> SerializeStructVariant;
    }

    fn serialize_f32(self, float: f32) -> Result<(), Error> {
        check_float(float)
    }

    fn serialize_f64(self, float: f64) -> Result<(), Error> {
        check_float(float)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        check(value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        check(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        check(value)
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<(), Error> {
        Ok(())
    }
}

/// Goes into each element or field.
macro_rules! compound {
    ($($trait:ident { $method:ident($($name:ty)?) })*) => {
        $(impl ser::$trait for Look {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Result<(), Error> {
                check(value)
            }

            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        })*
    };
}

compound! {
    SerializeSeq { serialize_element() }
    SerializeTuple { serialize_element() }
    SerializeTupleStruct { serialize_field() }
    SerializeTupleVariant { serialize_field() }
    SerializeStruct { serialize_field(&'static str) }
    SerializeStructVariant { serialize_field(&'static str) }
}

impl ser::SerializeMap for Look {
    type Ok = ();
    type Error = Error;

    // A key is written as a string, or not at all.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        check(value)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::check;

    #[derive(Serialize)]
    enum Shape {
        Unit,
        New(f32),
        Tuple(u8, f64),
        Struct { x: f64 },
    }

    #[test]
    fn floats_are_found_wherever_they_are() {
        assert!(check(&f64::NAN).is_err() && check(&f32::INFINITY).is_err() && check(&0.5).is_ok());
        for (x, found) in [(0.5, false), (f64::NEG_INFINITY, true)] {
            for (n, result) in [
                check(&Some(x)),
                check(&(1, x)),
                check(&[x]),
                check(&BTreeMap::from([("a", x)])),
                check(&Shape::New(x as f32)),
                check(&Shape::Tuple(1, x)),
                check(&Shape::Struct { x }),
            ]
            .into_iter()
            .enumerate()
            {
                assert_eq!(result.is_err(), found, "case {n}");
            }
        }
        assert!(check(&(Shape::Unit, "text", 'c', (), None::<u8>, i128::MAX)).is_ok());
    }
}

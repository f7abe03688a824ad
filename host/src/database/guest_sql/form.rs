//! Which form a value of an SQL type has in JSON.
//!
//! Parameters and columns must agree, or a value that came out could not go in again. So both ask this one table, and
//! they ask once for each statement and not for each value.
//!
//! | SQL | JSON |
//! |---|---|
//! | bool | `true`, `false` |
//! | int2, int4, int8, oid | a whole number; going in, also a string of digits, for languages whose numbers end at 2^53 |
//! | float4, float8 | a number; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | numeric | a string with all its digits, `"12.50"`; going in, also a number, which is taken digit by digit |
//! | text, varchar, char, name, citext, xml, enums | a string |
//! | bytea | a string, `"\\x"` and two hexadecimal digits for each byte |
//! | uuid, inet, cidr | a string |
//! | json, jsonb | the JSON itself. A string is a JSON string. `null` going in is the SQL NULL, so a JSON null that came out becomes NULL when it goes in again; `'null'::jsonb` writes one |
//! | date, time, timetz, timestamp | an ISO 8601 string, `"2026-05-01T12:00:00.000000"`; `"infinity"` |
//! | timestamptz | an RFC 3339 string in UTC, `"2026-05-01T12:00:00.000000Z"` |
//! | interval | an ISO 8601 duration, `"P1Y2M3DT4H5M6.7S"` |
//! | domains | as the type beneath |
//! | arrays | an array, of arrays if it has more dimensions; going in, also the server's text form, `"{1,2}"`. The lower bounds are not kept |
//! | void | `null` |
//! | any other | going in, a string with the type's text form; coming out, an error: cast it to text |
//!
//! Years before 1 and after 9999 are written as the server writes them: `"0044-03-15 BC"`, `"12026-05-01"`.

use std::fmt;

use tokio_postgres::types::{Kind, Type};

/// The JSON form of an SQL type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    /// The one-byte type `"char"`, with its quotation marks. It is not char(n), which is text.
    Char,
    Bytea,
    Uuid,
    Json,
    Jsonb,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    /// inet and cidr.
    Network,
    Void,
    Array(Box<Form>),
    /// A type that this host does not know; only its text form can go in.
    Other,
}

impl Form {
    /// The form of a type. Domains have the form of the type beneath.
    pub(super) fn of(ty: &Type) -> Self {
        match *ty {
            Type::BOOL => Self::Bool,
            Type::INT2 => Self::Int2,
            Type::INT4 => Self::Int4,
            Type::INT8 => Self::Int8,
            Type::OID => Self::Oid,
            Type::FLOAT4 => Self::Float4,
            Type::FLOAT8 => Self::Float8,
            Type::NUMERIC => Self::Numeric,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::XML => Self::Text,
            Type::CHAR => Self::Char,
            Type::BYTEA => Self::Bytea,
            Type::UUID => Self::Uuid,
            Type::JSON => Self::Json,
            Type::JSONB => Self::Jsonb,
            Type::DATE => Self::Date,
            Type::TIME => Self::Time,
            Type::TIMETZ => Self::TimeTz,
            Type::TIMESTAMP => Self::Timestamp,
            Type::TIMESTAMPTZ => Self::TimestampTz,
            Type::INTERVAL => Self::Interval,
            Type::INET | Type::CIDR => Self::Network,
            Type::VOID => Self::Void,
            // The driver calls these arrays, but their text form is another one.
            Type::INT2_VECTOR | Type::OID_VECTOR => Self::Other,
            _ => Self::of_kind(ty),
        }
    }

    fn of_kind(ty: &Type) -> Self {
        match ty.kind() {
            Kind::Enum(_) => Self::Text,
            Kind::Domain(base) => Self::of(base),
            Kind::Array(element) => Self::Array(Box::new(Self::of(element))),
            Kind::Simple if ty.name() == "citext" => Self::Text,
            _ => Self::Other,
        }
    }

    /// True when a column of this form can be returned.
    pub(super) fn has_json(&self) -> bool {
        match self {
            Self::Array(element) => element.has_json(),
            form => *form != Self::Other,
        }
    }

    /// True when a value of this form may itself be a JSON array. An array of such values has one dimension here:
    /// with more, nobody could tell where the dimensions end and the values begin.
    pub(super) fn may_be_json_array(&self) -> bool {
        matches!(self, Self::Json | Self::Jsonb | Self::Array(_))
    }
}

/// A type's name for people: `int4[]` and not `_int4`.
pub(super) struct TypeName<'a>(pub(super) &'a Type);

impl fmt::Display for TypeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            Kind::Array(element) => write!(f, "{}[]", TypeName(element)),
            _ => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, kind: Kind) -> Type {
        Type::new(name.to_owned(), 100_000, kind, "public".to_owned())
    }

    #[test]
    fn domains_and_enums_have_the_form_of_what_is_beneath() {
        let mood = made("mood", Kind::Enum(vec!["sad".to_owned()]));
        let price = made("price", Kind::Domain(made("money_like", Kind::Domain(Type::NUMERIC))));
        assert_eq!(Form::of(&mood), Form::Text);
        assert_eq!(Form::of(&price), Form::Numeric);
        assert_eq!(Form::of(&made("_price", Kind::Array(price))), Form::Array(Box::new(Form::Numeric)));
    }

    #[test]
    fn unknown_types_and_their_arrays_have_no_json() {
        for ty in [Type::POINT, Type::POINT_ARRAY, Type::INT4_RANGE, Type::RECORD, Type::INT2_VECTOR, Type::REGCLASS] {
            assert!(!Form::of(&ty).has_json(), "{ty}");
        }
        assert!(Form::of(&Type::TEXT_ARRAY).has_json());
    }

    #[test]
    fn an_array_is_named_as_in_sql() {
        assert_eq!(TypeName(&Type::INT4_ARRAY).to_string(), "int4[]");
        assert_eq!(TypeName(&Type::TEXT).to_string(), "text");
    }
}

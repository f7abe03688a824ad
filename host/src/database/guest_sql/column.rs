//! Rows as a JSON array of objects by column name.
//!
//! Three things can go wrong with a result. A column has a type that this host cannot write, or two columns have the
//! same name and one would hide the other: both are known once the statement is prepared, so they are found **before**
//! it runs, and whether a statement fails does not depend on whether it finds a row. And a result can be larger than
//! the guest that asked for it can hold: so rows are written as they arrive, up to a limit, and never collected first.

use std::collections::HashSet;
use std::error::Error;

use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Column, Row};

use super::error::{HostCode, SqlFailure};
use super::form::{Form, TypeName};
use super::reader::DecodeError;
use super::value::{push_string, write_value};

/// How large the JSON of one result may be. A guest holds it twice, as text and as values, in a memory of some tens of
/// megabytes, and the host holds one for each running transaction. What is larger can be read in pieces by a cursor.
pub const MAX_RESULT_BYTES: usize = 16 * 1024 * 1024;

/// Writes the rows of one statement.
#[derive(Debug)]
pub struct RowWriter {
    columns: Vec<NamedForm>,
    out: String,
    limit: usize,
}

/// A column, with what is written for it in each row.
#[derive(Debug)]
struct NamedForm {
    /// The name as a JSON string, with the colon.
    key: String,
    form: Form,
}

impl RowWriter {
    /// Begins the result of a prepared statement with these columns; its JSON may grow to `limit` bytes.
    ///
    /// When it returns `Ok`, every column has a JSON form and a name of its own. Single values may still have none.
    pub fn new(columns: &[Column], limit: usize) -> Result<Self, SqlFailure> {
        let columns = named_forms(columns.iter().map(|column| (column.name(), column.type_())))?;
        Ok(Self { columns, out: "[".to_owned(), limit })
    }

    /// Adds a row of that statement. After an error the result is of no use any more.
    pub fn push(&mut self, row: &Row) -> Result<(), SqlFailure> {
        debug_assert_eq!(row.len(), self.columns.len(), "the row belongs to another statement");
        self.out.push_str(if self.out.len() > 1 { ",{" } else { "{" });
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.out.push_str(&column.key);
            let raw: Raw<'_> = row.try_get(index).map_err(|error| SqlFailure::from(&error))?;
            write_value(&column.form, raw.0, &mut self.out, self.limit).map_err(|error| match error {
                DecodeError::TooLarge => too_large(self.limit),
                other => unreadable(row.columns()[index].name(), row.columns()[index].type_(), other),
            })?;
        }
        self.out.push('}');
        Ok(())
    }

    /// The JSON array of all rows.
    pub fn finish(mut self) -> String {
        self.out.push(']');
        self.out
    }
}

fn named_forms<'a>(columns: impl Iterator<Item = (&'a str, &'a Type)>) -> Result<Vec<NamedForm>, SqlFailure> {
    let mut seen = HashSet::new();
    let named = columns.map(|(name, ty)| {
        if !seen.insert(name) {
            let message = format!("return two columns named `{name}`");
            let hint = "give each column a name of its own with AS";
            return Err(SqlFailure::host(HostCode::DuplicateColumn, message).with_hint(hint));
        }
        let form = Form::of(ty);
        if !form.has_json() {
            return Err(no_json(name, ty, "there is no JSON for values of this type"));
        }
        let mut key = String::new();
        push_string(name, &mut key);
        key.push(':');
        Ok(NamedForm { key, form })
    });
    named.collect()
}

fn too_large(limit: usize) -> SqlFailure {
    let message = format!("the result has more than {limit} bytes");
    let hint = "ask for fewer rows or columns, or read the rows page by page with `sql::cursor`";
    SqlFailure::host(HostCode::ResultTooLarge, message).with_hint(hint)
}

fn unreadable(name: &str, ty: &Type, error: DecodeError) -> SqlFailure {
    match error {
        DecodeError::NoJson(_) => no_json(name, ty, error),
        DecodeError::TooLarge | DecodeError::Malformed | DecodeError::NotUtf8 => {
            let message = format!("read column `{name}` of type `{}`: {error}", TypeName(ty));
            SqlFailure::host(HostCode::Protocol, message)
        }
    }
}

fn no_json(name: &str, ty: &Type, reason: impl std::fmt::Display) -> SqlFailure {
    let message = format!("return column `{name}` of type `{}`: {reason}", TypeName(ty));
    SqlFailure::host(HostCode::UnsupportedType, message).with_hint(format!("cast it to text: `{name}::text`"))
}

/// The bytes of a value of any type.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_columns_of_one_name_are_refused() {
        let failure = named_forms([("a", &Type::INT4), ("a", &Type::TEXT)].into_iter()).expect_err("a failure");
        assert_eq!(
            (failure.code.as_str(), failure.message.as_str()),
            ("duplicate_column", "return two columns named `a`")
        );
    }

    #[test]
    fn a_type_without_json_names_column_and_type_and_the_cast() {
        let failure = named_forms([("area", &Type::BOX_ARRAY)].into_iter()).expect_err("a failure");
        assert_eq!(failure.message, "return column `area` of type `box[]`: there is no JSON for values of this type");
        assert_eq!(failure.hint.as_deref(), Some("cast it to text: `area::text`"));
    }
}

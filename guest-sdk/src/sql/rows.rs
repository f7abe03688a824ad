//! Rows, from the JSON array that the host hands over to values of the program's types.
//!
//! Each row is cut out of the text as it stands and read by itself: so a field of the type `Box<RawValue>` gets exactly
//! what the database said, and an error names its row.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{Error, Result, host::SQL_ERROR};

/// The code of the error when there is more than one row where at most one was expected; the name that SQL gives it.
const TOO_MANY_ROWS: &str = "P0003";

/// Reads rows that come after `before` others.
pub(super) fn read<Row: DeserializeOwned>(text: &str, before: u64) -> Result<Vec<Row>> {
    let rows: Vec<&RawValue> = serde_json::from_str(text)?;
    let numbered = (before + 1..).zip(rows);
    numbered.map(|(number, row)| serde_json::from_str(row.get()).map_err(|error| misfit(number, &error))).collect()
}

fn misfit(number: u64, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    // Where in the row's JSON it is does not help anybody who did not see the JSON.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    Error::new(format!("row {number} does not fit its type: {text}")).with_name(SQL_ERROR)
}

pub(super) fn at_most_one<Row>(mut rows: Vec<Row>) -> Result<Option<Row>> {
    if rows.len() > 1 {
        let message = format!("the statement returned {} rows where at most one was expected", rows.len());
        return Err(Error::new(message).with_name(SQL_ERROR).with_code(TOO_MANY_ROWS));
    }
    Ok(rows.pop())
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{at_most_one, read};

    #[derive(Debug, serde::Deserialize)]
    struct Greeting {
        name: String,
    }

    #[test]
    fn rows_are_read_by_column_name() {
        let greetings: Vec<Greeting> = read(r#"[{"name":"Mike","id":1}]"#, 0).unwrap();
        assert_eq!(greetings[0].name, "Mike");
    }

    #[test]
    fn an_error_names_its_row() {
        let error = read::<Greeting>(r#"[{"name":"Mike"},{"id":1}]"#, 0).unwrap_err();
        assert_eq!(error.message(), "row 2 does not fit its type: missing field `name`");
        let error = read::<Greeting>(r#"[{"name":7}]"#, 100).unwrap_err();
        assert_eq!(error.message(), "row 101 does not fit its type: invalid type: integer `7`, expected a string");
    }

    #[test]
    fn a_raw_value_keeps_every_digit() {
        #[derive(serde::Deserialize)]
        struct Row {
            v: Box<RawValue>,
        }
        let rows: Vec<Row> = read(r#"[{"v":{"a": 1e999}}]"#, 0).unwrap();
        assert_eq!(rows[0].v.get(), r#"{"a": 1e999}"#);
    }

    #[test]
    fn one_row_or_none() {
        assert_eq!(at_most_one::<u8>(vec![]).unwrap(), None);
        assert_eq!(at_most_one(vec![1]).unwrap(), Some(1));
        assert_eq!(at_most_one(vec![1, 2]).unwrap_err().code(), Some("P0003"));
    }
}

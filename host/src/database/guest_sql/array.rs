//! Array parameters: JSON arrays in the server's text form, `{{1,2},{3,NULL}}`.
//!
//! Two things can go wrong. An element's own braces, commas, quotation marks or the word NULL would be read as a part
//! of the array, so every string is quoted. And a guest can nest brackets as deep as it likes, so the depth is limited
//! before the code descends: the host's stack is not the guest's.

use serde_json::value::RawValue;

use super::form::Form;
use super::parameter::{self, Mismatch};

/// The server's own limit for the dimensions of an array (MAXDIM).
const MAX_DIMENSIONS: usize = 6;

/// The text form of an array of `element`s.
pub(super) fn text_of(element: &Form, array: &RawValue) -> Result<String, Mismatch> {
    let mut out = String::with_capacity(array.get().len() + 2);
    write_array(element, array, MAX_DIMENSIONS, &mut out)?;
    Ok(out)
}

/// Writes one dimension and what is in it, and returns the lengths of its dimensions, the outermost first.
fn write_array(element: &Form, array: &RawValue, deeper: usize, out: &mut String) -> Result<Vec<usize>, Mismatch> {
    if deeper == 0 {
        return Err(Mismatch::new(format!("at most {MAX_DIMENSIONS} dimensions"), "more"));
    }
    let items: Vec<&RawValue> =
        serde_json::from_str(array.get()).map_err(|error| Mismatch::new("an array", error.to_string()))?;
    let mut inner: Option<Vec<usize>> = None;
    out.push('{');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let lengths = write_item(element, item, deeper - 1, out)?;
        match &inner {
            Some(first) if *first != lengths => {
                return Err(Mismatch::new("inner arrays of equal length in each dimension", "different ones"));
            }
            Some(_) => {}
            None => inner = Some(lengths),
        }
    }
    out.push('}');
    let inner = inner.unwrap_or_default();
    // The server has no empty arrays inside arrays: it would make the whole array empty.
    if inner.first() == Some(&0) {
        return Err(Mismatch::new("inner arrays that are not empty", "an empty one"));
    }
    Ok([vec![items.len()], inner].concat())
}

/// Writes one item of a dimension: a further dimension, or an element (whose own dimensions are none).
fn write_item(element: &Form, item: &RawValue, deeper: usize, out: &mut String) -> Result<Vec<usize>, Mismatch> {
    if item.get().starts_with('[') && !element.may_be_json_array() {
        return write_array(element, item, deeper, out);
    }
    match parameter::text_of(element, item)? {
        None => out.push_str("NULL"),
        Some(text) => write_quoted(&text, out),
    }
    Ok(Vec::new())
}

fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(element: Form, json: &str) -> Result<String, Mismatch> {
        text_of(&element, &RawValue::from_string(json.to_owned()).expect("valid JSON"))
    }

    #[test]
    fn elements_are_quoted_and_nested() {
        assert_eq!(text(Form::Int4, "[]"), Ok("{}".to_owned()));
        assert_eq!(text(Form::Int4, "[[1, null], [3,4]]"), Ok("{{\"1\",NULL},{\"3\",\"4\"}}".to_owned()));
        assert_eq!(text(Form::Text, r#"["NULL", "a\"b\\c,{}", ""]"#), Ok(r#"{"NULL","a\"b\\c,{}",""}"#.to_owned()));
    }

    #[test]
    fn arrays_inside_json_and_array_elements_are_values() {
        assert_eq!(text(Form::Json, r#"[[1,"x"],null]"#), Ok(r#"{"[1,\"x\"]",NULL}"#.to_owned()));
        assert_eq!(
            text(Form::Array(Box::new(Form::Int4)), "[[1],[2,3]]"),
            Ok(r#"{"{\"1\"}","{\"2\",\"3\"}"}"#.to_owned())
        );
    }

    #[test]
    fn ragged_empty_and_deep_ones_are_refused() {
        for json in ["[[1],[2,3]]", "[1,[2]]", "[[1],null]", "[[]]", "[[[]],[[]]]", "[[[[[[[1]]]]]]]", "[\"x\"]"] {
            assert!(text(Form::Int4, json).is_err(), "{json}");
        }
        assert!(text(Form::Int4, "[[[[[[1]]]]]]").is_ok());
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(text(Form::Int4, &deep).is_err());
    }
}

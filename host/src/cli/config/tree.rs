//! A YAML text as a tree of texts, each with its line.
//!
//! YAML guesses types: `1.10` would be the number 1.1, and a version or a key in `env` lose a digit. Here every value
//! stays the text that was written, and who reads a key says what it has to be. Lines are kept because an error without
//! one sends people searching. The parser's own errors are told by their kind and place only, without the text around:
//! it may be a secret.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter, NonFiniteFloatPolicy, Spanned};

use super::error::ConfigError;
use crate::cli::escape;

/// A value and the line where it stands; for the value of a key, that of the key.
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) value: Value,
}

/// What stands there.
pub(super) enum Value {
    /// Nothing, or `null`.
    Null,
    /// A text, or whatever else one word can be.
    Text(String),
    List(Vec<Node>),
    /// Keys and values in their order.
    Map(Vec<(String, Node)>),
}

/// Reads a document. An empty one is [`Value::Null`].
pub(super) fn parse(source: &str) -> Result<Node, ConfigError> {
    // The parser asks for a value; a file of nothing but comments has none, and says nothing wrong by it.
    if source.lines().all(|line| line.trim_start().starts_with('#') || line.trim().is_empty()) {
        return Ok(Node { line: 1, value: Value::Null });
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    };
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(source, options).map_err(|error| explain(&error))?;
    let line = raw.referenced.line();
    Ok(node(line, raw, source))
}

/// Whether a text may be quoted as a key. Where a colon or a space is missing, a value is taken for one, and it may be a
/// secret.
pub(super) fn looks_like_a_key(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn explain(error: &Error) -> ConfigError {
    let error = error.without_snippet();
    let text = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } if looks_like_a_key(key) => {
            format!("the key `{key}` stands twice")
        }
        Error::DuplicateMappingKey { .. } => "a key stands twice".to_owned(),
        other => format!("not YAML: {}", escape::line(&DefaultMessageFormatter.format_message(other))),
    };
    match error.location() {
        Some(location) if location.line() > 0 => ConfigError::at(location.line(), text),
        _ => ConfigError::new(text),
    }
}

fn node(line: u64, raw: Spanned<Raw>, source: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Text(text),
        Raw::Guessed(shown) => {
            let span = raw.defined.span();
            let written = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
                let start = usize::try_from(start).ok()?;
                source.get(start..start.checked_add(usize::try_from(length).ok()?)?)
            });
            Value::Text(written.map_or(shown, str::to_owned))
        }
        Raw::List(items) => {
            Value::List(items.into_iter().map(|item| node(item.referenced.line(), item, source)).collect())
        }
        Raw::Map(entries) => {
            let entry = |(key, value): (Spanned<String>, _)| {
                let line = key.referenced.line();
                (key.value, node(line, value, source))
            };
            Value::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { line, value }
}

/// A value as the parser sees it.
enum Raw {
    Null,
    Text(String),
    /// What the parser took for a number or truth value, as it would print it.
    Guessed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree on one line, with the line of each text.
    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Text(text) => format!("{text}@{}", node.line),
            Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Value::Map(entries) => {
                let entries: Vec<String> = entries.iter().map(|(key, node)| format!("{key}:{}", shown(node))).collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    fn read(source: &str) -> String {
        parse(source).map_or_else(|error| error.to_string(), |node| shown(&node))
    }

    #[test]
    fn a_value_stays_what_was_written() {
        assert_eq!(
            read("é: 1.10\nb: true\nc: 0x1F\nd: 'yes'\ne: 00012\nf: 1_000\ng: ~\nh: 99999999999999999999999\n"),
            "{é:1.10@1 b:true@2 c:0x1F@3 d:yes@4 e:00012@5 f:1_000@6 g:null h:99999999999999999999999@8}"
        );
        assert_eq!(read("a: &x 1.50\nb: *x\n"), "{a:1.50@1 b:1.50@2}");
        assert_eq!(read("a: .inf\nb: 1e3\nc: -0\n"), "{a:.inf@1 b:1e3@2 c:-0@3}");
    }

    #[test]
    fn lists_and_maps_keep_their_order() {
        assert_eq!(read("b: [x, y]\na:\n  - 1\n  - k: v\n"), "{b:[x@1 y@1] a:[1@3 {k:v@4}]}");
    }

    #[test]
    fn the_line_of_a_value_is_that_of_its_key() {
        assert_eq!(read("a:\n  x\nb:\n  - y\n  -\n    z\n"), "{a:x@1 b:[y@4 z@6]}");
    }

    #[test]
    fn nothing_is_no_error() {
        assert_eq!(read(""), "null");
        assert_eq!(read("# only a comment\n\n"), "null");
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(read("a: 1\nb: 2\na: 3\n"), "line 3: the key `a` stands twice");
        assert_eq!(read("a:\n\t- x\n"), "line 2: not YAML: tabs disallowed within this context (block indentation)");
        assert_eq!(read("a: 1\n---\nb: 2\n").split(": ").nth(1), Some("not YAML"));
    }

    #[test]
    fn errors_do_not_quote_the_file() {
        for source in [
            "database_url: postgres://u:sesame@h: d\n",
            "a: \"sesame",
            "a: 'x'sesame\n",
            "a: [sesame\nb: 2\n",
            "a: \"\\qsesame\"",
            "a: !!int sesame",
            "a: !!bool sesame",
            "a: *sesame",
            "a: sesame\n  b: c: d",
            "a: !!binary sesame",
            "postgres://u:sesame@h: 1\npostgres://u:sesame@h: 2\n",
        ] {
            let error = parse(source).err().map(|error| error.to_string());
            assert!(error.as_ref().is_none_or(|text| !text.contains("sesame")), "{error:?}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let source = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&source).is_err());
    }
}

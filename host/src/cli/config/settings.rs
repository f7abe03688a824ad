//! What is set, and where: for people who want to know why a host does what it does.
//!
//! A value is told as it is written, and that of a secret not at all: what a variable holds is not needed to see where a
//! setting comes from, and this is read over shoulders and pasted into tickets.

use super::keys::{Key, Place, Shape};
use super::tree::{Node, Value};
use super::values::Values;

/// What stands for a value that must not be shown.
pub(super) const HIDDEN: &str = "…";

/// A key and what it is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The path of the key, from the top of the file.
    pub(crate) key: String,
    /// As it is written.
    pub(crate) value: String,
    /// Where that stands.
    pub(crate) from: Origin,
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line, or an environment variable that stands for a flag.
    Override,
    /// This line of the file.
    Line(u64),
    /// Nobody set it.
    Default,
}

/// The settings of a place. `overridden` are the keys that something comes before, with what it says.
pub(super) fn list(place: Place, values: &Values<'_>, overridden: &[(&str, String)]) -> Vec<Setting> {
    let mut settings = Vec::new();
    for key in place.keys().filter(|key| key.shape != Shape::Apps) {
        let shown = values.shown(key.path);
        if let Some((_, value)) = overridden.iter().find(|(path, _)| *path == key.path) {
            settings.push(Setting { key: shown, value: value.clone(), from: Origin::Override });
            continue;
        }
        match values.written(key.path) {
            Some(Node { line: _, value: Value::Map(entries) }) => {
                settings.extend(entries.iter().map(|(name, node)| Setting {
                    key: format!("{shown}.{name}"),
                    value: value(key, node),
                    from: Origin::Line(node.line),
                }));
            }
            Some(node) => {
                settings.push(Setting { key: shown, value: value(key, node), from: Origin::Line(node.line) });
            }
            None => settings.push(Setting { key: shown, value: key.default.replace('`', ""), from: Origin::Default }),
        }
    }
    settings
}

fn value(key: &Key, node: &Node) -> String {
    match &node.value {
        // That a secret comes from a variable is no secret; the rest of it may be one.
        Value::Text(text) if key.is_secret && is_one_variable(text) => text.clone(),
        _ if key.is_secret => HIDDEN.into(),
        Value::Text(text) => text.clone(),
        Value::List(items) => items.iter().map(|item| value(key, item)).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Map(_) => String::new(),
    }
}

/// `${VAR}` and nothing else, no default either.
fn is_one_variable(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

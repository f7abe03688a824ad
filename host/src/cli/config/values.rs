//! Typed access to a tree: what each key holds, substituted and checked.

use std::collections::{BTreeMap, HashMap};
use std::env::VarError;
use std::fmt::Display;

use super::error::ConfigError;
use super::keys::{self, Shape};
use super::substitute::{self, Problem, Variables};
use super::tree::{Node, Value};
use super::types::Secret;
use crate::cli::escape;

/// The values of a file by their keys, all of them known ones.
pub(super) struct Values<'a> {
    nodes: HashMap<&'static str, Node>,
    variables: Variables<'a>,
}

impl<'a> Values<'a> {
    /// Checks that every key is a known one and holds what it should.
    pub(super) fn new(root: Node, variables: Variables<'a>) -> Result<Self, ConfigError> {
        let mut nodes = HashMap::new();
        match root.value {
            Value::Null => {}
            Value::Map(entries) => collect("", entries, &mut nodes)?,
            Value::Text(_) | Value::List(_) => {
                return Err(ConfigError::at(root.line, "expected keys and values, like `name: greeting`"));
            }
        }
        Ok(Self { nodes, variables })
    }

    /// A text that may be shown.
    pub(super) fn text(&self, path: &'static str) -> Result<Option<String>, ConfigError> {
        self.parsed(path, |text| Ok::<_, String>(text.to_owned()))
    }

    /// A text that must not be shown.
    pub(super) fn secret(&self, path: &'static str) -> Result<Option<Secret>, ConfigError> {
        let Some((line, text)) = self.single(path)? else { return Ok(None) };
        if text.is_empty() {
            return Err(ConfigError::at(line, format!("`{path}` is empty")).hint("leave the key out for the default"));
        }
        Ok(Some(text.into()))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, path: &'static str) -> Result<bool, ConfigError> {
        let flag = self.parsed(path, |text| text.parse().map_err(|_| "expected `true` or `false`"))?;
        Ok(flag.unwrap_or(false))
    }

    /// A text that `parse` understands. Empty ones are refused: they are mistakes for everything that can be set.
    pub(super) fn parsed<T, E: Display>(
        &self,
        path: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((line, text)) = self.single(path)? else { return Ok(None) };
        if text.is_empty() {
            return Err(ConfigError::at(line, format!("`{path}` is empty")).hint("leave the key out for the default"));
        }
        parse(&text).map(Some).map_err(|reason| refused(line, path, &text, &reason))
    }

    /// A list of texts that `parse` understands.
    pub(super) fn list<T, E: Display>(
        &self,
        path: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, ConfigError> {
        let item = |item: &Node| {
            let text = self.substituted(path, item)?;
            parse(&text).map_err(|reason| refused(item.line, path, &text, &reason))
        };
        self.items(path).iter().map(item).collect()
    }

    /// A list of texts as they are written: `${VAR}` in a shell command is the shell's to replace. It sees the same
    /// variables, and unlike a replacement in its text, its own cannot turn a value into a command.
    pub(super) fn commands(&self, path: &'static str) -> Result<Vec<String>, ConfigError> {
        let text = |item: &Node| match &item.value {
            Value::Text(text) if !text.trim().is_empty() => Ok(text.clone()),
            _ => Err(ConfigError::at(item.line, format!("expected a shell command in `{path}`"))),
        };
        self.items(path).iter().map(text).collect()
    }

    /// Names and their secret texts.
    pub(super) fn secrets(&self, path: &'static str) -> Result<BTreeMap<String, Secret>, ConfigError> {
        let Some(Node { value: Value::Map(entries), .. }) = self.node(path) else { return Ok(BTreeMap::new()) };
        let entry = |(name, node): &(String, Node)| {
            if name.is_empty() || name.contains(['=', '\0']) {
                let name = escape::line(name);
                return Err(ConfigError::at(node.line, format!("`{name}` in `{path}` is no name of a variable")));
            }
            let text = self.substituted(&format!("{path}.{}", escape::line(name)), node)?;
            if text.contains('\0') {
                return Err(ConfigError::at(
                    node.line,
                    format!("the value of `{path}.{name}` contains a NUL character"),
                ));
            }
            Ok((name.clone(), text.into()))
        };
        entries.iter().map(entry).collect()
    }

    fn node(&self, path: &'static str) -> Option<&Node> {
        assert!(keys::find(path).is_some(), "`{path}` is read but not in the list of keys");
        self.nodes.get(path)
    }

    fn items(&self, path: &'static str) -> &[Node] {
        match self.node(path) {
            Some(Node { value: Value::List(items), .. }) => items,
            _ => &[],
        }
    }

    fn single(&self, path: &'static str) -> Result<Option<(u64, String)>, ConfigError> {
        let Some(node) = self.node(path) else { return Ok(None) };
        Ok(Some((node.line, self.substituted(path, node)?)))
    }

    /// The text of a node with its variables replaced.
    fn substituted(&self, path: &str, node: &Node) -> Result<String, ConfigError> {
        let error = |text| ConfigError::at(node.line, text);
        let text = match &node.value {
            Value::Text(text) => text,
            Value::Null => return Err(error(format!("`{path}` has no value")).hint("write `\"\"` for an empty text")),
            Value::List(_) | Value::Map(_) => return Err(error(format!("`{path}` must be a single value"))),
        };
        substitute::substitute(text, self.variables).map_err(|problem| match problem {
            Problem::Unset(name) => error(format!("`{path}` uses the environment variable `{name}`, which is not set"))
                .hint(format!("set it, or write `${{{name}:-default}}`")),
            Problem::NotText(name) => {
                error(format!("`{path}` uses the environment variable `{name}`, which is not UTF-8"))
            }
            // What stands there may be the middle of a password.
            Problem::BadName(_) => error(format!("what `{path}` has between `${{` and `}}` is no name of a variable"))
                .hint("write `$${` for the characters `${`"),
            Problem::NeverClosed => {
                error(format!("`{path}` has `${{` without `}}`")).hint("write `$${` for the characters `${`")
            }
        })
    }
}

/// The environment of this process.
pub(super) fn process_variables(name: &str) -> Result<String, VarError> {
    std::env::var(name)
}

fn refused(line: u64, path: &str, text: &str, reason: &impl Display) -> ConfigError {
    ConfigError::at(line, format!("`{path}` is `{}`: {reason}", escape::line(text)))
}

/// Goes through the keys below `section`.
fn collect(
    section: &str,
    entries: Vec<(String, Node)>,
    nodes: &mut HashMap<&'static str, Node>,
) -> Result<(), ConfigError> {
    for (name, node) in entries {
        let name = escape::line(&name);
        let path = if section.is_empty() { name } else { format!("{section}.{name}") };
        let line = node.line;
        if let Some(key) = keys::find(&path) {
            match (key.shape, &node.value) {
                // A key without a value, as when all that stands below it is commented out, is as good as none.
                (_, Value::Null) => continue,
                (Shape::Single, Value::Text(_)) | (Shape::List, Value::List(_)) | (Shape::Map, Value::Map(_)) => {}
                (Shape::Single, _) => return Err(ConfigError::at(line, format!("`{path}` must be a single value"))),
                (Shape::List, _) => {
                    return Err(ConfigError::at(line, format!("`{path}` must be a list"))
                        .hint("write each item on a line of its own that starts with `- `"));
                }
                (Shape::Map, _) => {
                    return Err(ConfigError::at(line, format!("`{path}` must be names with values"))
                        .hint("write each as `NAME: value` on a line of its own"));
                }
            }
            nodes.insert(key.path, node);
        } else if keys::is_section(&path) {
            match node.value {
                Value::Null => {}
                Value::Map(entries) => collect(&path, entries, nodes)?,
                Value::Text(_) | Value::List(_) => {
                    return Err(ConfigError::at(line, format!("`{path}` must hold further keys")));
                }
            }
        } else {
            return Err(keys::unknown(line, &path));
        }
    }
    Ok(())
}

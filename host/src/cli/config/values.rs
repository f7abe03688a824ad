//! Typed access to a tree: what each key holds, substituted and checked.
//!
//! A value may be a secret, by mistake too: a variable's value that was meant for another key. So an error shows what is
//! written in the file, never what came of it, and a reason for refusing a value is a text that cannot have the value in
//! it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::env::VarError;

use super::error::ConfigError;
use super::keys::{self, Place, Shape};
use super::substitute::{self, Problem, Variables};
use super::tree::{Node, Value, looks_like_a_key};
use super::types::Secret;
use crate::cli::escape;
use crate::workflow::AppName;

/// The values of the host, or of one app, by their keys, all of them known ones.
pub(super) struct Values<'a> {
    nodes: HashMap<&'static str, Node>,
    variables: Variables<'a>,
    /// Where the keys stand.
    line: u64,
    /// What their paths begin with when they are shown.
    at: String,
}

impl<'a> Values<'a> {
    /// Checks that every key is a known one and holds what it should.
    pub(super) fn new(root: Node, variables: Variables<'a>) -> Result<Self, ConfigError> {
        let line = root.line;
        let entries = match root.value {
            Value::Null => Vec::new(),
            Value::Map(entries) => entries,
            Value::Text(_) | Value::List(_) => {
                return Err(ConfigError::at(line, "expected keys and values, like `name: greeting`"));
            }
        };
        Self::collected(Place::Top, String::new(), line, entries, variables)
    }

    fn collected(
        place: Place,
        at: String,
        line: u64,
        entries: Vec<(String, Node)>,
        variables: Variables<'a>,
    ) -> Result<Self, ConfigError> {
        let mut nodes = HashMap::new();
        collect(place, &at, "", entries, &mut nodes)?;
        Ok(Self { nodes, variables, line, at })
    }

    /// Takes out the values of each of `apps`, by its name. `None`: there is one app, and what is at the top is its own.
    pub(super) fn take_apps(&mut self) -> Result<Option<Vec<(AppName, Self)>>, ConfigError> {
        let Some(apps) = self.nodes.remove("apps") else { return Ok(None) };
        let of_an_app = self.nodes.iter().filter(|(path, _)| keys::is_of_an_app(path));
        if let Some((path, node)) = of_an_app.min_by_key(|(_, node)| node.line) {
            let text = format!("`{path}` is for the only app, and `apps` in line {} names apps", apps.line);
            let hint = match *path {
                "name" => {
                    "leave it out; with `apps`, the key that an app's settings stand below is its name".to_owned()
                }
                path => format!("write it below the name of the app that it is for: `apps.NAME.{path}`"),
            };
            return Err(ConfigError::at(node.line, text).hint(hint));
        }
        let Value::Map(entries) = apps.value else { unreachable!("`apps` was collected as what it must be") };
        if entries.is_empty() {
            return Err(ConfigError::at(apps.line, "`apps` has none").hint("leave the key out for one app"));
        }
        let app = |(name, node): (String, Node)| {
            let name = AppName::parse(&name).map_err(|error| {
                let shown = if looks_like_a_key(&name) { format!("`{name}`") } else { "what stands here".to_owned() };
                ConfigError::at(node.line, format!("{shown} cannot be the name of an app: {}", error.reason()))
            })?;
            let at = format!("apps.{name}.");
            let entries = match node.value {
                Value::Null => Vec::new(),
                Value::Map(entries) => entries,
                Value::Text(_) | Value::List(_) => {
                    let text = format!("`apps.{name}` must hold further keys");
                    return Err(ConfigError::at(node.line, text).hint("the least is `wasm`"));
                }
            };
            let values = Self::collected(Place::App, at, node.line, entries, self.variables)?;
            Ok((name, values))
        };
        entries.into_iter().map(app).collect::<Result<_, _>>().map(Some)
    }

    /// What stands in the file.
    pub(super) fn written(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// How a key is named to people.
    pub(super) fn shown(&self, path: &str) -> String {
        format!("{}{path}", self.at)
    }

    /// An error about a key, in its line if it is there.
    pub(super) fn error(&self, path: &str, text: impl Into<String>) -> ConfigError {
        match self.nodes.get(path) {
            Some(node) => ConfigError::at(node.line, text),
            None if self.at.is_empty() => ConfigError::new(text),
            None => ConfigError::at(self.line, text),
        }
    }

    /// A text that may be shown.
    pub(super) fn text(&self, path: &'static str) -> Result<Option<String>, ConfigError> {
        self.parsed(path, |text| Ok::<_, &str>(text.to_owned()))
    }

    /// A text that must not be shown, and that `check` has nothing against.
    pub(super) fn secret<E: std::fmt::Display>(
        &self,
        path: &'static str,
        check: impl Fn(&str) -> Result<(), E>,
    ) -> Result<Option<Secret>, ConfigError> {
        let Some(node) = self.node(path) else { return Ok(None) };
        assert!(Place::Top.find(path).is_some_and(|key| key.is_secret), "`{path}` is a secret but not in the list");
        let text = self.substituted(&self.shown(path), node)?;
        self.refuse_empty(path, node.line, &text)?;
        check(&text).map_err(|reason| ConfigError::at(node.line, reason.to_string()))?;
        Ok(Some(text.into()))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, path: &'static str) -> Result<bool, ConfigError> {
        let flag = self.parsed(path, |text| text.parse().map_err(|_| "expected `true` or `false`"))?;
        Ok(flag.unwrap_or(false))
    }

    /// A text that `parse` understands. Empty ones are refused: they are mistakes for everything that can be set.
    pub(super) fn parsed<T, E: Into<Cow<'static, str>>>(
        &self,
        path: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(node) = self.node(path) else { return Ok(None) };
        let text = self.substituted(&self.shown(path), node)?;
        self.refuse_empty(path, node.line, &text)?;
        parse(&text).map(Some).map_err(|reason| self.refused(path, node, &text, &reason.into()))
    }

    /// A list of texts that `parse` understands.
    pub(super) fn list<T, E: Into<Cow<'static, str>>>(
        &self,
        path: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, ConfigError> {
        let item = |item: &Node| {
            let text = self.substituted(&self.shown(path), item)?;
            parse(&text).map_err(|reason| self.refused(path, item, &text, &reason.into()))
        };
        self.items(path).iter().map(item).collect()
    }

    /// A list of texts as they are written: `${VAR}` in a shell command is the shell's to replace. It sees the same
    /// variables, and unlike a replacement in its text, its own cannot turn a value into a command.
    pub(super) fn commands(&self, path: &'static str) -> Result<Vec<String>, ConfigError> {
        let text = |item: &Node| match &item.value {
            Value::Text(text) if !text.trim().is_empty() => Ok(text.clone()),
            _ => Err(ConfigError::at(item.line, format!("expected a shell command in `{}`", self.shown(path)))),
        };
        self.items(path).iter().map(text).collect()
    }

    /// Names and their secret texts.
    pub(super) fn secrets(&self, path: &'static str) -> Result<BTreeMap<String, Secret>, ConfigError> {
        let Some(Node { value: Value::Map(entries), .. }) = self.node(path) else { return Ok(BTreeMap::new()) };
        let entry = |(name, node): &(String, Node)| {
            // `NAME=secret` is how variables are written elsewhere: only the name may be shown.
            let before = escape::line(name.split(['=', ':', ' ']).next().unwrap_or_default());
            if name.is_empty() || name.contains(['=', '\0']) {
                let text =
                    format!("`{before}` in `{}` is followed by what no name of a variable has", self.shown(path));
                return Err(ConfigError::at(node.line, text).hint("write each as `NAME: value` on a line of its own"));
            }
            let shown = format!("{}.{before}", self.shown(path));
            let text = self.substituted(&shown, node)?;
            if text.contains('\0') {
                return Err(ConfigError::at(node.line, format!("the value of `{shown}` contains a NUL character")));
            }
            Ok((name.clone(), text.into()))
        };
        entries.iter().map(entry).collect()
    }

    fn node(&self, path: &'static str) -> Option<&Node> {
        assert!(Place::Top.find(path).is_some(), "`{path}` is read but not in the list of keys");
        self.nodes.get(path)
    }

    fn items(&self, path: &'static str) -> &[Node] {
        match self.node(path) {
            Some(Node { value: Value::List(items), .. }) => items,
            _ => &[],
        }
    }

    fn refuse_empty(&self, path: &str, line: u64, text: &str) -> Result<(), ConfigError> {
        if !text.is_empty() {
            return Ok(());
        }
        let error = ConfigError::at(line, format!("`{}` is empty", self.shown(path)));
        Err(error.hint("leave the key out for the default"))
    }

    /// The error for a value that cannot be used. `reason` does not repeat it.
    fn refused(&self, path: &str, node: &Node, text: &str, reason: &str) -> ConfigError {
        let path = self.shown(path);
        let text = match &node.value {
            Value::Text(written) if written == text => format!("`{path}` is `{}`: {reason}", escape::line(text)),
            Value::Text(written) => {
                format!("the value of `{path}`, written as `{}`, does not serve: {reason}", escape::line(written))
            }
            Value::Null | Value::List(_) | Value::Map(_) => format!("`{path}` does not serve: {reason}"),
        };
        ConfigError::at(node.line, text)
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

/// Goes through the keys below `section`, and puts what they hold into `nodes`. `at` is what paths begin with when they
/// are shown.
fn collect(
    place: Place,
    at: &str,
    section: &str,
    entries: Vec<(String, Node)>,
    nodes: &mut HashMap<&'static str, Node>,
) -> Result<(), ConfigError> {
    for (name, node) in entries {
        let line = node.line;
        if !looks_like_a_key(&name) {
            let inside = format!("{at}{section}");
            let text = match inside.trim_end_matches('.') {
                "" => "what stands here is no key".to_owned(),
                inside => format!("what stands here in `{inside}` is no key"),
            };
            return Err(ConfigError::at(line, text).hint("write each as `key: value` on a line of its own"));
        }
        let path = if section.is_empty() { name } else { format!("{section}.{name}") };
        if let Some(key) = place.find(&path) {
            // A key without a value, as when all that stands below it is commented out, is as good as none.
            if !matches!(node.value, Value::Null) {
                check_shape(key.shape, &format!("{at}{path}"), &node)?;
                nodes.insert(key.path, node);
            }
        } else if place.is_section(&path) {
            match node.value {
                Value::Null => {}
                Value::Map(entries) => collect(place, at, &path, entries, nodes)?,
                Value::Text(_) | Value::List(_) => {
                    return Err(ConfigError::at(line, format!("`{at}{path}` must hold further keys")));
                }
            }
        } else {
            return Err(place.unknown(line, at, &path));
        }
    }
    Ok(())
}

fn check_shape(shape: Shape, path: &str, node: &Node) -> Result<(), ConfigError> {
    let (expected, hint) = match (shape, &node.value) {
        (Shape::Single, Value::Text(_)) | (Shape::List, Value::List(_)) | (Shape::Map | Shape::Apps, Value::Map(_)) => {
            return Ok(());
        }
        (Shape::Single, _) => ("must be a single value", None),
        (Shape::List, _) => ("must be a list", Some("write each item on a line of its own that starts with `- `")),
        (Shape::Map, _) => ("must be names with values", Some("write each as `NAME: value` on a line of its own")),
        (Shape::Apps, _) => (
            "must be names of apps",
            Some("write each as `NAME:` with its keys, `wasm` and others, in the lines below"),
        ),
    };
    let error = ConfigError::at(node.line, format!("`{path}` {expected}"));
    Err(match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

//! Every key that a configuration may have.
//!
//! One list, so that what is read, what is refused and what is documented cannot differ: the reader takes no key that is
//! not here, a key of the file that is not here is an error, and the reference is made from it.

use super::error::ConfigError;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A text, number or truth value.
    Single,
    /// A list of texts.
    List,
    /// Texts by names that the user chooses.
    Map,
}

/// A key, by its path from the top of the file.
#[derive(Debug)]
pub(crate) struct Key {
    /// The path, with dots.
    pub(crate) path: &'static str,
    /// What it holds.
    pub(crate) shape: Shape,
    /// What is used without it, in words or as it would be written.
    pub(crate) default: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
}

const fn single(path: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { path, shape: Shape::Single, default, about }
}

const fn list(path: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { path, shape: Shape::List, default, about }
}

/// The list.
pub(crate) const KEYS: &[Key] = &[
    single("name", "the component's file name without `.wasm`", "the name of the app"),
    single("wasm", "none", "the component, for commands that are given none"),
    single(
        "database_url",
        "a local Postgres in the state folder",
        "the database: `postgres://user:password@host/name`",
    ),
    single("executor_id", "kept in the state folder", "the name by which this host owns its workflows"),
    single("state", ".dbos", "the folder for what the host keeps on this machine"),
    Key {
        path: "env",
        shape: Shape::Map,
        default: "nothing",
        about: "environment variables that handlers and steps of the app see",
    },
    single("migrations", "migrations", "the folder of the app's own migrations, `*.sql`"),
    list("database.migrate", "nothing", "shell commands that `migrate` runs after the app's own migrations"),
    single("database.role", "made from the app's name", "the login role that the app's SQL uses"),
    single("database.trusted", "false", "`true`: the app's SQL uses the login of the host, and can do all that it can"),
    single("http.listen", "127.0.0.1:8000", "the address and port for HTTP"),
    single(
        "admin.listen",
        "127.0.0.1:3001",
        "the address and port of the admin server, on this machine only; `off` turns it off",
    ),
    list(
        "outbound.allow",
        "nothing",
        "where communicators may send requests: `https://api.example.com`, `https://*.example.com`, `http://localhost:8080`",
    ),
    single("log.level", "info", "which log lines are shown: a level, or levels by part, like `info,sandbox=debug`"),
    single("log.format", "text", "`text`: log lines for people; `json`: for programs"),
    single("limits.processor_ms", "10000", "processor time of an instance between two calls, in milliseconds"),
    single("limits.memory_mib", "256", "memory of one instance, in mebibytes"),
    single("limits.workflows", "64", "workflow instances at once"),
    single("limits.steps", "64", "step instances at once"),
    single("limits.handlers", "64", "handler instances at once"),
    single("limits.attempts", "100", "attempts of a workflow without a new record before it is given up"),
    single("limits.handler_ms", "60000", "how long a handler may take, in milliseconds"),
    single("limits.transaction_ms", "60000", "how long one run of a transaction's body may take, in milliseconds"),
    single("limits.statement_ms", "30000", "how long one statement of a transaction may take, in milliseconds"),
    single("limits.steps_per_run", "10000", "recorded steps of one run of a workflow"),
    single("limits.log_kib_per_second", "256", "how much an app may print in a second, in kibibytes"),
];

/// The key of this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether there are keys below this path.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The error for a key that is not in the list.
pub(super) fn unknown(line: u64, path: &str) -> ConfigError {
    let error = ConfigError::at(line, format!("the key `{path}` is unknown"));
    match nearest(path) {
        Some(known) => error.hint(format!("did you mean `{known}`?")),
        None => {
            let known: Vec<String> = children(split(path).0).iter().map(|name| format!("`{name}`")).collect();
            error.hint(format!("the keys here are {}", known.join(", ")))
        }
    }
}

/// The known key or section that was probably meant: it is written almost so, or stands elsewhere under the same name.
fn nearest(path: &str) -> Option<&'static str> {
    let candidates =
        KEYS.iter().flat_map(|key| [Some(key.path), key.path.rsplit_once('.').map(|(section, _)| section)]);
    let (section, name) = split(path);
    // A third of the letters may be wrong, and at least one: more would be guessing.
    let tolerance = (name.chars().count() / 3).max(1);
    candidates
        .flatten()
        .map(|known| {
            let (known_section, known_name) = split(known);
            (distance(name, known_name), known_section != section, known)
        })
        .filter(|(distance, ..)| *distance <= tolerance)
        // Of equals, the one that stands first in the list.
        .min_by_key(|(distance, is_elsewhere, _)| (*distance, *is_elsewhere))
        .map(|(.., known)| known)
}

/// The section that a path belongs to, empty at the top, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// The names directly below a section, each once.
fn children(section: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for key in KEYS {
        let below = if section.is_empty() {
            Some(key.path)
        } else {
            key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.'))
        };
        let name = below.and_then(|rest| rest.split('.').next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}

/// How many letters have to be added, removed or changed to make one text of the other (Levenshtein), where `-` is no
/// other letter than `_`, nor a capital than a small one.
fn distance(left: &str, right: &str) -> usize {
    let letters = |text: &str| text.to_lowercase().replace('-', "_").chars().collect::<Vec<_>>();
    let (left, right) = (letters(left), letters(right));
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_no_key_is_a_section() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..index].iter().all(|other| other.path != key.path), "{} stands twice", key.path);
            assert!(!is_section(key.path), "{} is both", key.path);
            assert!(!key.about.is_empty() && !key.default.is_empty(), "{} is not explained", key.path);
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("database-URL", "database_url"), 0);
    }

    #[test]
    fn a_misspelt_key_is_recognised() {
        for (wrong, meant) in [
            ("databse_url", "database_url"),
            ("databaseUrl", "database_url"),
            ("limits.memory_mb", "limits.memory_mib"),
            ("limit", "limits"),
            ("listen", "http.listen"),
            ("http.allow", "outbound.allow"),
            ("database.migrations", "migrations"),
            ("Name", "name"),
        ] {
            assert_eq!(nearest(wrong), Some(meant), "{wrong}");
        }
    }

    #[test]
    fn a_strange_key_gets_the_list() {
        assert_eq!(
            unknown(3, "database.colour").to_string(),
            "line 3: the key `database.colour` is unknown\nhint: the keys here are `migrate`, `role`, `trusted`"
        );
    }
}

//! Every key that a configuration may have.
//!
//! One list, so that what is read, what is refused and what is documented cannot differ: the reader takes no key that is
//! not here, a key of the file that is not here is an error, and the reference is made from it.
//!
//! A key belongs to the host or to an app. With one app all of them stand at the top of the file; with several, the keys
//! of each app stand below its name in `apps`.

use super::error::ConfigError;
use super::limits::Limits;
use super::retention;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A text, number or truth value.
    Single,
    /// A list of texts.
    List,
    /// Texts by names that the user chooses.
    Map,
    /// Apps by their names.
    Apps,
}

/// Whom a key is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The process; the key stands at the top of the file.
    Host,
    /// One app; the key stands at the top, or below the app's name in `apps`.
    App,
    /// The app, where there is one; in `apps`, the name is what the app's keys stand below.
    OnlyApp,
}

/// A key, by its path from the top of the file or of the app.
#[derive(Debug)]
pub(crate) struct Key {
    /// The path, with dots.
    pub(crate) path: &'static str,
    /// What it holds.
    pub(crate) shape: Shape,
    /// Whom it is about.
    pub(crate) owner: Owner,
    /// What is used without it, in words or as it would be written.
    pub(crate) default: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// What of the command line comes before it: a flag or an argument.
    pub(crate) flag: Option<&'static str>,
    /// The environment variable that comes before it, behind the flag.
    pub(crate) variable: Option<&'static str>,
    /// Its value must not be shown.
    pub(crate) is_secret: bool,
}

impl Key {
    /// What it may be set to, for a limit and what is like one.
    pub(crate) fn range(&self) -> Option<String> {
        Limits::range_of(self.path).or_else(|| retention::range_of(self.path).map(str::to_owned))
    }

    const fn new(path: &'static str, shape: Shape, default: &'static str, about: &'static str) -> Self {
        Self { path, shape, owner: Owner::Host, default, about, flag: None, variable: None, is_secret: false }
    }

    /// It is about one app.
    const fn of_app(mut self) -> Self {
        self.owner = Owner::App;
        self
    }

    /// Its value must not be shown.
    const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// The command line and the environment come before it.
    const fn overridden(mut self, flag: &'static str, variable: &'static str) -> Self {
        self.flag = Some(flag);
        self.variable = Some(variable);
        self
    }
}

const fn single(path: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::new(path, Shape::Single, default, about)
}

const fn list(path: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::new(path, Shape::List, default, about)
}

/// The list.
pub(crate) const KEYS: &[Key] = &[
    Key { owner: Owner::OnlyApp, ..single("name", "the component's file name without `.wasm`", "the name of the app") },
    Key { flag: Some("WASM"), ..single("wasm", "none", "the component, for commands that are given none").of_app() },
    Key::new("apps", Shape::Apps, "one app, described at the top", "several apps by name, each with the keys of an app"),
    single(
        "database_url",
        "a local Postgres in the state folder",
        "the database: `postgres://user:password@host/name`, with `?sslmode=verify-full` and the like behind it",
    )
    .secret()
    .overridden("--database-url", "DBOS_DATABASE_URL"),
    single("executor_id", "kept in the state folder", "the name by which this host owns its workflows")
        .overridden("--executor-id", "DBOS_EXECUTOR_ID"),
    single("state", ".dbos", "the folder for what the host keeps on this machine").overridden("--state", "DBOS_STATE"),
    Key::new("env", Shape::Map, "nothing", "environment variables that handlers and steps of the app see")
        .secret()
        .of_app(),
    single("migrations", "`migrations`, in `apps` `NAME/migrations`", "the folder of the app's own migrations, `*.sql`")
        .of_app(),
    list("database.migrate", "nothing", "shell commands that `migrate` runs after the app's own migrations").of_app(),
    single("database.role", "made from the app's name", "the login role that the app's SQL uses").of_app(),
    single("database.trusted", "false", "`true`: the app's SQL uses the login of the host, and can do all that it can")
        .of_app(),
    single("http.listen", "127.0.0.1:8000", "the address and port for HTTP; a port alone means this machine only")
        .overridden("--listen", "DBOS_LISTEN"),
    single(
        "admin.listen",
        "127.0.0.1:3001",
        "the address and port of the admin server, on this machine only; `off` turns it off",
    )
    .overridden("--admin-listen", "DBOS_ADMIN_LISTEN"),
    list(
        "outbound.allow",
        "nothing",
        "where communicators may send requests: `https://api.example.com`, `https://*.example.com`, `http://localhost:8080`",
    )
    .of_app(),
    list(
        "outbound.private",
        "nothing",
        "networks that are not public and that names in `outbound.allow` may lead to: `10.0.0.0/8`",
    )
    .of_app(),
    single("retention.age", "all are kept", "how long finished workflows are kept: `90 days`, `12h`").of_app(),
    single("retention.count", "all are kept", "how many finished workflows are kept, the newest").of_app(),
    single("log.level", "info", "which log lines are shown: a level, or levels by part, like `info,sandbox=debug`")
        .overridden("--log", "DBOS_LOG"),
    single("log.format", "text", "`text`: log lines for people; `json`: for programs")
        .overridden("--log-format", "DBOS_LOG_FORMAT"),
    single("limits.processor_ms", "10000", "processor time of an instance between two calls, in milliseconds"),
    single("limits.memory_mib", "256", "memory of one instance, in mebibytes"),
    single("limits.workflows", "64", "workflow instances at once"),
    single("limits.steps", "64", "step instances at once"),
    single("limits.handlers", "64", "handler instances at once"),
    single("limits.waiting", "10000", "started workflows that wait for an instance; what is more gets `503`"),
    single("limits.requests", "1024", "HTTP requests that are answered or wait at once; what is more gets `503`"),
    single("limits.connections", "2048", "HTTP connections at once; what is more waits"),
    single("limits.body_kib", "16384", "the body of an HTTP request, in kibibytes"),
    single("limits.answer_kib", "16384", "the body of a handler's answer, in kibibytes"),
    single(
        "limits.http_ms",
        "30000",
        "how long a client may take to send a request's head, its body, or to take an answer, in milliseconds",
    ),
    single("limits.attempts", "100", "attempts of a workflow without a new record before it is given up"),
    single("limits.handler_ms", "60000", "how long a handler may take, in milliseconds"),
    single("limits.transaction_ms", "60000", "how long one run of a transaction's body may take, in milliseconds"),
    single("limits.statement_ms", "30000", "how long one statement of a transaction may take, in milliseconds"),
    single("limits.steps_per_run", "50000", "recorded steps of one run of a workflow"),
    single("limits.steps_per_run_at_once", "32", "started steps of one run that run at once"),
    single("limits.log_kib_per_second", "256", "how much an app may print in a second, in kibibytes"),
    single("limits.journal_connections", "1", "connections by which the host writes starts, records and outcomes"),
];

/// Whether the key of this path is about one app.
pub(super) fn is_of_an_app(path: &str) -> bool {
    KEYS.iter().any(|key| key.path == path && key.owner != Owner::Host)
}

/// Where keys are looked up: at the top of the file, or in one of `apps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Top,
    App,
}

impl Place {
    /// The keys that may stand there.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| self == Self::Top || key.owner == Owner::App)
    }

    /// The key of this path.
    pub(super) fn find(self, path: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.path == path)
    }

    /// Whether there are keys below this path.
    pub(super) fn is_section(self, path: &str) -> bool {
        self.keys().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The error for a key that is not in the list. `at` is what its path begins with when it is shown.
    pub(super) fn unknown(self, line: u64, at: &str, path: &str) -> ConfigError {
        let error = ConfigError::at(line, format!("the key `{at}{path}` is unknown"));
        let stands_at_top = KEYS.iter().any(|key| key.path == path) || Self::Top.is_section(path);
        if self == Self::App && path == "name" {
            return error.hint("the app's name is the key that its settings stand below");
        }
        if self == Self::App && stands_at_top {
            return error.hint(format!("`{path}` is for the whole host; write it at the top of the file"));
        }
        match self.nearest(path) {
            Some(known) => error.hint(format!("did you mean `{at}{known}`?")),
            None => {
                let known: Vec<String> = self.children(split(path).0).iter().map(|name| format!("`{name}`")).collect();
                error.hint(format!("the keys here are {}", known.join(", ")))
            }
        }
    }

    /// The known key or section that was probably meant: it is written almost so, or stands elsewhere under the same name.
    fn nearest(self, path: &str) -> Option<&'static str> {
        let candidates =
            self.keys().flat_map(|key| [Some(key.path), key.path.rsplit_once('.').map(|(section, _)| section)]);
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

    /// The names directly below a section, each once.
    fn children(self, section: &str) -> Vec<&'static str> {
        let mut names: Vec<&str> = Vec::new();
        for key in self.keys() {
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
}

/// The section that a path belongs to, empty at the top, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
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
            assert!(!Place::Top.is_section(key.path), "{} is both", key.path);
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
            assert_eq!(Place::Top.nearest(wrong), Some(meant), "{wrong}");
        }
        assert_eq!(Place::App.nearest("databse"), Some("database"));
        assert_eq!(Place::App.nearest("databse_url"), None, "it belongs to the host");
    }

    #[test]
    fn a_strange_key_gets_the_list() {
        assert_eq!(
            Place::Top.unknown(3, "", "database.colour").to_string(),
            "line 3: the key `database.colour` is unknown\nhint: the keys here are `migrate`, `role`, `trusted`"
        );
    }

    #[test]
    fn a_key_of_the_host_in_an_app_is_sent_to_the_top() {
        let at = "apps.shop.";
        assert_eq!(
            Place::App.unknown(3, at, "limits").to_string(),
            "line 3: the key `apps.shop.limits` is unknown\n\
             hint: `limits` is for the whole host; write it at the top of the file"
        );
        assert_eq!(
            Place::App.unknown(3, at, "enw").to_string(),
            "line 3: the key `apps.shop.enw` is unknown\nhint: did you mean `apps.shop.env`?"
        );
    }
}

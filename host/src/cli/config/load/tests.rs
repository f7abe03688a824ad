//! Whole configurations, and the exact texts of what is wrong with them.

use std::env::VarError;
use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::super::keys::{KEYS, Owner, Shape};
use super::*;
use crate::calls::AllowList;

pub(super) fn variables(name: &str) -> Result<String, VarError> {
    match name {
        "KEY" => Ok("0d5b2c".to_owned()),
        "MEMORY" => Ok("512".to_owned()),
        "EVIL" => Ok("x\nlimits: {steps: 1}".to_owned()),
        _ => Err(VarError::NotPresent),
    }
}

pub(super) fn folder_with(source: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(DEFAULT_FILE), source).expect("a file");
    folder
}

pub(super) fn load(source: &str) -> Result<Config, ConfigError> {
    Config::load_from(folder_with(source).path(), Overrides::default(), &variables)
}

pub(super) fn error(source: &str) -> String {
    load(source).expect_err("the configuration is wrong").to_string()
}

#[test]
fn without_a_file_there_are_defaults() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::load_from(folder.path(), Overrides::default(), &variables).expect("defaults");
    assert_eq!(config.file, None);
    assert!(config.database_url.is_none() && config.executor_id.is_none() && config.warnings().is_empty());
    assert_eq!(config.state, folder.path().join(".dbos"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.admin.address().map(|address| address.to_string()).as_deref(), Some("127.0.0.1:3001"));
    assert_eq!(config.limits.processor, Duration::from_secs(10));
    assert_eq!(config.limits.memory_bytes, 256 << 20);
    assert_eq!(config.limits.attempts.get(), 100);
    assert_eq!(config.apps[0].migrations, folder.path().join("migrations"));
    assert_eq!(config.apps[0].sql_login, SqlLogin::Own(None));
    assert!(
        config.apps[0].env.is_empty()
            && config.apps[0].migrate.is_empty()
            && config.apps[0].outbound == AllowList::default()
    );
    assert_eq!(
        config.apps[0].name().expect_err("nobody gave a name").to_string(),
        "the app has no name\nhint: write `name: my-app` into `dbos-config.yaml`"
    );
    assert_eq!(
        config.apps[0].wasm().expect_err("nobody gave a component").to_string(),
        "no component is given\n\
         hint: name the .wasm file on the command line, or as `wasm` in `dbos-config.yaml`"
    );
}

const FULL: &str = "
name: greeting
wasm: build/a.wasm
database_url: postgres://u:${KEY}@db/app
executor_id: blue
state: /var/lib/dbos
env:
  GUESTBOOK_KEY: ${KEY}
  VERSION: 1.10
  EVIL: ${EVIL}
migrations: sql
database:
  migrate:
    - alembic upgrade ${REVISION}
  role: greeting_guest
http:
  listen: 8080
admin:
  listen: off
outbound:
  allow: ['http://localhost:8081', 'https://*.example.com']
  private: [10.0.0.0/8]
limits:
  processor_ms: 500
  memory_mib: ${MEMORY}
  workflows: 1
  steps: 2
  handlers: 3
  attempts: 4
";

#[test]
fn every_key_is_read() {
    let folder = folder_with(FULL);
    let config = Config::load_from(folder.path(), Overrides::default(), &variables).expect("a configuration");
    assert_eq!(config.file, Some(folder.path().join(DEFAULT_FILE)));
    assert_eq!(config.database_url.as_ref().map(Secret::expose), Some("postgres://u:0d5b2c@db/app"));
    assert_eq!(config.executor_id.as_ref().map(ExecutorId::as_str), Some("blue"));
    assert_eq!(config.state, Path::new("/var/lib/dbos"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin, AdminListen::Off);
    let app = &config.apps[0];
    assert_eq!(app.name().map(AppName::as_str), Ok("greeting"));
    assert_eq!(app.wasm(), Ok(folder.path().join("build/a.wasm").as_path()));
    let env: Vec<(&str, &str)> = app.env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(env, [("EVIL", "x\nlimits: {steps: 1}"), ("GUESTBOOK_KEY", "0d5b2c"), ("VERSION", "1.10")]);
    assert_eq!(app.migrations, folder.path().join("sql"));
    assert_eq!(app.migrate, ["alembic upgrade ${REVISION}"]);
    assert_eq!(app.sql_login, SqlLogin::Own(Some("greeting_guest".parse().expect("a role"))));
    let outbound = ["http://localhost:8081", "https://*.example.com"].map(|entry| entry.parse().expect("an origin"));
    assert_eq!(
        app.outbound,
        AllowList { origins: outbound.into(), private: vec!["10.0.0.0/8".parse().expect("a network")] }
    );
    assert_eq!(config.limits.processor, Duration::from_millis(500));
    assert_eq!(config.limits.memory_bytes, 512 << 20);
    let limits = &config.limits;
    assert_eq!([limits.workflows, limits.steps, limits.handlers, limits.attempts].map(u32::from), [1, 2, 3, 4]);
}

/// A key in the list that nobody reads would be taken and ignored: what is wrong with the value of each must be noticed.
#[test]
fn every_key_of_the_list_has_a_reader() {
    for key in KEYS {
        let value = match key.shape {
            // Not substituted, so something else has to be wrong with it.
            _ if key.path == "database.migrate" => "['']",
            Shape::Single => "'${NOT_SET}'",
            Shape::List => "['${NOT_SET}']",
            Shape::Map => "{A: '${NOT_SET}'}",
            Shape::Apps => "{shop: 1}",
        };
        let source = match key.path.split_once('.') {
            Some((section, name)) => format!("{section}: {{{name}: {value}}}"),
            None => format!("{}: {value}", key.path),
        };
        let text = error(&source);
        assert!(text.contains(&format!("`{}", key.path)), "{source}: {text}");
        if key.owner == Owner::App {
            let text = error(&format!("apps: {{shop: {{{source}}}}}"));
            assert!(text.contains(&format!("`apps.shop.{}", key.path)), "{source}: {text}");
        }
    }
}

/// Whatever a variable holds that was meant for another key, what is wrong with it is told without it.
#[test]
fn no_error_shows_what_a_variable_holds() {
    let secret = |name: &str| if name == "SECRET" { Ok("Sesame/ öffne dich".into()) } else { variables(name) };
    let mut refused = 0;
    for key in KEYS {
        let value = match key.shape {
            Shape::Single => "'${SECRET}'",
            Shape::List => "['${SECRET}']",
            Shape::Map => "{A: '${SECRET}'}",
            Shape::Apps => "{shop: {database: {role: a, trusted: '${SECRET}'}}}",
        };
        let source = match key.path.split_once('.') {
            Some((section, name)) => format!("{section}: {{{name}: {value}}}"),
            None => format!("{}: {value}", key.path),
        };
        let folder = folder_with(&source);
        if let Err(error) = Config::load_from(folder.path(), Overrides::default(), &secret) {
            let text = error.to_string();
            assert!(!text.to_lowercase().contains("sesame") && text.contains(" line 1: "), "{source}: {text}");
            refused += 1;
        }
    }
    assert!(refused > 8, "most keys have a form, which `SECRET` has not: {refused}");
}

#[test]
fn secrets_are_not_in_what_is_printed() {
    let shown = format!("{:?}", load(FULL).expect("a configuration"));
    assert!(!shown.contains("0d5b2c") && !shown.contains("1.10"), "{shown}");
}

#[test]
fn the_command_line_overrides_the_file() {
    let folder = folder_with(FULL);
    let overrides = Overrides {
        wasm: Some("other.wasm".into()),
        database_url: Some("postgres://other".to_owned().into()),
        executor_id: Some("green".parse().expect("an id")),
        state: Some("state".into()),
        listen: Some(([0, 0, 0, 0], 80).into()),
        admin: Some(AdminListen::Off),
        ..Overrides::default()
    };
    let config = Config::load_from(folder.path(), overrides, &variables).expect("a configuration");
    assert_eq!(config.database_url.as_ref().map(Secret::expose), Some("postgres://other"));
    assert_eq!(config.executor_id.as_ref().map(ExecutorId::as_str), Some("green"));
    assert_eq!(config.state, folder.path().join("state"));
    assert_eq!(config.listen.to_string(), "0.0.0.0:80");
    assert_eq!(config.admin, AdminListen::Off);
    assert_eq!(config.apps[0].wasm(), Ok(folder.path().join("other.wasm").as_path()));
    assert_eq!(config.apps[0].name().map(AppName::as_str), Ok("greeting"));
}

#[test]
fn paths_belong_to_the_folder_of_the_file_or_to_that_of_the_flag() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("etc")).expect("a folder");
    fs::write(folder.path().join("etc/c.yaml"), "state: s\nmigrations: m\n").expect("a file");
    let overrides =
        Overrides { config: Some("etc/c.yaml".into()), wasm: Some("hello.wasm".into()), ..Overrides::default() };
    let config = Config::load_from(folder.path(), overrides, &variables).expect("a configuration");
    assert_eq!(config.state, folder.path().join("etc/s"));
    assert_eq!(config.apps[0].migrations, folder.path().join("etc/m"));
    assert_eq!(config.apps[0].wasm(), Ok(folder.path().join("hello.wasm").as_path()));
    assert_eq!(config.apps[0].name().map(AppName::as_str), Ok("hello"));
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let overrides = Overrides { config: Some("c.yaml".into()), ..Overrides::default() };
    let error = Config::load_from(folder.path(), overrides, &variables).expect_err("there is no such file");
    assert_eq!(error.to_string(), "`c.yaml`: there is no such file");
}

#[test]
fn a_trusted_app_is_warned_about() {
    let config = load("database: {trusted: true}").expect("a configuration");
    assert_eq!(config.apps[0].sql_login, SqlLogin::Host);
    assert!(matches!(&config.warnings()[..], [warning] if warning.starts_with("`database.trusted` is set")));
    assert_eq!(
        error("database:\n  trusted: true\n  role: a\n"),
        "`dbos-config.yaml` line 3: `database.trusted` and `database.role` contradict each other\n\
         hint: a trusted app uses the login of the host; leave one of the two out"
    );
}

#[test]
fn a_key_without_a_value_is_as_good_as_none() {
    let config = load("env:\ndatabase:\n  migrate:\nhttp:\n").expect("a configuration");
    assert!(config.apps[0].env.is_empty() && config.apps[0].migrate.is_empty());
}

#[test]
fn errors_name_line_key_and_remedy() {
    let cases = [
        ("name: a\ndatabse_url: b\n", " line 2: the key `databse_url` is unknown\nhint: did you mean `database_url`?"),
        ("limits:\n  memory_mib: 0\n", " line 2: `limits.memory_mib` is `0`: expected a whole number from 1 to 4096"),
        ("limits:\n  steps: many\n", " line 2: `limits.steps` is `many`: expected a whole number from 1 to 4000"),
        (
            "env:\n  A: b\n  GUESTBOOK_KEY: ${GUESTBOOK_KEY}\n",
            " line 3: `env.GUESTBOOK_KEY` uses the environment variable `GUESTBOOK_KEY`, which is not set\n\
             hint: set it, or write `${GUESTBOOK_KEY:-default}`",
        ),
        (
            "admin:\n  listen: 0.0.0.0:3001\n",
            " line 2: `admin.listen` is `0.0.0.0:3001`: it could be reached from other machines, and it lets anybody cancel \
             workflows\nhint: keep it at `127.0.0.1:3001`, and reach it from elsewhere by a tunnel: \
             `ssh -L 3001:localhost:3001 <this machine>`",
        ),
        (
            "http:\n  listen: nowhere\n",
            " line 2: `http.listen` is `nowhere`: expected an address and a port, like `127.0.0.1:8000`, or a port",
        ),
        ("http: 8000\n", " line 1: `http` must hold further keys"),
        ("name: [a]\n", " line 1: `name` must be a single value"),
        ("name: ''\n", " line 1: `name` is empty\nhint: leave the key out for the default"),
        ("database_url: ''\n", " line 1: `database_url` is empty\nhint: leave the key out for the default"),
        ("name: my app\n", " line 1: `name` is `my app`: only letters, digits, `_`, `.` and `-` may occur in it"),
        (
            "outbound:\n  allow: localhost\n",
            " line 2: `outbound.allow` must be a list\nhint: write each item on a line of its own that starts with `- `",
        ),
        (
            "outbound:\n  allow:\n    - https://a.com\n    - ftp://b.com\n",
            " line 4: `outbound.allow` is `ftp://b.com`: expected the scheme `http` or `https`",
        ),
        (
            "env:\n  - A=b\n",
            " line 1: `env` must be names with values\nhint: write each as `NAME: value` on a line of its own",
        ),
        ("env:\n  A:\n", " line 2: `env.A` has no value\nhint: write `\"\"` for an empty text"),
        ("database:\n  trusted: yes\n", " line 2: `database.trusted` is `yes`: expected `true` or `false`"),
        (
            "database_url: postgres://u:p${ss@h\n",
            " line 1: `database_url` has `${` without `}`\nhint: write `$${` for the characters `${`",
        ),
        (
            "limits:\n  memory_mib: ${KEY}\n",
            " line 2: the value of `limits.memory_mib`, written as `${KEY}`, does not serve: expected a whole number \
             from 1 to 4096",
        ),
        (
            "database_url: postgres://u:sesame@h:port/d\n",
            " line 1: `database_url` is not valid: invalid value for option `port`\n  hint: write it as \
             postgresql://user:password@host:5432/database",
        ),
        (
            "postgres://u:sesame@h: x\n",
            " line 1: what stands here is no key\nhint: write each as `key: value` on a line of its own",
        ),
        (
            "env:\n  KEY=sesame: x\n",
            " line 2: `KEY` in `env` is followed by what no name of a variable has\n\
             hint: write each as `NAME: value` on a line of its own",
        ),
        ("- a\n", " line 1: expected keys and values, like `name: greeting`"),
    ];
    for (source, text) in cases {
        assert_eq!(error(source), format!("`dbos-config.yaml`{text}"));
    }
}

#[test]
fn a_file_name_that_is_no_app_name_asks_for_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let overrides = Overrides { wasm: Some("my app.wasm".into()), ..Overrides::default() };
    let error = Config::load_from(folder.path(), overrides, &variables).expect_err("no name");
    assert_eq!(
        error.to_string(),
        "no `name` is given, and the component's file name does not serve as one: only letters, digits, `_`, `.` and \
         `-` may occur in it\nhint: write `name: my-app` into `dbos-config.yaml`"
    );
}

#[test]
fn a_huge_file_is_refused() {
    let source = format!("# {}\n", "x".repeat(1024 * 1024));
    assert_eq!(error(&source), "`dbos-config.yaml`: it is larger than 1 MiB");
}

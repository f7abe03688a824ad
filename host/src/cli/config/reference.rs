//! `dbos-host config`: the keys that a configuration may have, for those who are about to write one, and what is set, for
//! those who wonder what is in force.

use clap::Args;
use serde_json::{Value, json};

use super::keys::{KEYS, Key, Owner, Shape};
use super::load::Config;
use super::settings::{Origin, Setting};
use crate::cli::args::{ConfigArgs, ServeArgs};
use crate::cli::escape;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::table::{Table, cut, optional, whole};

/// Show the keys that dbos-config.yaml may have
#[derive(Debug, Args)]
#[command(after_help = "A key with a dot stands below another one: `http.listen` is `listen:`, indented, in the \
lines after `http:`. With several apps, the keys of each stand below its name: `apps:`, then `orders:`, then `wasm:`. In \
values, `${VAR}` is replaced by the environment variable VAR, `${VAR:-default}` by the default if it is not set. The \
commands under `database.migrate` are left to the shell, which replaces the same variables.

Examples:
  dbos-host config
  dbos-host config --check        what is set here, and where")]
pub(crate) struct ConfigReferenceArgs {
    /// Read the configuration, and show what is set and where; what is written, not what variables hold, and no secrets
    #[arg(long)]
    check: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    serve: ServeArgs,
}

/// Prints the keys, or what they are set to.
pub(crate) fn execute(args: &ConfigReferenceArgs) -> Result<Exit, Failure> {
    let text = if args.check {
        let mut overrides = args.config.overrides();
        args.serve.apply(&mut overrides);
        let config = Config::load(overrides)?;
        if args.json { settings_as_json(&config.settings) } else { settings_for_people(&config) }
    } else if args.json {
        as_json()
    } else {
        for_people()
    };
    output::print(&text)?;
    Ok(Exit::Success)
}

fn settings_for_people(config: &Config) -> String {
    let mut table = Table::new([whole("KEY"), cut("VALUE", 16), optional("FROM")]);
    for Setting { key, value, from } in config.settings.clone() {
        table.push([key, value, origin(from)]);
    }
    match &config.file {
        Some(file) => format!("{}\n\n{}", escape::line(&file.display().to_string()), table.for_output()),
        None => format!("no file\n\n{}", table.for_output()),
    }
}

fn settings_as_json(settings: &[Setting]) -> String {
    let settings: Vec<Value> = settings
        .iter()
        .map(|setting| json!({ "key": setting.key, "value": setting.value, "from": origin(setting.from) }))
        .collect();
    format!("{:#}", Value::Array(settings))
}

fn origin(from: Origin) -> String {
    match from {
        Origin::Override => "command line or environment".into(),
        Origin::Line(line) => format!("line {line}"),
        Origin::Default => "default".into(),
    }
}

fn for_people() -> String {
    let [host, apps] = tables().map(|table| table.for_output());
    format!("The host:\n\n{host}\n\nAn app, at the top or below its name in `apps`:\n\n{apps}")
}

/// The keys of the host, and those of an app.
fn tables() -> [Table<4>; 2] {
    [false, true].map(|of_app| {
        let mut table = Table::new([whole("KEY"), cut("DEFAULT", 16), optional("OVERRIDDEN BY"), cut("MEANING", 32)]);
        for key in KEYS.iter().filter(|key| (key.owner != Owner::Host) == of_app) {
            let over: Vec<&str> = [key.flag, key.variable].into_iter().flatten().collect();
            let about = match key.range() {
                Some(range) => format!("{} ({range})", key.about),
                None => key.about.to_owned(),
            };
            table.push([key.path.to_owned(), key.default.replace('`', ""), over.join(", "), about]);
        }
        table
    })
}

fn as_json() -> String {
    let keys: Vec<Value> = KEYS.iter().map(describe).collect();
    format!("{:#}", Value::Array(keys))
}

fn describe(key: &Key) -> Value {
    let (owner, shape) = (
        match key.owner {
            Owner::Host => "host",
            Owner::App => "app",
            Owner::OnlyApp => "only app",
        },
        match key.shape {
            Shape::Single => "text",
            Shape::List => "list",
            Shape::Map => "map",
            Shape::Apps => "apps",
        },
    );
    json!({
        "key": key.path, "of": owner, "holds": shape, "default": key.default, "range": key.range(),
        "flag": key.flag, "variable": key.variable, "meaning": key.about,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line() {
        let text = tables().map(|table| table.to_string()).join("\n");
        for key in KEYS {
            let mut lines = text.lines().filter(|line| line.split(' ').next() == Some(key.path));
            let line = lines.next().unwrap_or_else(|| panic!("{} has no line", key.path));
            let more = [key.flag, key.variable, key.range().as_deref().map(|_| "to")];
            assert!(line.contains(key.about), "{line}");
            assert!(more.into_iter().flatten().all(|word| line.contains(word)), "{line}");
            assert_eq!(lines.next(), None);
        }
    }
}

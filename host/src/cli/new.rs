//! `dbos-host new`: a project to begin with.
//!
//! An empty folder is a bad beginning: the first app needs a crate type, a profile, a configuration, a migration, and each
//! of them can be wrong in a way that is told late. So a project is made that builds, runs and is tested, small enough to
//! be thrown away line by line. It appears whole or not at all, and never over something that is there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::Exit;
use super::failure::Failure;
use super::output;
use crate::workflow::Code;

/// The files of a project. In their texts, `@NAME@`, `@WASM@` and `@SDK@` are replaced. They are not called by their names
/// here, so that neither cargo nor git takes them for its own.
const FILES: [(&str, &str); 7] = [
    ("Cargo.toml", include_str!("../../template/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("../../template/src/lib.rs")),
    ("tests/app.rs", include_str!("../../template/tests/app.rs")),
    ("migrations/001_visits.sql", include_str!("../../template/migrations/001_visits.sql")),
    ("dbos-config.yaml", include_str!("../../template/dbos-config.yaml")),
    ("README.md", include_str!("../../template/README.md")),
    (".gitignore", include_str!("../../template/gitignore")),
];

/// The longest name: it becomes part of file names, of the app's name and of its database role, which Postgres cuts at 63.
const MOST_BYTES: usize = 40;

/// Words that cannot be the name of a crate: Rust's own, and those of crates that every program has.
const RESERVED: [&str; 60] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "schemars",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "dbos_guest",
];

/// Make a project that builds and runs, with tests
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dbos-host new my-app
  cd my-app && dbos-host build && dbos-host migrate && dbos-host run")]
pub(crate) struct NewArgs {
    /// The name of the project; its folder is made here
    #[arg(value_name = "NAME")]
    name: String,

    /// Build against the SDK in this folder, `guest-sdk` of a checkout of dbos-host
    #[arg(long, value_name = "FOLDER")]
    sdk_path: Option<PathBuf>,
}

/// Makes the project.
pub(crate) fn execute(args: &NewArgs) -> Result<Exit, Failure> {
    let action = || Failure::to(format!("make the project `{}`", args.name));
    check(&args.name).map_err(|reason| {
        action()
            .because(reason)
            .hint("begin with a small letter; then small letters, digits, `-` and `_`")
            .exit(Exit::Usage)
    })?;
    let sdk = dependency(args.sdk_path.as_deref())?;
    let folder = Path::new(&args.name);
    write(folder, &args.name, &sdk).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory => action()
            .because(format!("`{}` exists already", folder.display()))
            .hint("choose another name, or move it away")
            .code(Code("exists_already")),
        _ => action().because(error),
    })?;
    output::print(&format!(
        "made `{name}`\n\n  cd {name}\n  dbos-host build      compiles it\n  dbos-host migrate    makes its tables\n  \
           dbos-host run        serves http://127.0.0.1:8000/welcome/Ann\n  cargo test           tests it",
        name = args.name
    ))?;
    Ok(Exit::Success)
}

/// Says why a name cannot be that of a crate, an app and a folder at once.
fn check(name: &str) -> Result<(), String> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(known) {
        Err("this cannot be the name of a crate".to_owned())
    } else if name.len() > MOST_BYTES {
        Err(format!("it is longer than {MOST_BYTES} characters"))
    } else if RESERVED.contains(&name.replace('-', "_").as_str()) {
        Err("it is a word of Rust, or the name of a crate that the project uses".to_owned())
    } else {
        Ok(())
    }
}

/// What stands behind `dbos-guest =`. The SDK is not in a registry: it comes from the repository, whose revision
/// `Cargo.lock` keeps.
fn dependency(sdk: Option<&Path>) -> Result<String, Failure> {
    let Some(path) = sdk else {
        return Ok(format!("{{ git = \"{}\" }}", env!("CARGO_PKG_REPOSITORY")));
    };
    let action = || Failure::to(format!("find the SDK in `{}`", path.display()));
    let folder = path.canonicalize().map_err(|error| action().because(error).exit(Exit::NotFound))?;
    if !folder.join("Cargo.toml").is_file() {
        return Err(action()
            .because("it has no `Cargo.toml`")
            .hint("name the folder `guest-sdk` of a checkout of dbos-host")
            .exit(Exit::NotFound));
    }
    // A string of JSON is one of TOML too.
    Ok(format!("{{ path = {} }}", serde_json::Value::from(folder.display().to_string())))
}

/// Writes all files beside the place where they belong, and moves them there at once. An empty folder may be there.
fn write(folder: &Path, name: &str, sdk: &str) -> std::io::Result<()> {
    let unfinished = tempfile::Builder::new().prefix(".dbos-host-new-").tempdir_in(".")?;
    let wasm = format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_"));
    for (path, text) in FILES {
        let path = unfinished.path().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text.replace("@NAME@", name).replace("@WASM@", &wasm).replace("@SDK@", sdk))?;
    }
    // A temporary folder is closed to everybody else; a project is as open as any folder that is made here.
    fs::set_permissions(unfinished.path(), fs::metadata(unfinished.path().join("src"))?.permissions())?;
    fs::rename(unfinished.path(), folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_crates() {
        for good in ["a", "my-app", "my_app2"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = "a".repeat(41);
        for bad in
            ["", "2fast", "My-app", "a b", "../a", "-a", "_a", "ä", "fn", "test", "dbos-guest", "proc-macro", &long]
        {
            assert!(check(bad).is_err(), "`{bad}` was taken");
        }
    }

    #[test]
    fn the_sdk_comes_from_the_repository_or_a_folder() {
        assert!(dependency(None).expect("it is known").starts_with("{ git = \"https://"));
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = dependency(Some(&here.join("../guest-sdk"))).expect("it is there");
        assert!(found.starts_with("{ path = \"/") && found.ends_with("/guest-sdk\" }"), "{found}");
        assert!(dependency(Some(&here.join("src"))).is_err());
        assert!(dependency(Some(&here.join("nothing"))).is_err());
    }

    #[test]
    fn every_placeholder_of_the_template_is_replaced() {
        for (path, text) in FILES {
            let text = text.replace("@NAME@", "").replace("@WASM@", "").replace("@SDK@", "");
            assert!(!text.contains('@'), "{path}");
        }
    }
}

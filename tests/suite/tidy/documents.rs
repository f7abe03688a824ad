//! The documents say what is so: links lead somewhere, names stand where they are said to stand, and tables that repeat
//! the code agree with it. What belongs to one machine, or goes stale by itself, does not come in.

use std::collections::BTreeSet;
use std::path::Path;

use dbos_host_tests::programs;
use serde_json::Value;

use super::report;
use super::source::{File, files, line_of, sources};

/// Words that must not be in any text, with the reason. Written in pieces, so that this file does not have them itself.
const BANNED: [(&str, &str); 6] = [
    (concat!("crates", ".io"), REGISTRY),
    (concat!("pypi", ".org"), REGISTRY),
    (concat!("pythonhosted", ".org"), REGISTRY),
    (concat!("npmjs", ".org"), REGISTRY),
    (concat!("proxy.golang", ".org"), REGISTRY),
    (concat!("/work", "/"), MACHINE),
];

/// The same for documents only: tests may make such paths up.
const BANNED_IN_DOCUMENTS: [(&str, &str); 2] = [(concat!("/root", "/"), MACHINE), (concat!("/home", "/"), MACHINE)];

const REGISTRY: &str = "say `registry` or name the package; which host it comes from is the reader's configuration";
const MACHINE: &str = "write a path relative to the repository, or `~/…`; this one is a path of one machine";

fn documents() -> Vec<&'static File> {
    let documents: Vec<&File> = files().iter().filter(|file| is_document(&file.path)).collect();
    let names: BTreeSet<&str> = documents.iter().map(|file| file.path.as_str()).collect();
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        assert!(names.contains(name), "`{name}` is missing");
    }
    documents
}

fn is_document(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "md")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(programs::source(path)).unwrap_or_else(|error| panic!("`{path}` cannot be read: {error}"))
}

/// The links of a document that lead into the repository: where they stand, their text, the file.
fn links(document: &File) -> Vec<(usize, &str, String)> {
    let text = &document.text;
    let folder = Path::new(&document.path).parent().expect("a file is in a folder");
    let starts = text.match_indices("](").map(|(at, mark)| (at, at + mark.len()));
    let links = starts.filter_map(|(at, start)| {
        let target = text[start..].split(')').next()?.split('#').next()?;
        let label = text[..at].rsplit('[').next()?;
        let inside = !target.is_empty() && !target.contains("://");
        inside.then(|| (line_of(text, at), label, folder.join(target).to_string_lossy().into_owned()))
    });
    links.collect()
}

/// What stands between single backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The cells of the tables' rows behind a heading.
fn rows<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("there is no heading `{}`", heading.trim()));
    let lines = section.lines().skip(1).take_while(|line| !line.starts_with("## "));
    let tables = lines.filter(|line| line.starts_with("| `"));
    tables.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The parts of the host that the map in ARCHITECTURE.md has.
pub(super) fn parts_on_the_map() -> BTreeSet<String> {
    let text = read("ARCHITECTURE.md");
    let files = rows(&text, "\n## The map").into_iter().map(|row| row[0].trim_matches('`').to_owned());
    let parts = files.filter_map(|file| Some(file.strip_prefix("host/src/")?.trim_end_matches(['/']).to_owned()));
    parts.map(|part| part.trim_end_matches(".rs").to_owned()).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut found = Vec::new();
    for document in documents() {
        for (line, label, target) in links(document) {
            let at = format!("{}:{line} [{label}]", document.path);
            let path = programs::source(&target);
            let Ok(text) = std::fs::read_to_string(&path) else {
                if !path.is_dir() {
                    found.push(format!("{at}: `{target}` does not exist"));
                }
                continue;
            };
            // A label that is a name of the code must still be found where the link leads.
            let name = label.strip_prefix('`').and_then(|label| label.strip_suffix('`'));
            let name = name.and_then(|name| name.trim_end_matches("()").rsplit("::").next());
            if let Some(name) = name.filter(|name| !name.contains(['/', '.']) && !text.contains(*name)) {
                found.push(format!("{at}: `{target}` has no `{name}` any more"));
            }
        }
    }
    report("correct the link, or what it is about", &found);
}

#[test]
fn files_that_documents_name_exist() {
    let mut found = Vec::new();
    for name in ["README.md", "ARCHITECTURE.md"] {
        let text = read(name);
        let paths = quoted(&text).filter(|word| {
            let extension = Path::new(word).extension().and_then(|extension| extension.to_str());
            word.contains('/')
                && !word.contains(['*', ' ', '<', '~'])
                && matches!(extension, Some("rs" | "sql" | "wit" | "md"))
        });
        let exists = |path: &str| ["", "host/src/"].iter().any(|top| programs::source(top).join(path).exists());
        found.extend(paths.filter(|path| !exists(path)).map(|path| format!("{name}: `{path}`")));
    }
    report("neither the repository nor `host/src` has this file; name the one that has its job now", &found);
}

#[test]
fn the_documents_have_every_configuration_key() {
    let told = std::process::Command::new(programs::host()).args(["config", "--json"]).output();
    let told = told.expect("the host's binary runs").stdout;
    let keys: Vec<Value> = serde_json::from_slice(&told).expect("`config --json` prints a list of keys");
    assert!(keys.len() > 10, "the list of keys could not be read");
    let page = read("docs/configuration.md");
    let plain = |cell: &str| cell.replace('`', "");
    let rows: Vec<Vec<String>> =
        rows(&page, "\n## Keys").iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let mut found = Vec::new();
    for key in &keys {
        let text = |name: &str| key[name].as_str().map(plain);
        let path = text("key").expect("a key has a path");
        let Some(row) = rows.iter().find(|row| row[0] == path) else {
            found.push(format!("`{path}` has no row"));
            continue;
        };
        // The default stands in the second column; where the others are is for the page to decide.
        if text("default").as_deref() != Some(row[1].as_str()) {
            found.push(format!("`{path}` has the default `{}`, not `{}`", key["default"], row[1]));
        }
        let more = ["range", "flag", "variable"].into_iter().filter_map(text);
        found.extend(
            more.filter(|word| !row[2..].join(" | ").contains(word)).map(|word| format!("`{path}`: no `{word}`")),
        );
    }
    let is_known = |path: &str| keys.iter().any(|key| key["key"] == path);
    found.extend(rows.iter().filter(|row| !is_known(&row[0])).map(|row| format!("`{}` is no key", row[0])));
    report("the tables in docs/configuration.md must have what `dbos-host config` has", &found);
}

/// The rows of all tables of the page about limits: what, default, key or constant, what is seen, test.
fn limits(page: &str) -> Vec<Vec<&str>> {
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| what | default |");
    page.lines().filter(is_row).map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn limits_are_kept_where_and_tested_as_the_page_says() {
    let (page, keys) = (read("docs/limits.md"), read("host/src/cli/config/keys.rs"));
    let mut found = Vec::new();
    for row in limits(&page) {
        let [what, _default, place, _seen, test] = row[..] else {
            found.push(format!("a row needs five cells: {}", row.join(" | ")));
            continue;
        };
        // That a constant is where its link leads is looked at for all links.
        let named = place.trim_matches('`');
        if !place.starts_with("[`") && !keys.contains(&format!("\"{named}\",")) {
            found.push(format!("{what}: there is no key `{named}`"));
        }
        let exists = |test: &str| {
            let (module, name) = test.split_once("::").unwrap_or(("", test));
            let of_module = |path: &str| {
                if module.is_empty() {
                    path.starts_with("host/src/")
                } else {
                    path == format!("tests/suite/{module}.rs")
                }
            };
            let name = format!("fn {name}(");
            sources().iter().any(|source| of_module(&source.path) && source.text.contains(&name))
        };
        if !test.starts_with("none: ") && !test.starts_with("see ") && !exists(test.trim_matches('`')) {
            found.push(format!("{what}: there is no test {test}"));
        }
    }
    for key in keys.split("single(\"limits.").skip(1).filter_map(|rest| rest.split('"').next()) {
        if !page.contains(&format!("| `limits.{key}` |")) {
            found.push(format!("`limits.{key}` has no row"));
        }
    }
    report("docs/limits.md must say where each limit is kept and which test passes it", &found);
}

#[test]
fn the_command_line_page_has_every_exit_code() {
    let source = read("host/src/cli/exit.rs");
    let codes = source.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse().ok());
    let codes: BTreeSet<u8> = codes.collect();
    let page = read("docs/command-line.md");
    let told = rows(&page, "\n## Exit codes").into_iter().filter_map(|row| row[0].trim_matches('`').parse().ok());
    assert!(codes.len() > 8, "the exit codes could not be read");
    assert_eq!(codes, told.collect(), "docs/command-line.md must have each exit code of `cli/exit.rs`");
}

#[test]
fn the_command_line_page_has_every_command_option_and_variable() {
    let page = read("docs/command-line.md");
    let told: BTreeSet<&str> = quoted(&page).flat_map(|text| text.split([' ', '[', ']'])).collect();
    let mut missing = BTreeSet::new();
    for file in files().iter().filter(|file| file.path.starts_with("tests/suite/snapshots/help")) {
        let name = file.path.trim_start_matches("tests/suite/snapshots/help").trim_end_matches(".txt");
        let commands = name.split('-').filter(|word| !word.is_empty());
        let words = file.text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
        let named = words.filter(|word| word.starts_with("--") && word.len() > 3 || word.starts_with("DBOS_"));
        let examples = ["--release", "--target", "--features", "--locked"];
        let named = named.filter(|word| !examples.contains(word));
        missing.extend(commands.chain(named).filter(|word| !told.contains(word)).map(str::to_owned));
    }
    assert!(missing.is_empty(), "docs/command-line.md must have what the help of a command has: {missing:?}");
}

#[test]
fn every_code_of_an_error_is_explained() {
    let mut codes = BTreeSet::new();
    for source in sources().iter().filter(|source| source.path.starts_with("host/src/")) {
        let product = source.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let found = product.split("Code(\"").skip(1).filter_map(|rest| rest.split('"').next());
        codes.extend(found.map(str::to_owned));
    }
    let page = read("docs/errors.md");
    let lines = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let explained: BTreeSet<String> = lines.map(str::to_owned).collect();
    assert!(codes.len() > 30, "the codes could not be read");
    let missing: Vec<_> = codes.difference(&explained).collect();
    let wrong: Vec<_> = explained.difference(&codes).collect();
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "docs/errors.md must explain each code of the host\n  missing: {missing:?}\n  not in the code: {wrong:?}"
    );
}

#[test]
fn tests_that_documents_name_exist() {
    let mut found = Vec::new();
    for document in documents().into_iter().filter(|document| document.path.starts_with("docs/")) {
        for name in quoted(&document.text).filter(|word| word.contains("::") && !word.contains([' ', '(', '.', '<'])) {
            let (suite, test) = name.rsplit_once("::").expect("it has been looked for");
            let file = format!("tests/suite/{}.rs", suite.replace("::", "/"));
            if ["http", "log", "sql", "workflow"].contains(&suite) {
                // A name of the SDK.
                continue;
            }
            let source = std::fs::read_to_string(programs::source(&file)).unwrap_or_default();
            if !source.contains(&format!("fn {test}()")) {
                found.push(format!("{}: `{name}`", document.path));
            }
        }
    }
    report("there is no such test any more; name the one that shows it now", &found);
}

#[test]
fn every_point_of_a_crash_is_told() {
    let mut points = BTreeSet::new();
    for source in sources().iter().filter(|source| source.path.starts_with("host/src/")) {
        for (start, end) in [("failpoint::hit(\"", "\""), ("true) => \"", "\""), ("false) => \"", "\"")] {
            let places = source.text.split(start).skip(1).filter_map(|rest| rest.split(end).next());
            points.extend(places.filter(|name| name.contains('.')).map(str::to_owned));
        }
    }
    let text = read("ARCHITECTURE.md");
    let told: BTreeSet<String> = rows(&text, "\n## What happens at a crash")
        .iter()
        .flat_map(|row| quoted(row[0]).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(
        points, told,
        "each fail point of the host needs its row in ARCHITECTURE.md: what is in the database there, and what the next owner does"
    );
}

#[test]
fn banned_words_stay_out() {
    let mut found = Vec::new();
    for file in files() {
        let more = BANNED_IN_DOCUMENTS.iter().filter(|_| is_document(&file.path));
        for (word, why) in BANNED.iter().chain(more) {
            let places = file.text.match_indices(word);
            found.extend(places.map(|(at, _)| format!("{}:{} `{word}`: {why}", file.path, line_of(&file.text, at))));
        }
    }
    report("these words must not be in the repository", &found);
}

//! The layout and the style of this repository, as `ARCHITECTURE.md` tells them.
//!
//! A rule that nobody checks is forgotten by the third change, and who breaks it without knowing deserves to hear what to
//! do instead. So each rule is a test here, and each of its messages names the place and the way out. The rules look at
//! the source tree; they need no database and no build.

mod documents;
mod source;

use std::collections::BTreeSet;

use self::source::{Source, sources};

/// A part of the host: a folder or a file of `host/src`.
struct Part {
    name: &'static str,
    /// What it may name of the other parts, by the beginning of the path. Everything else it must not know.
    may_name: &'static [&'static str],
}

const PARTS: &[Part] = &[
    // The operator's door: of `trigger` only what a client is told when something is wrong.
    Part { name: "admin", may_name: &["database", "executor", "recovery", "trigger::Problem", "workflow"] },
    // A call must not know how an instance is made or where its step runs: neither sandbox nor executor.
    Part { name: "calls", may_name: &["clock", "database", "failpoint", "workflow"] },
    // The only place where things are put together.
    Part {
        name: "cli",
        may_name: &[
            "admin",
            "calls",
            "clock",
            "database",
            "executor",
            "local_postgres",
            "recovery",
            "retention",
            "sandbox",
            "trigger",
            "workflow",
        ],
    },
    Part { name: "clock", may_name: &["workflow"] },
    Part { name: "database", may_name: &["failpoint", "workflow"] },
    Part {
        name: "executor",
        may_name: &["calls", "clock", "database", "failpoint", "recovery::Lease", "sandbox", "workflow"],
    },
    Part { name: "failpoint", may_name: &[] },
    // Only in builds for tests: it leads fuzzers to what is parsed in the other parts.
    Part {
        name: "fuzz",
        may_name: &["calls", "cli::fuzz_config", "database::fuzz_sql", "sandbox::fuzz", "trigger::fuzz", "workflow"],
    },
    Part { name: "lib", may_name: &[] },
    Part { name: "local_postgres", may_name: &[] },
    Part { name: "main", may_name: &[] },
    Part { name: "retention", may_name: &["database", "workflow"] },
    Part { name: "recovery", may_name: &["database", "executor", "failpoint", "workflow"] },
    Part { name: "sandbox", may_name: &["calls", "workflow"] },
    // No wasm, no SQL: of `calls` the plain records that the contract has for a request, its answer and a start, of
    // `database` the value that an outcome is.
    Part {
        name: "trigger",
        may_name: &[
            "calls::StartRequest",
            "calls::bindings::app",
            "database::Outcome",
            "executor",
            "failpoint",
            "workflow",
        ],
    },
    Part { name: "workflow", may_name: &[] },
];

/// Libraries with the parts of the host that may name them.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("axum", &["admin", "trigger"]),
    ("clap", &["cli"]),
    ("deadpool_postgres", &["database"]),
    ("reqwest", &["calls"]),
    ("tokio_postgres", &["database"]),
    ("wasmtime", &["calls", "sandbox"]),
    ("wasmtime_wasi", &["calls", "sandbox"]),
    ("wasmtime_wasi_http", &["calls", "sandbox"]),
];

/// What would make `workflow/` wait, look at the world, or depend on it. It is pure.
const NOT_PURE: [&str; 10] =
    ["Instant", "SystemTime", "async", "await", "env", "fs", "futures_util", "net", "process", "tokio"];

/// More lines than this, tests included, and a file wants to be two.
const MAX_FILE: usize = 450;

/// More lines than this, and a function wants to be two.
const MAX_FUNCTION: usize = 70;

/// The same for tests: a table of cases is one thing, however long it is.
const MAX_TEST: usize = 2 * MAX_FUNCTION;

/// What must not be left in code, with what to do instead.
const LEFT_BEHIND: [(&str, &str); 4] = [
    ("#[ignore", "a test that does not run proves nothing: make it run or delete it"),
    ("todo!(", "write it, or return an error that says what is not possible"),
    ("unimplemented!(", "write it, or return an error that says what is not possible"),
    ("dbg!(", "use `tracing::debug!`, or delete it"),
];

/// The part of the host that a source belongs to.
fn part(source: &Source) -> Option<&str> {
    let path = source.path.strip_prefix("host/src/")?;
    Some(path.split('/').next()?.trim_end_matches(".rs"))
}

fn report(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}\n  {}", found.join("\n  "));
}

#[test]
fn every_part_of_the_host_is_on_the_map() {
    let there: BTreeSet<&str> = sources().iter().filter_map(part).collect();
    let known: BTreeSet<&str> = PARTS.iter().map(|part| part.name).collect();
    assert_eq!(there, known, "each part of `host/src` needs its row in `PARTS` here: what may it know?");
    let drawn = documents::parts_on_the_map();
    let shown: BTreeSet<&str> = known.into_iter().filter(|part| !["lib", "main"].contains(part)).collect();
    assert_eq!(shown, drawn.iter().map(String::as_str).collect(), "each part needs its row in ARCHITECTURE.md as well");
}

#[test]
fn parts_of_the_host_name_only_what_they_may_know() {
    let mut found = Vec::new();
    for source in sources() {
        let Some(own) = part(source) else { continue };
        let part = PARTS.iter().find(|part| part.name == own).expect("it is on the map");
        for (place, path) in source.crate_paths() {
            let begins_with = |allowed: &str| {
                path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            if !begins_with(own) && !part.may_name.iter().any(|allowed| begins_with(allowed)) {
                found.push(format!("{place} names `crate::{path}`"));
            }
        }
    }
    report(
        "a part of the host names another one that it must not know; hand it what it needs as a value, or by a trait of its \
         own like `calls::Services`",
        &found,
    );
}

#[test]
fn libraries_stay_in_their_parts() {
    let mut found = Vec::new();
    for source in sources() {
        let Some(own) = part(source) else { continue };
        for (library, parts) in LIBRARIES.iter().filter(|(_, parts)| !parts.contains(&own)) {
            let places = source.places_of_word(library);
            found.extend(places.iter().map(|place| format!("{place} names `{library}` ({})", parts.join(", "))));
        }
    }
    report(
        "a library is named outside of the parts in brackets; wrap what is needed in a type of such a part, so that the \
         library can be replaced in one place",
        &found,
    );
}

#[test]
fn the_words_of_the_domain_are_pure() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| part(source) == Some("workflow")) {
        for word in NOT_PURE {
            found.extend(source.places_of_word(word).iter().map(|place| format!("{place} names `{word}`")));
        }
    }
    report("`host/src/workflow` is pure: give it the time, the text or the random bytes as an argument", &found);
}

#[test]
fn crates_depend_on_no_more_than_they_should() {
    let own = ["dbos-host", "dbos-guest", "dbos-guest-macros"];
    for (path, why) in [
        ("tests/Cargo.toml", "the suite must see what an operator sees, not the host as a library"),
        ("xtask/Cargo.toml", "it must build in seconds, before anything else can be built"),
    ] {
        let manifest = std::fs::read_to_string(dbos_host_tests::programs::source(path)).unwrap();
        let (_, dependencies) = manifest.split_once("[dependencies]").expect("it has dependencies");
        let named =
            dependencies.lines().find(|line| own.contains(&line.split(['.', ' ', '=']).next().unwrap_or_default()));
        assert_eq!(named, None, "`{path}` must not depend on the other crates here: {why}");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources().iter().filter(|source| !source.text.starts_with("//!")).map(|source| source.path.clone());
    report(
        "a file must begin with `//!`: the problem before the solution, and what the module must not know",
        &silent.collect::<Vec<_>>(),
    );
}

#[test]
fn files_and_functions_are_short() {
    let mut found = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > MAX_FILE {
            found.push(format!("{} has {lines} lines, more than {MAX_FILE}", source.path));
        }
        for function in source.functions() {
            let (place, name, lines) = (function.place, function.name, function.lines);
            let most = if function.is_test { MAX_TEST } else { MAX_FUNCTION };
            if lines > most {
                found.push(format!("{place} `{name}` has {lines} lines, more than {most}"));
            }
        }
    }
    report("what is this long wants to be two; cut it by what it does, and give each half a name", &found);
}

#[test]
fn nothing_is_left_behind() {
    let mut found = Vec::new();
    for source in sources() {
        for (word, instead) in LEFT_BEHIND {
            let places = source.code.match_indices(word).map(|(at, _)| source.place(at));
            found.extend(places.map(|place| format!("{place} `{word}`: {instead}")));
        }
    }
    report("this must not stay in code", &found);
}

#[test]
fn exceptions_to_lints_say_why_and_go_when_they_are_not_needed() {
    let mut found = Vec::new();
    for source in sources() {
        let code = source.without_quotes();
        found.extend(code.match_indices("[allow(").map(|(at, _)| source.place(at)));
    }
    report(
        "write `#[expect(lint, reason = \"…\")]`: unlike `#[allow]` it complains when nothing is left to except. Only code \
         that a macro writes into other crates may allow, since it cannot know what it meets there",
        &found,
    );
}

#[test]
fn products_do_not_unwrap() {
    let mut found = Vec::new();
    for source in sources() {
        found.extend(source.product().match_indices(".unwrap()").map(|(at, _)| source.place(at)));
    }
    report(
        "outside of tests, return the error, or write `expect(\"why it cannot fail\")` where it truly cannot",
        &found,
    );
}

#[test]
fn tests_wait_for_events_and_not_for_time() {
    let mut found = Vec::new();
    let suite = sources()
        .iter()
        .filter(|source| source.path.starts_with("tests/src/") || source.path.starts_with("tests/suite/"));
    // The one place that waits looks again and again.
    for source in suite.filter(|source| source.path != "tests/src/wait.rs") {
        let code = &source.code;
        for word in ["thread::sleep", "time::sleep", "time::{"] {
            let places = code.match_indices(word).filter(|(at, _)| word != "time::{" || imports_sleep(&code[*at..]));
            found.extend(places.map(|(at, _)| source.place(at)));
        }
    }
    report(
        "a test must not sleep: say what must become true with `eventually`, or hold the host at a fail point",
        &found,
    );
}

fn imports_sleep(import: &str) -> bool {
    import.split('}').next().is_some_and(|names| names.split(['{', ',', ' ']).any(|name| name == "sleep"))
}

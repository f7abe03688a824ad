//! The help of every command, as it is shown on a terminal of 80 columns, and what it says about wrong command lines.

use std::collections::BTreeSet;
use std::fs;

use dbos_host_tests::{programs, snapshot};
use tokio::process::Command;

/// What the program prints for these words: to standard output, to standard error, and its exit code.
async fn said(words: &[&str]) -> (String, String, Option<i32>) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(programs::host());
    command.args(words).current_dir(folder.path()).env("COLUMNS", "80").env_remove("DBOS_LOG");
    let output = command.output().await.expect("the host's binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr), output.status.code())
}

/// The commands that a help lists: the first words of indented lines that have something to say about them.
fn commands(help: &str) -> Vec<String> {
    let before_options = help.split("\nOptions:\n").next().unwrap_or_default();
    let listed = before_options.lines().filter_map(|line| {
        let (name, about) = line.strip_prefix("  ")?.split_once("  ")?;
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !name.is_empty();
        (is_name && !about.trim().is_empty()).then(|| name.to_owned())
    });
    listed.collect()
}

#[tokio::test]
async fn every_command_has_its_help() {
    let (top, _, code) = said(&["--help"]).await;
    assert_eq!(code, Some(0));
    snapshot::check("help", &top);
    let mut names: Vec<Vec<String>> = commands(&top).into_iter().map(|name| vec![name]).collect();
    assert!(names.len() > 7, "the commands could not be read: {top}");
    let mut kept = BTreeSet::from([snapshot::file("help")]);
    while let Some(words) = names.pop() {
        let mut line: Vec<&str> = words.iter().map(String::as_str).collect();
        line.push("--help");
        let (help, errors, code) = said(&line).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{words:?}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "too wide: {help}");
        let name = format!("help-{}", words.join("-"));
        snapshot::check(&name, &help);
        kept.insert(snapshot::file(&name));
        if help.contains("\nCommands:\n") {
            names.extend(commands(&help).into_iter().map(|name| [words.clone(), vec![name]].concat()));
        }
    }
    let folder = fs::read_dir(snapshot::file("help").parent().expect("a folder")).expect("it is there");
    let there = folder.map(|entry| entry.expect("an entry").path());
    let there: BTreeSet<_> =
        there.filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("help"))).collect();
    assert_eq!(there, kept, "a snapshot of a command that is gone has to go too");
}

#[tokio::test]
async fn wrong_command_lines_are_told() {
    let cases: [&[&str]; 8] = [
        &[],
        &["migrat"],
        &["workflow", "lst"],
        &["run", "--lisen", "80"],
        &["run", "--listen", "nowhere"],
        &["workflow", "list", "--limit", "0"],
        &["workflow", "get"],
        &["new", "2fast"],
    ];
    let mut text = String::new();
    for words in cases {
        let (out, errors, code) = said(words).await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{words:?}");
        text.push_str(&format!("$ dbos-host {}\n{}\n", words.join(" "), errors.trim_end()));
        text.push('\n');
    }
    snapshot::check("wrong-command-lines", &text);
}

#[tokio::test]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (script, errors, code) = said(&["completions", shell]).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{shell}");
        assert!(script.contains("completions") && script.contains("show-replayed-logs"), "{shell}: {script}");
    }
}

#[tokio::test]
async fn colours_are_shown_to_those_who_ask() {
    let (plain, _, _) = said(&["config"]).await;
    let (coloured, _, _) = said(&["config", "--color", "always"]).await;
    assert!(plain.contains("\nKEY ") && coloured.contains("\n\u{1b}[1mKEY "), "{coloured}");
    assert!(said(&["--color", "always", "--help"]).await.0.contains("\u{1b}["));
    let (_, errors, code) = said(&["run", "--color=always"]).await;
    assert_eq!(code, Some(3));
    assert!(errors.contains("\u{1b}[1;31merror\u{1b}[0m[configuration]: failed to"), "{errors}");
}
